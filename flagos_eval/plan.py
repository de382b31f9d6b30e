"""RunConfig -> Outline -> Plan: check what can be, then load the tasks and build every request.

An `Outline` is what is known before any item is loaded; `flagos_eval.loading` loads its tasks while
others are asked, and `make` all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import JsonValue

from . import archive, catalog, dataset, policy, questions, samples, shards
from .checks import refuse_shard
from .config import RunConfig, pairs
from .dataset import Items, Source
from .errors import DatasetError, NotComparable, UsageError
from .images import ImageBank
from .planned import Plan as Plan
from .planned import PlannedTask as PlannedTask
from .planned import prompt_identity, settings_identity
from .records import ExpectedItem, Run, Sampling, Shard
from .task import HubDataset, Prompt, Scorer, Task


@dataclass(frozen=True)
class Loaded:
    """A task whose items are at hand."""

    whole: Items
    """All of them, also where a shard is asked."""
    planned: PlannedTask | None
    """None where the shard has none of them."""


@dataclass(frozen=True)
class Outline:
    """What a run will ask, as far as it shows before any item is loaded; use `outline`."""

    config: RunConfig
    tasks: tuple[Task, ...]
    splits: Mapping[str, str]
    revisions: Mapping[str, str]
    packed: frozenset[str]
    """Tasks whose items and images come out of the file of `like`."""
    part: shards.Part | None = None
    policy_sha256: str | None = None
    like: Run | None = None
    like_path: Path | None = None

    @property
    def scorers(self) -> tuple[Scorer, ...]:
        """Of the tasks."""
        return tuple(task.scorers[0] for task in self.tasks)

    def identity(self) -> dict[str, JsonValue]:
        """As `Plan.identity`, without the items."""
        found = settings_identity(self.config)
        for task in self.tasks:
            found |= prompt_identity(task.name, _prompt(task, self.config.prompt))
        return found

    def source(self, task: Task) -> Source:
        """Where a task's data is."""
        data_dir = Path(self.config.data_dir) if self.config.data_dir else None
        return Source(
            # A folder is for benchmarks that are downloaded; a generated one has no use for it.
            data_dir=data_dir if isinstance(task.dataset, HubDataset) else None,
            split=self.splits.get(task.name),
            revision=self.revisions.get(task.name),
            limit=self.config.limit,
        )

    def load(self, task: Task) -> Loaded:
        """One of the tasks.

        Raises:
            DatasetError: data is missing or has changed.
            NotComparable: the requests are not those of `like`; lists the first that differ.
        """
        if task.name in self.packed and self.like is not None and self.like_path is not None:
            whole = _from_pack(task, self.like, self.like_path)
        else:
            whole = dataset.load(task, self.source(task))
        asked = shards.items(whole, self.part) if self.part else whole
        if not asked.samples:  # a shard of a small task can be empty
            return Loaded(whole, None)
        planned = _plan_task(task, self.config, asked)
        if self.like is not None:
            _same_task(planned, self.like, self.part)
        return Loaded(whole, planned)

    def plan(self, loaded: Sequence[Loaded]) -> Plan:
        """The plan that all tasks make.

        Raises:
            UsageError: there are more shards than items.
        """
        whole = [one.whole for one in loaded]
        return Plan(
            config=self.config,
            tasks=tuple(one.planned for one in loaded if one.planned),
            policy_sha256=self.policy_sha256,
            shard=shards.record(self.part, self.tasks, whole) if self.part else None,
        )


def outline(
    config: RunConfig, *, like: Run | None = None, like_path: Path | None = None
) -> Outline:
    """Check everything that needs neither a server nor the items.

    Args:
        config: The settings.
        like: A run whose questions must be asked again, exactly.
        like_path: Its file; a pack with images replaces the datasets.

    Raises:
        UsageError: an unknown task, split, prompt; a setting for a task that is not run; no such
            shard.
        DatasetError: a folder lacks a task's files. What is on the hub shows when it is loaded.
        NotComparable: `like` has not all tasks, or is a shard.
    """
    folder = Path(config.tasks_dir) if config.tasks_dir else None
    tasks = catalog.load_tasks(config.tasks, folder)
    splits, revisions = pairs("split", config.split), pairs("revision", config.revision)
    for option, named in (("split", splits), ("revision", revisions)):
        for name in named:
            if name not in {task.name for task in tasks}:
                raise UsageError(f"--{option} {name}=...: {name!r} is not among the tasks")
    part = None if config.shard is None else shards.parse(config.shard)
    if like is not None:
        refuse_shard(like)
        for task in tasks:
            _expected(like, task.name)
    found = Outline(
        config=config,
        tasks=tuple(tasks),
        splits=splits,
        revisions=revisions,
        packed=_packed(like, like_path),
        part=part,
        policy_sha256=_policy(config),
        like=like,
        like_path=like_path,
    )
    for task in tasks:
        _prompt(task, config.prompt)
        if task.name not in found.packed:
            dataset.check(task, found.source(task))
    if part is not None:
        sizes = [_size(found, task) for task in tasks]
        known = [size for size in sizes if size is not None]
        if len(known) == len(sizes):
            shards.refuse_empty(part, max(known))
    return found


def _size(outline: Outline, task: Task) -> int | None:
    """How many items a task will have, where that is known before they are loaded."""
    if outline.like is not None:
        return len(_expected(outline.like, task.name))
    return dataset.size(task, outline.source(task))


def make(
    config: RunConfig,
    *,
    like: Run | None = None,
    like_path: Path | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Plan:
    """Load and check everything that does not need a server.

    Args:
        config: The settings.
        like: A run whose questions must be asked again, exactly.
        like_path: Its file; a pack with images replaces the datasets.
        tell: Told what is being loaded, which can take minutes for a dataset that is downloaded.

    Raises:
        UsageError: an unknown task, split, prompt; a setting for a task that is not run; no such
            shard.
        DatasetError: data is missing or has changed.
        NotComparable: the requests are not those of `like`, which lists the first that differ, or
            `like` is a shard.
    """
    known = outline(config, like=like, like_path=like_path)
    loaded = []
    for task in known.tasks:
        tell(f"loading {task.name}")
        loaded.append(known.load(task))
    return known.plan(loaded)


def _packed(like: Run | None, path: Path | None) -> frozenset[str]:
    """The tasks of a pack that brought its images."""
    if like is None or path is None or path.suffix != ".zip" or not archive.image_names(path):
        return frozenset()
    return frozenset(record.name for record in like.tasks)


def _from_pack(task: Task, run: Run, path: Path) -> Items:
    """A task's items out of a pack that brought its images."""
    held = archive.image_names(path)
    record = run.task(task.name)
    stored = samples.read(run, path, task.name)
    found = tuple(stored[item.id].sample for item in record.expected)
    bank = ImageBank()
    for sample in found:
        for image in sample.images:
            if image.sha256 not in held:
                raise DatasetError(f"{path} lacks an image of {task.name} {sample.id}")
            bank.put(image, partial(archive.read_member, path, f"{archive.IMAGES}/{image.sha256}"))
    return Items(
        samples=found,
        record=record.dataset.model_copy(update={"origin": "pack"}),
        bank=bank,
        preview=run.phase == "preview",
    )


def _plan_task(task: Task, config: RunConfig, items: Items) -> PlannedTask:
    chosen = _prompt(task, config.prompt)
    sampling = Sampling(
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        min_p=config.min_p,
        repetition_penalty=config.repetition_penalty,
        seed=config.seed,
        max_tokens=config.max_tokens or task.max_tokens,
    )
    limits: dict[str, JsonValue] = {
        name: value
        for name, value in (("max_pixels", config.max_pixels), ("min_pixels", config.min_pixels))
        if value is not None
    }
    requests = questions.make(items.samples, chosen, sampling, config.repeat, limits)
    return PlannedTask(task, items, chosen, task.scorers[0], sampling, config.repeat, requests)


def _prompt(task: Task, name: str | None) -> Prompt:
    if name is None:
        return task.prompts[0]
    for candidate in task.prompts:
        if candidate.name == name:
            return candidate
    raise catalog.unknown(f"prompt for {task.name}", name, [p.name for p in task.prompts])


def _policy(config: RunConfig) -> str | None:
    """The hash of the policy that will judge the run, declared before it starts.

    It is read as a policy here, so that a mistake in it is found before hours are spent."""
    return policy.load(config.policy).sha256 if config.policy else None


def same_requests(plan: Plan, like: Run) -> None:
    """Refuse to start a run that could not be compared with the one it follows.

    Raises:
        NotComparable: the requests are not those of `like`; lists the first that differ.
    """
    for planned in plan.tasks:
        _same_task(planned, like, plan.shard)


def _expected(like: Run, task: str) -> tuple[ExpectedItem, ...]:
    try:
        return like.task(task).expected
    except KeyError:
        raise NotComparable(f"the run to follow has no task {task!r}") from None


def _same_task(planned: PlannedTask, like: Run, part: shards.Part | Shard | None) -> None:
    name = planned.task.name
    before = {item.id: item for item in shards.share(_expected(like, name), part)}
    now = {item.id: item for item in planned.record().expected}
    differing = [id for id in {**before, **now} if before.get(id) != now.get(id)]
    if differing:
        contents = sum(
            id not in before or id not in now or before[id].content_hash != now[id].content_hash
            for id in differing
        )
        what = "items" if contents else "prompts or parameters"
        raise NotComparable(
            f"{name}: {len(differing)} of {len(before)} requests are not those of "
            f"run {like.name} ({what} differ; first: {', '.join(differing[:3])})",
            hint="use the same dataset revision and flagos-eval version, "
            "or take the items along: flagos-eval pack RUN --images",
        )

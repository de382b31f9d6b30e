"""RunConfig -> Plan: load the tasks and build every request, before a server is needed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import JsonValue

from . import archive, catalog, dataset, policy, questions, samples, shards
from .checks import refuse_shard
from .config import ASKED, LAUNCHED, RunConfig, pairs
from .dataset import Items, Source
from .errors import DatasetError, NotComparable, UsageError
from .images import ImageBank
from .questions import Key, Requests
from .records import (
    ExpectedItem,
    ImagePart,
    Request,
    Run,
    Sampling,
    ScorerRecord,
    Shard,
    TaskRecord,
)
from .redact import redact_command
from .task import HubDataset, Prompt, Scorer, Task


@dataclass(frozen=True)
class PlannedTask:
    """One task with everything that will be asked."""

    task: Task
    items: Items
    prompt: Prompt
    scorer: Scorer
    sampling: Sampling
    repeats: int
    requests: Requests

    def record(self) -> TaskRecord:
        """For the run file."""
        hashes: dict[str, list[str]] = {}
        for _, sample_id, _, digest in self.requests.each_key():
            hashes.setdefault(sample_id, []).append(digest)
        expected = tuple(
            ExpectedItem(
                id=s.id,
                content_hash=s.content_hash,
                request_hashes=tuple(hashes[s.id]),
                group=s.group,
                cluster=s.cluster,
                source_id=s.source_id,
            )
            for s in self.items.samples
        )
        return TaskRecord(
            name=self.task.name,
            version=self.task.version,
            dataset=self.items.record,
            prompt=self.prompt.name,
            prompt_version=self.prompt.version,
            sampling=self.sampling,
            repeats=self.repeats,
            scorers=(ScorerRecord(name=self.scorer.name, version=self.scorer.version),),
            expected=expected,
        )


@dataclass(frozen=True)
class Plan:
    """Everything one run will ask."""

    config: RunConfig
    tasks: tuple[PlannedTask, ...]
    policy_sha256: str | None = None
    shard: Shard | None = None

    @property
    def preview(self) -> bool:
        """Whether any benchmark is not asked in full, by all shards together."""
        return any(planned.items.preview for planned in self.tasks)

    @property
    def has_images(self) -> bool:
        """Whether the server must be able to see."""
        return any(s.images for planned in self.tasks for s in planned.items.samples)

    @property
    def total(self) -> int:
        """Requests."""
        return sum(len(planned.requests) for planned in self.tasks)

    def requests(self) -> Iterator[Request]:
        """In the order in which they are asked: task by task."""
        for planned in self.tasks:
            yield from planned.requests

    def each_key(self) -> Iterator[Key]:
        """Of `requests`, in their order."""
        for planned in self.tasks:
            yield from planned.requests.each_key()

    def numbered(self, orders: Sequence[int]) -> Iterator[tuple[int, Request]]:
        """Some of the requests, each built when it is taken.

        Args:
            orders: Positions in `requests`, ascending.
        """
        start, rest = 0, deque(orders)
        for planned in self.tasks:
            end = start + len(planned.requests)
            while rest and rest[0] < end:
                order = rest.popleft()
                yield order, planned.requests[order - start]
            start = end

    def read_image(self, part: ImagePart) -> bytes:
        """An image's bytes, from whichever task has it."""
        for planned in self.tasks:
            if part in planned.items.bank:
                return planned.items.bank.read(part)
        raise DatasetError(f"no image with SHA-256 {part.sha256} is at hand")

    def identity(self) -> dict[str, JsonValue]:
        """What must be the same for answers to belong to one run; the names are those of the
        settings."""
        config = self.config.model_dump(mode="json")
        found: dict[str, JsonValue] = {name: config[name] for name in (*ASKED, *LAUNCHED)}
        found["shard"] = self.config.shard
        # Secrets stay out of the journal, and another secret is still the same run.
        secret = ("set", "env", "docker_arg")
        found |= {name: list(redact_command(config[name])) for name in secret}
        for planned in self.tasks:
            found[f"{planned.task.name} items"] = planned.items.record.fingerprint
            found[f"{planned.task.name} prompt"] = (
                f"{planned.prompt.name} v{planned.prompt.version}"
            )
        return found


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
    whole: list[Items] = []
    planned: list[PlannedTask] = []
    for task in tasks:
        tell(f"loading {task.name}")
        items = _items(task, config, splits, revisions, like, like_path)
        whole.append(items)
        asked = shards.items(items, part) if part else items
        if asked.samples:  # a shard of a small task can be empty
            planned.append(_plan_task(task, config, asked))
    shard = shards.record(part, tasks, whole) if part else None
    plan = Plan(config=config, tasks=tuple(planned), policy_sha256=_policy(config), shard=shard)
    if like is not None:
        same_requests(plan, like)
    return plan


def _items(
    task: Task,
    config: RunConfig,
    splits: Mapping[str, str],
    revisions: Mapping[str, str],
    like: Run | None,
    like_path: Path | None,
) -> Items:
    if like is not None and like_path is not None and like_path.suffix == ".zip":
        packed = _from_pack(task, like, like_path)
        if packed is not None:
            return packed
    data_dir = Path(config.data_dir) if config.data_dir else None
    source = Source(
        # A folder is for benchmarks that are downloaded; a generated one has no use for it.
        data_dir=data_dir if isinstance(task.dataset, HubDataset) else None,
        split=splits.get(task.name),
        revision=revisions.get(task.name),
        limit=config.limit,
    )
    return dataset.load(task, source)


def _from_pack(task: Task, run: Run, path: Path) -> Items | None:
    """A task's items out of a pack that brought its images; None if it did not."""
    held = archive.image_names(path)
    if not held or task.name not in {record.name for record in run.tasks}:
        return None
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
        try:
            expected = shards.share(like.task(planned.task.name).expected, plan.shard)
            before = {item.id: item for item in expected}
        except KeyError:
            raise NotComparable(f"the run to follow has no task {planned.task.name!r}") from None
        now = {item.id: item for item in planned.record().expected}
        differing = [id for id in {**before, **now} if before.get(id) != now.get(id)]
        if differing:
            contents = sum(
                id not in before or id not in now or before[id].content_hash != now[id].content_hash
                for id in differing
            )
            what = "items" if contents else "prompts or parameters"
            raise NotComparable(
                f"{planned.task.name}: {len(differing)} of {len(before)} requests are not those of "
                f"run {like.name} ({what} differ; first: {', '.join(differing[:3])})",
                hint="use the same dataset revision and flagos-eval version, "
                "or take the items along: flagos-eval pack RUN --images",
            )

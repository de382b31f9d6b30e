"""Arms of an experiment -> jobs that can start. All of it is checked before the first server is, so
that a mistake in the last arm is not found after hours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from . import catalog, config, facts, journal, kept_reference, policy, serving, store, weights
from . import plan as planning
from . import run as running
from .arms_file import Arm, ArmsFile, Pair
from .config import ASKED, LAUNCHED, Configured, RunConfig, Source
from .errors import FlagosEvalError, SettingsChanged, UsageError
from .job import Job
from .plan import Plan
from .records import Run
from .serving import Choice
from .store import Stored

ALIKE = (
    *ASKED,
    *("tasks_dir", "data_dir", "revision", "policy"),
    *("judge_base_url", "judge_model", "judge_repeat"),
)
"""Settings that no two arms may differ in: what is asked, of which data, and how it is judged."""

SERVER = (*LAUNCHED, "base_url", "server_python", "platform")
"""Settings that say which server answers: what arms differ in."""


@dataclass(frozen=True)
class Given:
    """What the command line and the environment say about an experiment."""

    folder: Path
    """Where runs and comparisons go."""
    layers: Mapping[Source, Mapping[str, Any]]
    """Settings of the environment and of flags, which hold for every arm."""
    address: str | None
    """``OPENAI_BASE_URL``."""
    command: tuple[str, ...]
    now: str
    max_age: float | None = None
    api_key: str | None = None
    judge_key: str | None = None
    fresh: bool = False


@dataclass(frozen=True)
class Ready:
    """An arm that can start, or need not."""

    name: str
    path: Path
    """Its run file, or the one that it will have."""
    server: Mapping[str, JsonValue]
    """The settings of `SERVER`, without secrets."""
    job: Job | None = None
    """None for a kept run."""
    choice: Choice | None = None
    """How its launcher was chosen, where nobody named one."""
    finished: bool = False
    """Whether its run file is there and whole."""
    repeat_of: str | None = None


@dataclass(frozen=True)
class Experiment:
    """Arms that were checked."""

    arms: tuple[Ready, ...]
    plan: Plan
    """What each of them asks."""
    pairs: tuple[Pair, ...]
    policy: str

    def arm(self, name: str) -> Ready:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)

    @property
    def open(self) -> tuple[Ready, ...]:
        """The arms that a server is needed for."""
        return tuple(arm for arm in self.arms if arm.job is not None and not arm.finished)

    def differing(self, pair: Pair) -> tuple[str, ...]:
        """The settings in which the servers of two arms differ."""
        one, other = (self.arm(name).server for name in pair)
        return tuple(n for n in SERVER if n in one and n in other and one[n] != other[n])


def prepare(file: ArmsFile, given: Given, tell: Callable[[str], None]) -> Experiment:
    """Load what is asked, once, and check every arm: settings, kept runs, and what is there of it.

    Args:
        file: The arms.
        given: What holds for all of them.
        tell: Told what is being loaded.

    Raises:
        UsageError: a setting is wrong, or differs where it must not; a kept run may not serve.
        SettingsChanged: an arm was begun or finished with other settings.
        NotComparable: the questions are not those of a kept or finished run.
        FileError: a file cannot be read.
    """
    max_age = given.max_age or file.max_age or kept_reference.MAX_AGE
    kept = {
        arm.name: kept_reference.load(arm.reference, max_age=max_age, now=given.now)
        for arm in file.arms
        if arm.reference
    }
    _not_overruled(file, given)
    like = next(iter(kept.values()), None)
    chosen: dict[str, tuple[Configured, Choice | None]] = {}
    for arm in file.arms:
        if arm.name not in kept:
            with _naming(arm.name):
                chosen[arm.name] = serving.chosen(_configured(file, arm, given, like))
    configured = {name: held for name, (held, _) in chosen.items()}
    _alike(kept, configured)
    plan = _plan(next(iter(configured.values())), tuple(kept.values()), tell)
    arms = []
    for arm in file.arms:
        if arm.name in kept:
            arms.append(_kept(arm, kept[arm.name]))
        else:
            with _naming(arm.name):
                arms.append(_ready(arm, *chosen[arm.name], plan, given))
    return Experiment(tuple(arms), plan, file.pairs, plan.config.policy or policy.DEFAULT)


def _plan(configured: Configured, kept: tuple[Stored, ...], tell: Callable[[str], None]) -> Plan:
    """What every arm asks, which is what every kept run asked."""
    in_part = any(configured.sources.get(name, "run") != "run" for name in ("limit", "split"))
    for stored in kept:
        kept_reference.refuse_preview(stored, wanted=in_part)
    first = kept[0] if kept else None
    plan = planning.make(
        configured.config,
        like=first.run if first else None,
        like_path=first.path if first else None,
        tell=tell,
    )
    for stored in kept[1:]:
        planning.same_requests(plan, stored.run)
    return plan


@contextmanager
def _naming(arm: str) -> Iterator[None]:
    """Errors say which arm they are about."""
    try:
        yield
    except FlagosEvalError as error:
        raise type(error)(f"arm {arm}: {error.message}", hint=error.hint) from error


# --- Settings -------------------------------------------------------------------------------------


def _configured(file: ArmsFile, arm: Arm, given: Given, like: Stored | None) -> Configured:
    """An arm's settings: flag, environment, the arm, what is common, a kept run, the default.

    A kept run says what is asked, and how a server computes where the file does not say it.
    """
    own = {**file.settings(arm), "name": arm.name, "arm": arm.name}
    taken = config.from_run(like.run) if like else {}
    layers: dict[Source, Mapping[str, Any]] = {
        "default": {},
        "run": {name: value for name, value in taken.items() if name not in own},
        "file": own,
        **given.layers,
    }
    return config.combine(config.with_address(layers, given.address))


def _not_overruled(file: ArmsFile, given: Given) -> None:
    """Refuse a flag or a variable that would make arms alike that are meant to differ."""
    held = {}
    for arm in file.arms:
        if not arm.reference:
            with _naming(arm.name):
                held[arm.name] = config.combine({"file": file.settings(arm)}).config
    for source, layer in given.layers.items():
        for name in layer:
            first, *others = held
            for other in others:
                if getattr(held[first], name) != getattr(held[other], name):
                    raise UsageError(
                        f"{name} ({source}) would be the same for every arm, and is what {first} "
                        f"and {other} differ in",
                        hint="change it in the file",
                    )


def _alike(kept: Mapping[str, Stored], arms: Mapping[str, Configured]) -> None:
    """Refuse arms that would be asked differently."""
    asked: dict[str, Mapping[str, JsonValue]] = {
        name: config.from_run(stored.run) for name, stored in kept.items()
    }
    asked |= {name: held.config.model_dump(mode="json") for name, held in arms.items()}
    first, *others = asked
    for other in others:
        for name in ALIKE:
            # A kept run says what it asked, and not where its data lay.
            if name not in asked[first] or name not in asked[other]:
                continue
            one, two = (_shown(name, asked[arm][name]) for arm in (first, other))
            if one != two:
                raise UsageError(
                    f"{name} is {one} in {first} and {two} in {other}: all arms are asked and "
                    "judged alike",
                    hint="state it once, above the arms, as a kept run has it where there is one",
                )


def _shown(name: str, value: JsonValue) -> str:
    if name == "tasks" and isinstance(value, list):
        # A kept run names benchmarks, whose files may lie elsewhere now.
        value = [Path(str(task)).stem if str(task).endswith(".py") else task for task in value]
    return str(value)


# --- One arm --------------------------------------------------------------------------------------


def _kept(arm: Arm, stored: Stored) -> Ready:
    settings = {name: held.value for name, held in stored.run.settings.items()}
    server = {name: settings[name] for name in SERVER if name in settings}
    return Ready(arm.name, stored.path, server, finished=True, repeat_of=arm.repeat_of)


def _ready(
    arm: Arm, configured: Configured, choice: Choice | None, plan: Plan, given: Given
) -> Ready:
    path = given.folder / f"{arm.name}.json"
    own = replace(plan, config=configured.config)
    keys = {"api_key": given.api_key, "judge_key": given.judge_key}
    job = Job(configured, own, path, given.command, fresh=given.fresh, **keys)
    server = _server(configured)
    finished = _is_finished(path, configured, plan)
    if not finished:
        if not given.fresh:
            journal.check_settings(running.journal_path(path), own.identity())
        _can_start(job, choice)
    return Ready(arm.name, path, server, job, choice, finished, arm.repeat_of)


def _server(configured: Configured) -> dict[str, JsonValue]:
    settings = configured.settings()
    return {name: settings[name].value for name in SERVER}


def _is_finished(path: Path, configured: Configured, plan: Plan) -> bool:
    """Whether the arm's run is there and whole.

    Raises:
        SettingsChanged: it is, with other settings.
        NotComparable: it is, and asked something else.
    """
    if not path.is_file():
        return False
    run = store.load(path.resolve())
    if run.state != "complete":
        return False
    before, now = _recorded(run), configured.settings()
    changed = [n for n in (*ASKED, *SERVER) if before[n] != now[n].value]
    if changed:
        shown = "; ".join(f"{n} was {before[n]}, is {now[n].value}" for n in changed)
        raise SettingsChanged(
            f"{path} was finished with other settings: {shown}",
            hint="a finished run is never overwritten: give the arm another name, or -o another "
            "folder",
        )
    planning.same_requests(plan, run)
    return True


def _recorded(run: Run) -> dict[str, JsonValue]:
    """A run's settings; a setting that it was too early for had its default."""
    defaults = RunConfig().model_dump(mode="json")
    return defaults | {name: held.value for name, held in run.settings.items()}


def _can_start(job: Job, choice: Choice | None) -> None:
    """Raise what a start would, as far as it shows without one."""
    if choice is not None and choice.launcher is None:
        raise serving.no_server(choice)
    held = job.config
    running.check_server(held)
    running.judge_of(job)
    facts.load_all(held.facts)
    launcher = catalog.load_module("launchers", held.launcher or "external", "launcher").LAUNCHER
    launcher.plan(serving.launch_request(held, job.output, lambda text: None))
    if held.model and launcher.serves_weights:
        weights.parse(held.model)

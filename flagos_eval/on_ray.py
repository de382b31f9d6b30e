"""``--engine ray``: the shards of a run as tasks on a Ray cluster that is there, then their merge.

A task is `run.execute` on a worker and nothing else: it returns the bytes of its files, or the
journal of what it got. Servers are not started there: which chip a task would get is the
cluster's to say and differs per vendor."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import plan, run, shards, store
from .config import ASKED, Configured, RunConfig
from .errors import (
    FlagosEvalError,
    IncompleteRun,
    ServerUnreachable,
    SettingsChanged,
    UsageError,
)
from .job import Job
from .loading import Loading
from .merging import merge
from .progress import Note, Reporter, Silent
from .records import Run
from .task import Task

_SAME = (*ASKED, "policy", "arm", "withhold_text", "judge_model", "judge_repeat")
"""Settings by which a finished shard belongs to the command; a merge checks what answered."""
_AGAIN = "run the same command: shards that are finished are kept"


@dataclass(frozen=True)
class Whole:
    """A run that is to be spread."""

    configured: Configured
    count: int
    output: Path
    command: tuple[str, ...]
    like: Run | None = None
    like_path: Path | None = None
    api_key: str | None = None
    judge_key: str | None = None
    fresh: bool = False

    @property
    def folder(self) -> Path:
        """Where shards are until they are merged."""
        return self.output.with_name(f"{self.output.stem}.shards")

    def path(self, index: int) -> Path:
        """The file of a shard."""
        return self.folder / f"{index}-of-{self.count}.json"


@dataclass(frozen=True)
class Returned:
    """What a task gives back."""

    files: dict[str, bytes] = field(default_factory=dict)
    """Name -> content: the run file and what belongs to it, and the journal of an unfinished one.
    """
    error: FlagosEvalError | None = None


def spread(whole: Whole, load_task: Callable[[str], Task], *, at: str, report: Reporter) -> Run:
    """Ask all shards that are not finished on the cluster at ``RAY_ADDRESS``, and merge them.

    Raises:
        UsageError: Ray is not installed, or the settings do not name running servers alone.
        SettingsChanged: finished shards of this output were asked otherwise.
        ServerUnreachable: there is no cluster.
        IncompleteRun: a shard was not finished.
        FlagosEvalError: what a shard's run raised.
    """
    _fit(whole)
    run.refuse_finished(whole.output)
    if whole.fresh and whole.folder.is_dir():
        shutil.rmtree(whole.folder)
    todo = [index for index in range(1, whole.count + 1) if not _is_finished(whole, index)]
    report(Note("ray", f"{len(todo)} of {whole.count} shards to ask"))
    for found in _asked(whole, todo, report) if todo else ():
        if found.error is not None:
            raise found.error
    paths = [whole.path(index) for index in range(1, whole.count + 1)]
    name = whole.configured.config.name
    merged = merge(paths, whole.output, load_task, at=at, command=whole.command, name=name)
    if merged.state == "complete":
        shutil.rmtree(whole.folder)
    return merged


def _fit(whole: Whole) -> None:
    config = whole.configured.config
    if config.launcher or not config.base_url:
        raise UsageError(
            "--engine ray asks servers that run: name them with --base-url",
            hint="to start one for each shard, give --shard and --launcher to your scheduler",
        )
    if config.shard is not None:
        raise UsageError("--shard is one part; --engine ray asks all: --shards N")
    shards.parse(f"1/{whole.count}")


def _is_finished(whole: Whole, index: int) -> bool:
    path = whole.path(index)
    if not path.is_file():
        return False
    found = store.load(path)
    now = _portable(whole).configured.settings()
    for name in _SAME:
        if name in found.settings and found.settings[name].value != now[name].value:
            raise SettingsChanged(
                f"{path} was asked with {name} {found.settings[name].value!r}, not "
                f"{now[name].value!r}",
                hint="--fresh drops the shards that were asked; -o chooses another output",
            )
    return found.state == "complete"


def _asked(whole: Whole, todo: Sequence[int], report: Reporter) -> list[Returned]:
    """Put a task for each shard on the cluster, and save what it returns as it comes."""
    try:
        import ray
    except ImportError as error:
        raise UsageError("--engine ray needs ray", hint="pip install 'flagos-eval[ray]'") from error
    address = os.environ.get("RAY_ADDRESS", "auto")
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except ConnectionError as error:
        raise ServerUnreachable(
            f"there is no Ray cluster at {address}",
            hint="ray start --head starts one here; RAY_ADDRESS names another",
        ) from error
    try:
        return list(_collected(ray, whole, todo, report))
    finally:
        ray.shutdown()


def _collected(ray: Any, whole: Whole, todo: Sequence[int], report: Reporter) -> Iterator[Returned]:
    task = ray.remote(num_cpus=1)(ask_shard)
    portable = _portable(whole)
    waiting = {task.remote(portable, index, _journal(whole, index)): index for index in todo}
    try:
        while waiting:
            (ended, *_), _ = ray.wait(list(waiting), num_returns=1)
            index = waiting.pop(ended)
            found = _got(ray, ended, f"{index}/{whole.count}")
            for name, data in found.files.items():
                with store.atomic_write(whole.folder / name) as out:
                    out.write(data)
            said = found.error.message if found.error else "answered"
            report(Note("ray", f"shard {index}/{whole.count}: {said}"))
            yield found
    finally:
        for reference in waiting:
            ray.cancel(reference)


def _got(ray: Any, reference: Any, shard: str) -> Returned:
    try:
        found = ray.get(reference)
    except ray.exceptions.RayTaskError:
        raise  # a defect of ours
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0]
        return Returned(error=IncompleteRun(f"shard {shard} was lost: {reason}", hint=_AGAIN))
    assert isinstance(found, Returned)
    if found.error is None:
        return found
    message = f"shard {shard}: {found.error.message}"
    return replace(found, error=type(found.error)(message, hint=found.error.hint))


def _journal(whole: Whole, index: int) -> bytes | None:
    path = run.journal_path(whole.path(index))
    return path.read_bytes() if path.is_file() else None


def _portable(whole: Whole) -> Whole:
    """With paths that do not depend on the folder in which the command was typed."""
    config = whole.configured.config
    update: dict[str, Any] = {
        name: str(Path(value).resolve())
        for name in ("tasks_dir", "data_dir", "policy", "judge_cache")
        if (value := getattr(config, name)) is not None and Path(value).exists()
    }
    update["facts"] = tuple(str(Path(path).resolve()) for path in config.facts)
    configured = whole.configured.model_copy(update={"config": config.model_copy(update=update)})
    like_path = whole.like_path.resolve() if whole.like_path else None
    return replace(whole, configured=configured, like_path=like_path)


def ask_shard(whole: Whole, index: int, journal: bytes | None) -> Returned:
    """The task: one shard, on a worker, in a folder of its own.

    Args:
        whole: The run.
        index: Which shard.
        journal: What an earlier task of it left.
    """
    with tempfile.TemporaryDirectory(prefix="flagos-eval-") as folder:
        output = Path(folder) / whole.path(index).name
        kept = run.journal_path(output)
        if journal is not None:
            kept.write_bytes(journal)
        error: FlagosEvalError | None = None
        try:
            _execute(whole, f"{index}/{whole.count}", output)
        except FlagosEvalError as raised:
            error = raised
        except run.Interrupted as stopped:
            error = IncompleteRun(str(stopped), hint=_AGAIN)
        files = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in Path(folder).rglob("*")
            if path.is_file()
        }
    return Returned(files, error)


def _execute(whole: Whole, shard: str, output: Path) -> None:
    config: RunConfig = whole.configured.config.model_copy(update={"shard": shard})
    sources = {**whole.configured.sources, "shard": "flag"}
    configured = Configured.model_validate({"config": config.model_dump(), "sources": sources})
    with Loading(plan.outline(config, like=whole.like, like_path=whole.like_path)) as tasks:
        job = Job(
            configured,
            tasks,
            output,
            whole.command,
            api_key=whole.api_key,
            judge_key=whole.judge_key,
        )
        run.execute(job, Silent())

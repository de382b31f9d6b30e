"""Tasks whose requests are known, and the plan that they make together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from .config import ASKED, LAUNCHED, RunConfig
from .dataset import Items
from .errors import DatasetError
from .questions import Key, Requests
from .records import (
    ExpectedItem,
    ImagePart,
    Request,
    Sampling,
    ScorerRecord,
    Shard,
    TaskRecord,
)
from .redact import redact_command
from .task import Prompt, Scorer, Task


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

    @property
    def has_images(self) -> bool:
        """Whether the server must be able to see."""
        return any(sample.images for sample in self.items.samples)

    def identity(self) -> dict[str, JsonValue]:
        """What must be the same for answers to belong to one run, in the words of messages."""
        name = self.task.name
        return {
            f"{name} items": self.items.record.fingerprint,
            **prompt_identity(name, self.prompt),
        }

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

    @property
    def scorers(self) -> tuple[Scorer, ...]:
        """Of the tasks."""
        return tuple(planned.scorer for planned in self.tasks)

    @property
    def loading(self) -> None:
        """Nothing is: see `flagos_eval.loading.Coming`."""
        return

    def after(self, seen: int) -> Sequence[PlannedTask]:
        """The tasks but the first `seen`."""
        return self.tasks[seen:]

    def wait(self, seen: int, seconds: float | None = None) -> bool:
        """Everything is there."""
        del seen, seconds
        return True

    def whole(self) -> Plan:
        """This."""
        return self

    def read_image(self, part: ImagePart) -> bytes:
        """An image's bytes, from whichever task has it."""
        return read_image(self.tasks, part)

    def identity(self) -> dict[str, JsonValue]:
        """What must be the same for answers to belong to one run; the names are those of the
        settings."""
        found = settings_identity(self.config)
        for planned in self.tasks:
            found |= planned.identity()
        return found


def read_image(tasks: Iterable[PlannedTask], part: ImagePart) -> bytes:
    """An image's bytes, from whichever task has it.

    Raises:
        DatasetError: none has it, or the file changed.
    """
    for planned in tasks:
        if part in planned.items.bank:
            return planned.items.bank.read(part)
    raise DatasetError(f"no image with SHA-256 {part.sha256} is at hand")


def settings_identity(config: RunConfig) -> dict[str, JsonValue]:
    """The settings that must be the same for answers to belong to one run."""
    values = config.model_dump(mode="json")
    found: dict[str, JsonValue] = {name: values[name] for name in (*ASKED, *LAUNCHED)}
    found["shard"] = config.shard
    # Secrets stay out of the journal, and another secret is still the same run.
    return found | {
        name: list(redact_command(values[name])) for name in ("set", "env", "docker_arg")
    }


def prompt_identity(task: str, prompt: Prompt) -> dict[str, JsonValue]:
    """The prompt that must be the same for answers to belong to one run."""
    return {f"{task} prompt": f"{prompt.name} v{prompt.version}"}

"""Everything one run established."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue, model_validator

from .base import InnerPath, Record, Sha256, Utc
from .check import check_run
from .counters import RunPart
from .request import Sampling
from .response import Response
from .score import Result, Score


class Fact(Record):
    """One thing known about where the answers came from, and who says so."""

    name: str
    value: JsonValue
    source: Literal["server", "client", "imported"]
    verified: bool
    """Seen by this program at the server or on the host, rather than told to it."""


class Capability(Record):
    """Whether the server does what a request asks, by the shape of its answer."""

    name: str
    state: Literal["supported", "ignored", "rejected", "not_verified"]
    detail: str


class Epoch(Record):
    """One start of a server. A restart begins a new epoch."""

    index: int
    endpoint: str
    first_seen: Utc
    model: str
    """The name it serves the model under."""
    version: str | None
    model_root: str | None
    max_model_len: int | None
    process_start: float | None = None
    """``process_start_time_seconds`` of the server's metrics, seconds since 1970."""
    launcher: str
    pid: int | None = None


class DatasetRecord(Record):
    """Which data the items came from."""

    id: str
    config: str | None = None
    split: str
    requested_revision: str | None = None
    revision: str | None = None
    """The commit that the revision resolved to; None where the origin has none."""
    origin: Literal["hub", "local", "modelscope", "generated", "pack", "imported"]
    """``imported``: of the items only what the answers' files tell is known."""
    fingerprint: Sha256
    """Over every item's id and content hash: what decides whether two sides saw the same items."""
    n: int


class ExpectedItem(Record):
    """An item that must be answered."""

    id: str
    content_hash: Sha256 | None
    """None in a run that was made elsewhere, where the item itself is not at hand."""
    request_hashes: tuple[Sha256 | None, ...]
    """One per repeat; None in a run that was made elsewhere."""
    group: str | None = None
    cluster: str | None = None
    source_id: str | None = None
    """Of the sample: what a comparison needs to know of it without the samples themselves."""


class ScorerRecord(Record):
    """A scorer by name and version."""

    name: str
    version: int


class TaskRecord(Record):
    """A task as it was run."""

    name: str
    version: int
    dataset: DatasetRecord
    prompt: str | None
    prompt_version: int | None
    sampling: Sampling | None
    """None, as the prompt, in a run that was made elsewhere and does not say."""
    repeats: int = Field(ge=1)
    scorers: tuple[ScorerRecord, ...]
    expected: tuple[ExpectedItem, ...]


class StoredFile(Record):
    """A file that belongs to a run, beside the run file."""

    kind: Literal["samples", "logprobs", "operators", "log", "images", "source"]
    path: InnerPath
    """Relative to the run file."""
    sha256: Sha256
    task: str | None = None


class Environment(Record):
    """The client's side: what drove the run."""

    package_version: str
    commit: str | None
    python: str
    platform: str
    packages: tuple[str, ...]
    """As ``pip freeze`` prints them."""
    command: tuple[str, ...]
    """Secrets removed."""
    variables: dict[str, str]
    """Environment variables that can change a result, secrets removed."""


class Weights(Record):
    """Which weights the server was told to serve."""

    source: str
    fingerprint: Sha256
    files: dict[str, Sha256] = {}


class Operator(Record):
    """A function of FlagGems that ran in the server."""

    name: str
    module: str
    """Of the logger on which it says so; a vendor's kernel shows by it."""
    direct: bool
    """The engine called it; else another operator of FlagGems did."""
    count: int = Field(ge=0)
    """How often, over all workers; graphs that are replayed do not count."""


class Dispatch(Record):
    """Which of FlagGems' operators were asked for, and which really ran."""

    requested: str
    """As ``--flag-gems`` said."""
    how: Literal["vllm", "flagscale", "plugin"]
    """What switched them: our plug-in of plain vLLM, FlagScale, or vllm-plugin-FL."""
    version: str | None = None
    """Of FlagGems."""
    vendor: str | None = None
    """What FlagGems took the chip for; None where it was not asked."""
    workers: int = Field(ge=0)
    """Processes that wrote down their operators."""
    operators: tuple[Operator, ...] = ()
    idle: tuple[str, ...] = ()
    """Asked for by name, and never run: the model has no use for them."""
    problems: tuple[str, ...] = ()
    """What contradicts the request, and makes the run invalid."""


class JudgeRecord(Record):
    """A model that graded answers, and what it was seen to do."""

    model: str
    """As it was asked for."""
    endpoint: str
    served: tuple[str, ...] = ()
    """The names that its server echoed."""
    anchors: dict[str, str] = {}
    """Name of a known question -> the grade that the judge gave to it. Another judge behind the
    same name is likely to give another one."""
    graded: int = Field(ge=0)
    """Questions that the judge answered, from the cache or now."""
    failed: int = Field(ge=0)
    compared: int = Field(0, ge=0)
    """Questions that were put more than once (``--judge-repeat``)."""
    disagreed: int = Field(0, ge=0)
    """Of these, how many were not graded the same each time."""


class Import(Record):
    """Where a run that was made elsewhere came from."""

    source: str
    """The tool: ``flagevalmm``, ``lmms-eval``, or ``responses`` for bare texts."""
    files: dict[str, Sha256]
    """Name -> SHA-256 of the files that were read."""
    absent: tuple[str, ...] = ()
    """What the source does not say, and nothing here makes up: usage, sampling, ..."""


class Whole(Record):
    """A task of which a shard asks a part."""

    task: str
    n: int = Field(ge=1)
    """Items of all shards together."""
    fingerprint: Sha256
    """`DatasetRecord.fingerprint` over all of them, by which a merge tells that nothing is missing.
    """


class Shard(Record):
    """Part ``index`` (from 1) of ``count``: every ``count``-th item of each task, from the
    ``index``-th on."""

    index: int = Field(ge=1)
    count: int = Field(ge=1)
    of: tuple[Whole, ...]
    """Every task of the whole run, also one that is too small for this part."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Shard:
        if self.index > self.count:
            raise ValueError(f"there is no part {self.index} of {self.count}")
        return self

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


class Revision(Record):
    """A later change of a run file, such as a re-score."""

    at: Utc
    command: tuple[str, ...]
    package_version: str
    note: str


class Setting(Record):
    """A setting and where it came from."""

    value: JsonValue
    source: Literal["flag", "environment", "file", "run", "default"]


class Run(Record):
    """Everything one run established."""

    schema_version: Literal[1] = 1
    id: str
    name: str
    arm: str | None = None
    phase: Literal["preview", "official"]
    """``preview`` whenever fewer items than the benchmark has were asked; of a shard, by all shards
    together."""
    state: Literal["complete", "incomplete"]
    reason: str | None = None
    """Why it is incomplete."""
    shard: Shard | None = None
    """Which part of a run this is; it cannot be compared before it is merged with the others."""
    parents: tuple[str, ...] = ()
    """The ids of the shards that this run was merged from, in their order."""
    policy_sha256: Sha256 | None = None
    """Of the policy that was declared before the run."""
    started_at: Utc
    ended_at: Utc
    model: str
    settings: dict[str, Setting]
    environment: Environment
    epochs: tuple[Epoch, ...]
    parts: tuple[RunPart, ...] = ()
    """What the servers counted, one entry a call of the command. Empty in a run that was made
    elsewhere or by a version that did not keep it."""
    facts: tuple[Fact, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    weights: Weights | None = None
    dispatch: Dispatch | None = None
    judges: tuple[JudgeRecord, ...] = ()
    imported: Import | None = None
    files: tuple[StoredFile, ...] = ()
    revisions: tuple[Revision, ...] = ()
    results: tuple[Result, ...]
    tasks: tuple[TaskRecord, ...]
    responses: tuple[Response, ...]
    scores: tuple[Score, ...]
    seal: Sha256 | None = None
    """The last field of a file: SHA-256 over all bytes before it, by which ``verify`` finds a
    change by hand. In memory always None."""

    @model_validator(mode="after")
    def _nothing_lost(self) -> Run:
        check_run(self)
        return self

    @property
    def invalid(self) -> tuple[str, ...]:
        """Why the run is not what it says, whatever it answered; empty if nothing shows that."""
        return self.dispatch.problems if self.dispatch is not None else ()

    def task(self, name: str) -> TaskRecord:
        """The task's record.

        Raises:
            KeyError: the run has no such task.
        """
        for record in self.tasks:
            if record.name == name:
                return record
        raise KeyError(name)

    def result(self, task: str, scorer: str | None = None) -> Result:
        """The task's result by one scorer, by default the one the run was made with.

        Raises:
            KeyError: no such task or scorer.
        """
        for result in self.results:
            if result.task == task and scorer in (None, result.scorer):
                return result
        raise KeyError((task, scorer))

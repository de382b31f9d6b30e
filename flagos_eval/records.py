"""What is stored: frozen, typed, versioned records, each made in one place.

``Task -> Sample -> Request -> Response -> Score -> Result -> Run``: `Sample` comes from a benchmark
file, `Request` from ``prompt.py``, `Response` from ``client.py``, `Score` from ``scoring/``,
`Result` from ``metrics.py`` and `Run` from ``run.py``. Records hold no code, no image bytes and no
secrets; images are named by the SHA-256 of their bytes.

Times are UTC in ISO 8601, durations are seconds, scores are 0..1 and metrics 0..100.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

SCHEMA_VERSION = 1
"""Of the run file, the journal and the samples sidecar; raised when an older reader would misread
them."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Utc = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")]


def _stays_inside(path: str) -> str:
    plain = PurePosixPath(path)
    outside = plain.is_absolute() or not plain.parts or ".." in plain.parts
    if outside or str(plain) != path or "\0" in path:
        raise ValueError(f"{path!r} is not a path below the folder of the run file")
    return path


InnerPath = Annotated[str, AfterValidator(_stays_inside)]
"""A file below the run file's folder. It may come from a stranger, and is read and written to."""


class Record(BaseModel):
    """Base of everything stored: immutable, no unknown fields, no NaN or infinity."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        protected_namespaces=(),  # pydantic 2.9 warns of `model_root`
    )


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces, so that equal values have equal bytes (and hashes).

    Lone surrogates, which JSON from strangers may hold, are escaped rather than refused.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return text.encode("ascii")


def sha256_hex(data: bytes) -> str:
    """Lower-case hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


# --- Sample ---------------------------------------------------------------------------------------


class TextPart(Record):
    """A piece of a question, as the dataset has it."""

    type: Literal["text"] = "text"
    text: str


class ImagePart(Record):
    """An image in its place within a question, named by the hash of the bytes that are sent."""

    type: Literal["image"] = "image"
    sha256: Sha256
    media_type: str
    """Such as ``image/jpeg``; found from the bytes, not from the file name."""
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    size: int = Field(ge=1)
    """Bytes."""
    converted_from: str | None = None
    """The media type in the dataset, when servers cannot read it and it had to be converted."""


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


def _identity(parts: Iterable[TextPart | ImagePart]) -> list[list[str]]:
    """The parts of a message reduced to what a model can tell apart."""
    return [["text", p.text] if isinstance(p, TextPart) else ["image", p.sha256] for p in parts]


class Sample(Record):
    """One item of a benchmark: what is asked, what is right, and what it belongs to."""

    task: str
    id: str
    input: tuple[Part, ...]
    """The question: text and images in their order."""
    choices: tuple[str, ...] = ()
    target: tuple[str, ...]
    """Accepted answers, the first being the one to show."""
    group: str | None = None
    """Subject, level or sub-task: a stratum for tables."""
    cluster: str | None = None
    """Items that share an image, a problem or a source question share a cluster: they are not
    independent."""
    source_id: str | None = None
    """The id of the item this one was derived from, as ``mmmu/validation_Art_3`` for MMMU-Pro."""
    license: str | None = None
    metadata: dict[str, JsonValue] = {}
    content_hash: Sha256
    """SHA-256 over input (texts and image hashes), choices and target."""
    withheld: bool = False
    """The texts were left out because of the licence; the hash still names them."""

    @classmethod
    def create(
        cls,
        *,
        task: str,
        id: str,
        input: Iterable[TextPart | ImagePart],
        target: str | Iterable[str],
        choices: Iterable[str] = (),
        **fields: Any,
    ) -> Sample:
        """Build a sample and hash its content."""
        parts, options = tuple(input), tuple(choices)
        accepted = (target,) if isinstance(target, str) else tuple(target)
        return cls(
            task=task,
            id=id,
            input=parts,
            choices=options,
            target=accepted,
            content_hash=cls.hash_content(parts, options, accepted),
            **fields,
        )

    @staticmethod
    def hash_content(
        parts: Iterable[TextPart | ImagePart], choices: tuple[str, ...], target: tuple[str, ...]
    ) -> str:
        """The hash by which two sides show that they saw the same item."""
        return sha256_hex(canonical_json([_identity(parts), list(choices), list(target)]))

    @model_validator(mode="after")
    def _content_matches_hash(self) -> Sample:
        if not self.withheld:
            found = self.hash_content(self.input, self.choices, self.target)
            if found != self.content_hash:
                raise ValueError(f"sample {self.id!r}: content does not match its hash")
        return self

    @property
    def images(self) -> tuple[ImagePart, ...]:
        """The images in order of appearance."""
        return tuple(part for part in self.input if isinstance(part, ImagePart))


# --- Request --------------------------------------------------------------------------------------


class Sampling(Record):
    """How the server is told to choose tokens. Every field is sent: server defaults differ."""

    temperature: float = Field(0.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(-1, ge=-1)
    """-1 switches it off."""
    min_p: float = Field(0.0, ge=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0)
    seed: int = 0
    max_tokens: int = Field(4096, ge=1)


class Message(Record):
    """One turn."""

    role: Literal["system", "user", "assistant"]
    content: tuple[Part, ...]


class Request(Record):
    """One question as it is put to a server."""

    task: str
    sample_id: str
    repeat: int = Field(0, ge=0)
    messages: tuple[Message, ...]
    sampling: Sampling
    mm_processor_kwargs: dict[str, JsonValue] = {}
    """Image limits such as ``max_pixels``, sent with every request when set."""
    hash: Sha256
    """SHA-256 over messages, image bytes (by their hash), sampling and image limits. The model's
    name, logprobs, streaming and transport are left out: they may differ between two comparable
    runs."""

    @staticmethod
    def hash_body(
        messages: Iterable[Message],
        sampling: Sampling,
        mm_processor_kwargs: Mapping[str, JsonValue],
    ) -> str:
        """The identity of a question, the same on every machine."""
        turns = [[m.role, _identity(m.content)] for m in messages]
        return sha256_hex(canonical_json([turns, sampling.model_dump(), dict(mm_processor_kwargs)]))

    @property
    def key(self) -> tuple[str, str, int, str]:
        """Task, sample, repeat and hash: what a journal knows an answer by."""
        return (self.task, self.sample_id, self.repeat, self.hash)


# --- Response -------------------------------------------------------------------------------------


class ErrorKind(str, Enum):
    """Why a request has no answer."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    INVALID_REPLY = "invalid_reply"
    """The server said 200 and sent something that is no chat completion."""
    REJECTED = "rejected"
    """A deterministic 4xx: image too large, prompt too long. Asking again gives the same."""


class RequestError(Record):
    """One failure, of an attempt or of a whole request."""

    kind: ErrorKind
    message: str
    status_code: int | None = None


class Attempt(Record):
    """One try of a request."""

    started_at: Utc
    latency: float = Field(ge=0)
    error: RequestError | None = None


class Usage(Record):
    """Token counts as the server reports them."""

    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    cached_tokens: int | None = None


class Response(Record):
    """What came back: a text or an error, never both and never neither."""

    task: str
    sample_id: str
    repeat: int = Field(0, ge=0)
    request_hash: Sha256
    text: str | None = None
    error: RequestError | None = None
    reasoning: str | None = None
    refusal: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    server_id: str | None = None
    """The id that the server gave its answer."""
    server_time: int | None = None
    """The server's ``created``, seconds since 1970."""
    server_model: str | None = None
    """The model name that the server echoed."""
    endpoint: str | None = None
    epoch: int | None = None
    """Which start of the server answered: an index into `Run.epochs`."""
    order: int = Field(ge=0)
    """Position in the queue of this run."""
    in_flight: int = Field(ge=0)
    """Requests in flight when this one was sent, itself included."""
    attempts: tuple[Attempt, ...] = ()
    latency: float = Field(ge=0)
    """Of the last attempt."""
    logprobs_line: int | None = None
    """Line (from 0) in the run's logprobs file."""

    @model_validator(mode="after")
    def _text_or_error(self) -> Response:
        if (self.text is None) == (self.error is None):
            raise ValueError(
                f"response to {self.sample_id!r} must have a text or an error, and not both"
            )
        return self

    @property
    def key(self) -> tuple[str, str, int, str]:
        """The same key as the request's."""
        return (self.task, self.sample_id, self.repeat, self.request_hash)


# --- Score and Result -----------------------------------------------------------------------------


class Status(str, Enum):
    """What became of one item. Counts per status always sum to the number of items."""

    SCORED = "scored"
    UNPARSED = "unparsed"
    """No answer was found in the text: worth 0, and counted here. Nothing is ever guessed."""
    TRUNCATED = "truncated"
    """Cut by the token limit; worth what the benchmark gives the text that is there."""
    EMPTY = "empty"
    REFUSED = "refused"
    ERROR = "error"
    JUDGE_FAILED = "judge_failed"
    UNJUDGED = "unjudged"
    NOT_RUN = "not_run"


WITHOUT_VALUE = frozenset({Status.ERROR, Status.JUDGE_FAILED, Status.UNJUDGED, Status.NOT_RUN})
"""Statuses that say nothing about the model: their value is None, never 0."""


class Score(Record):
    """What an answer is worth, by one scorer."""

    task: str
    sample_id: str
    repeat: int = Field(0, ge=0)
    scorer: str
    scorer_version: int = Field(ge=1)
    judge: str | None = None
    """The model that graded it, with its version, where one did."""
    status: Status
    value: float | None = Field(None, ge=0, le=1)
    answer: str | None = None
    """What the scorer read out of the text."""

    @model_validator(mode="after")
    def _value_fits_status(self) -> Score:
        if (self.value is None) != (self.status in WITHOUT_VALUE):
            raise ValueError(
                f"score of {self.sample_id!r}: value {self.value} with status {self.status.value}"
            )
        return self


class Metric(Record):
    """One aggregation of a task's scores, on 0..100."""

    name: str
    value: float | None
    """Over the items that have a value; None where there is none (an empty run is not a bad model).
    """
    low: float | None
    """With every item that has no value counted as wrong."""
    high: float | None
    """With every item that has no value counted as right."""


class Group(Record):
    """A stratum's share of a result."""

    name: str
    n: int
    valued: int
    value: float | None
    """0..100 over the items with a value."""


class Result(Record):
    """One task, one scorer: counts, metrics and groups."""

    task: str
    scorer: str
    scorer_version: int
    judge: str | None = None
    n: int
    """Items times repeats expected."""
    counts: dict[Status, int]
    metrics: tuple[Metric, ...] = Field(min_length=1)
    """The first is the headline."""
    groups: tuple[Group, ...] = ()

    @model_validator(mode="after")
    def _counts_sum_to_n(self) -> Result:
        if sum(self.counts.values()) != self.n:
            raise ValueError(f"{self.task}: counts {self.counts} do not sum to {self.n}")
        return self


# --- Run ------------------------------------------------------------------------------------------


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
    origin: Literal["hub", "local", "modelscope", "generated", "pack"]
    fingerprint: Sha256
    """Over every item's id and content hash: what decides whether two sides saw the same items."""
    n: int


class ExpectedItem(Record):
    """An item that must be answered."""

    id: str
    content_hash: Sha256
    request_hashes: tuple[Sha256, ...]
    """One per repeat."""


class ScorerRecord(Record):
    """A scorer by name and version."""

    name: str
    version: int


class TaskRecord(Record):
    """A task as it was run."""

    name: str
    version: int
    dataset: DatasetRecord
    prompt: str
    prompt_version: int
    sampling: Sampling
    repeats: int = Field(ge=1)
    scorers: tuple[ScorerRecord, ...]
    expected: tuple[ExpectedItem, ...]


class StoredFile(Record):
    """A file that belongs to a run, beside the run file."""

    kind: Literal["samples", "logprobs", "log", "images"]
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


class Dispatch(Record):
    """Which operators really ran in the server."""

    requested: JsonValue = None
    operators: tuple[str, ...] = ()
    evidence: tuple[StoredFile, ...] = ()


class Shard(Record):
    """Part ``index`` (from 1) of ``count``."""

    index: int = Field(ge=1)
    count: int = Field(ge=1)


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
    """``preview`` whenever fewer items than the benchmark has were asked."""
    state: Literal["complete", "incomplete"]
    reason: str | None = None
    """Why it is incomplete."""
    shard: Shard | None = None
    parents: tuple[str, ...] = ()
    policy_sha256: Sha256 | None = None
    """Of the policy that was declared before the run."""
    started_at: Utc
    ended_at: Utc
    model: str
    settings: dict[str, Setting]
    environment: Environment
    epochs: tuple[Epoch, ...]
    facts: tuple[Fact, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    weights: Weights | None = None
    dispatch: Dispatch | None = None
    files: tuple[StoredFile, ...] = ()
    revisions: tuple[Revision, ...] = ()
    results: tuple[Result, ...]
    tasks: tuple[TaskRecord, ...]
    responses: tuple[Response, ...]
    scores: tuple[Score, ...]

    @model_validator(mode="after")
    def _nothing_lost(self) -> Run:
        _check_run(self)
        return self

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


def _check_run(run: Run) -> None:
    """Checked when a run is built and when it is read: every item once, nothing foreign, sums
    right."""
    for task in run.tasks:
        _check_task(run, task)
    if len({task.name for task in run.tasks}) != len(run.tasks):
        raise ValueError("the same task is there twice")
    expected = {
        (task.name, item.id, repeat, request_hash)
        for task in run.tasks
        for item in task.expected
        for repeat, request_hash in enumerate(item.request_hashes)
    }
    answered = [response.key for response in run.responses]
    if len(set(answered)) != len(answered):
        raise ValueError("the same request is answered twice")
    if not expected.issuperset(answered):
        key = next(key for key in answered if key not in expected)
        raise ValueError(
            f"an answer to a request that was not expected: task {key[0]}, sample {key[1]}"
        )
    if run.state == "complete" and len(answered) != len(expected):
        raise ValueError(f"complete, yet {len(expected) - len(answered)} requests have no response")
    failed = {response.key[:3]: response.error is not None for response in run.responses}
    scores: dict[tuple[str, str, int], list[Score]] = {}
    for score in run.scores:
        scores.setdefault((score.task, score.scorer, score.scorer_version), []).append(score)
        _check_score(score, failed.get((score.task, score.sample_id, score.repeat)))
    for result in run.results:
        rows = scores.pop((result.task, result.scorer, result.scorer_version), [])
        _check_result(result, rows, {key[:3] for key in expected if key[0] == result.task})
    for task_name, scorer, version in scores:
        raise ValueError(f"{task_name}: scores by {scorer} v{version} belong to no result")


def _check_task(run: Run, task: TaskRecord) -> None:
    if len({item.id for item in task.expected}) != len(task.expected):
        raise ValueError(f"{task.name}: the same item is there twice")
    for item in task.expected:
        if len(item.request_hashes) != task.repeats:
            raise ValueError(f"{task.name}: sample {item.id} is not asked {task.repeats} times")
    if not any(result.task == task.name for result in run.results):
        raise ValueError(f"{task.name}: no result")


def _check_score(score: Score, failed: bool | None) -> None:
    """A failed request (`failed`) or one that was not made (None) is never an answer."""
    stated = (score.status is Status.NOT_RUN, score.status is Status.ERROR)
    if stated != (failed is None, failed is True):
        raise ValueError(
            f"{score.task}: the score of sample {score.sample_id} is {score.status.value}, "
            "its response says otherwise"
        )


def _check_result(result: Result, rows: list[Score], places: set[tuple[str, str, int]]) -> None:
    if len(rows) != result.n or len(places) != result.n:
        raise ValueError(
            f"{result.task}: {len(rows)} scores by {result.scorer} for {result.n} expected"
        )
    if {(s.task, s.sample_id, s.repeat) for s in rows} != places:
        raise ValueError(f"{result.task}: the scored items are not those that were asked")
    found = Counter(s.status for s in rows)
    for status in Status:
        if found[status] != result.counts.get(status, 0):
            raise ValueError(
                f"{result.task}: {found[status]} scores are {status.value}, "
                "its count says otherwise"
            )
    if all(s.value is not None for s in rows):
        for metric in result.metrics:
            if not metric.low == metric.value == metric.high:
                raise ValueError(
                    f"{result.task}: every item has a value, yet {metric.name} is uncertain"
                )


# --- Comparison -----------------------------------------------------------------------------------


class Check(Record):
    """One condition for comparing two runs."""

    name: str
    state: Literal["equal", "differs", "not_verified"]
    baseline: JsonValue
    candidate: JsonValue
    blocking: bool
    """Whether a difference forbids the comparison, rather than being worth knowing."""
    detail: str | None = None


class Difference(Record):
    """One task on both sides, paired by item."""

    task: str
    metric: str
    scorer: str
    n: int
    """Items expected on each side."""
    paired: int
    """Items with a value on both sides."""
    baseline: float | None
    candidate: float | None
    """The release card's columns: each side's own metric, 0..100."""
    delta: float | None
    """Candidate minus baseline over the paired items, in points."""
    lost: int
    """Items worth less on the candidate (each item's mean over its repeats)."""
    gained: int
    baseline_counts: dict[Status, int]
    candidate_counts: dict[Status, int]


class Comparison(Record):
    """Two runs side by side."""

    schema_version: Literal[1] = 1
    baseline: str
    candidate: str
    baseline_id: str
    candidate_id: str
    comparable: bool
    checks: tuple[Check, ...]
    differences: tuple[Difference, ...]
    verdict: None = None
    """This version measures and does not judge."""
    notes: tuple[str, ...] = ()

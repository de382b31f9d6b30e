"""What came back: a text or an error, and how it was got."""

from __future__ import annotations

from enum import Enum

from pydantic import Field, model_validator

from .base import Record, Sha256, Utc


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
    UNKNOWN = "unknown"
    """Of an answer that was made elsewhere: its message is all that is known."""


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
    endpoint: str | None = None
    """The address that was asked; None in runs of versions that did not keep it."""


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
    request_hash: Sha256 | None
    """None in a run that was made elsewhere, whose requests are not known."""
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
    in_flight: int | None = Field(None, ge=0)
    """Requests in flight when this one was sent, itself included."""
    attempts: tuple[Attempt, ...] = ()
    latency: float | None = Field(None, ge=0)
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
    def key(self) -> tuple[str, str, int, str | None]:
        """The same key as the request's."""
        return (self.task, self.sample_id, self.repeat, self.request_hash)

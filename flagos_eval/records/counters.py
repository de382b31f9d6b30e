"""What servers counted while they were asked, beside what they answered."""

from __future__ import annotations

from pydantic import Field

from .base import Record, Utc


class Counts(Record):
    """Requests that were answered and what they were made of; None where nobody says."""

    requests: int | None = Field(None, ge=0)
    prompt_tokens: int | None = Field(None, ge=0)
    completion_tokens: int | None = Field(None, ge=0)


class Reading(Record):
    """A server's own counters at one moment, since its start; None where it has no such one."""

    at: Utc
    process_start: float | None = None
    """By which a reading belongs to a start of the server."""
    counts: Counts
    """Of requests only those that ended with an answer; what was aborted has tokens, too."""
    preemptions: int | None = Field(None, ge=0)
    prefix_hits: int | None = Field(None, ge=0)
    """Prompt tokens that were found in the prefix cache."""
    prefix_hit_rate: float | None = None
    """What vLLM before 0.8 says instead; below 0 where it has no cache."""


class Counters(Record):
    """What one start of a server counted during one part of a run, and what it answered to us."""

    epoch: int = Field(ge=0)
    endpoint: str
    begin: Reading | None = None
    """After the probes, before the first question."""
    fresh: bool = False
    """The server was started anew on the way: its counters began at zero, and `begin` is None."""
    end: Reading | None = None
    """None if the server was gone. Of a part that was killed, what the next one found."""
    answered: Counts = Counts()
    """The answers of this part that name this start, as they were billed to us. A token count is
    None if an answer came without one."""


class RunPart(Record):
    """One call of the command on the way to a run, from its first question to its end."""

    index: int = Field(ge=0)
    begun_at: Utc
    ended_at: Utc | None = None
    """None if it was killed."""
    tries: int = Field(1, ge=1)
    """Attempts at one address that a request may have made."""
    dropped: tuple[int, ...] | None = None
    """Orders of the requests in flight when it ended, which the server may have counted; None if
    it was killed: nobody knows."""
    counters: tuple[Counters, ...] = ()

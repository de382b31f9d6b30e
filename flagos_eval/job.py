"""What a run is given, and what it learns about the servers: the two ends of `run.execute`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .config import Configured, RunConfig
from .journal import Learnt
from .loading import Coming
from .records import Dispatch, Epoch, RunPart


@dataclass(frozen=True)
class Job:
    """One call of `run.execute`."""

    configured: Configured
    plan: Coming
    """Its tasks may still be loaded while others are asked."""
    output: Path
    command: tuple[str, ...]
    """As it was typed."""
    api_key: str | None = None
    fresh: bool = False
    """Drop what an unfinished run of the same output left."""
    judge_key: str | None = None
    """The judge is another server, and has another key."""

    @property
    def config(self) -> RunConfig:
        """The settings."""
        return self.configured.config


@dataclass(frozen=True)
class Session:
    """What was learnt about the servers while they answered, in all parts of the run."""

    model: str
    epochs: tuple[Epoch, ...]
    parts: tuple[RunPart, ...]
    learnt: Learnt
    dispatch: Dispatch | None = None
    """As another machine stated it; of servers that are started here it is read from records."""

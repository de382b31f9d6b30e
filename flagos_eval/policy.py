"""What a release must satisfy, declared before the runs: tiers, margins, waivers. A TOML file.

It fails closed: an unknown key, a tier that does not exist, a margin that is no number or a waiver
without an end date is an error and never a default. A task that the policy names and the runs lack
is NOT_RUN, which no release survives."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from . import bounded, toml_file
from .errors import FileError, UsageError
from .records import Record, sha256_hex

Tier = Literal["critical", "supporting", "advisory"]

FOLDER = Path(__file__).parent / "policies"
DEFAULT = "default"


class TaskPolicy(Record):
    """What one task must satisfy."""

    tier: Tier
    margin: float = Field(gt=0, le=100)
    """Points on 0..100: a difference smaller than this, either way, is acceptable."""


class Waiver(Record):
    """Someone's word, by name and until a date, that an exception is acceptable."""

    task: str
    accepts: Literal["INCONCLUSIVE", "CHANGED", "NUMERICS_CHANGED"]
    who: str = Field(min_length=1)
    why: str = Field(min_length=1)
    until: datetime.date
    """The last day on which it holds."""


class Policy(Record):
    """A policy file."""

    policy: Literal[1]
    """Version of the format."""
    name: str = Field(min_length=1)
    alpha: float = Field(gt=0, lt=0.5)
    """Of each one-sided test: an interval of level 1 - 2 alpha must lie inside the margin."""
    max_error_rate: float = Field(ge=0, lt=1)
    """Share of a side's requests that may be without an answer; more makes the run invalid."""
    tasks: dict[str, TaskPolicy] = Field(min_length=1)
    waivers: tuple[Waiver, ...] = ()

    @field_validator("waivers", mode="after")
    @classmethod
    def _named_once(cls, waivers: tuple[Waiver, ...]) -> tuple[Waiver, ...]:
        places = [(waiver.task, waiver.accepts) for waiver in waivers]
        if len(set(places)) != len(places):
            raise ValueError("two waivers for the same task and reason")
        return waivers

    @property
    def gated(self) -> tuple[str, ...]:
        """The tasks that decide."""
        return tuple(name for name, task in self.tasks.items() if task.tier != "advisory")

    def waiver(self, task: str, accepts: str, today: datetime.date) -> Waiver | None:
        """The waiver that holds today, if there is one."""
        for waiver in self.waivers:
            if (waiver.task, waiver.accepts) == (task, accepts) and today <= waiver.until:
                return waiver
        return None


class LoadedPolicy(Record):
    """A policy and what names it."""

    policy: Policy
    sha256: str
    """Of the file's bytes."""
    source: str
    """The file, or the name of a built-in one."""


def known() -> list[str]:
    """Names of the built-in policies."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def locate(name: str) -> Path:
    """The file of a built-in policy, or the path itself."""
    return FOLDER / f"{name}.toml" if name in known() else Path(name)


def load(name: str) -> LoadedPolicy:
    """A policy by built-in name or path.

    Raises:
        FileError: it cannot be read.
        UsageError: it is no policy; says which key and why.
    """
    path = locate(name)
    try:
        data = bounded.read_bytes(path, toml_file.MOST_BYTES, what="the policy")
    except FileError as error:
        hint = f"a path, or one of {', '.join(known())}"
        raise FileError(error.message, hint=hint) from error
    content = toml_file.parse(data, f"the policy {name}")
    return LoadedPolicy(policy=parse(content, name), sha256=sha256_hex(data), source=name)


def parse(content: Mapping[str, object], name: str) -> Policy:
    """Check a policy's content.

    Raises:
        UsageError: it is no policy; says which key and why.
    """
    renamed = {("waivers" if key == "waiver" else key): value for key, value in content.items()}
    try:
        policy = Policy.model_validate(renamed)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageError(f"the policy {name}: {where}: {first['msg']}") from error
    for waiver in policy.waivers:
        if waiver.task not in policy.tasks:
            raise UsageError(f"the policy {name} waives {waiver.task!r}, which it does not have")
    return policy


def default_margin(n: int) -> float:
    """The documented margin for a benchmark of `n` items, in points."""
    return 3.0 if n >= 1500 else 4.0 if n >= 700 else 5.0

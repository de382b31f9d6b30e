"""The interface of a platform: recognise a machine, and state facts about it."""

from __future__ import annotations

from typing import Protocol

from ..records import Fact


class Platform(Protocol):
    """One kind of machine."""

    name: str

    def detect(self) -> bool:
        """Whether this machine is one. Cheap, and without importing a framework."""
        ...

    def facts(self) -> tuple[Fact, ...]:
        """What can be said about the host, each with its source; never a guess."""
        ...

"""For programs: every count, so that any number can be computed again."""

from __future__ import annotations

from ..records import Comparison

SUFFIXES = (".json",)


def render(comparison: Comparison) -> str:
    """The comparison's record; docs/comparison.v1.schema.json describes it."""
    return comparison.model_dump_json(indent=1) + "\n"

"""For programs: every count, so that any number can be computed again."""

from __future__ import annotations

import json

from ..records import Comparison

SUFFIXES = (".json",)


def render(comparison: Comparison) -> str:
    """The comparison's record; docs/comparison.v1.schema.json describes it."""
    # ASCII: names come from files, and must not act on a terminal.
    return json.dumps(comparison.model_dump(), indent=1, allow_nan=False) + "\n"

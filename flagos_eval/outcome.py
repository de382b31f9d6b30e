"""Whether a run is complete: few enough of its requests failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from .records import Response


def of(
    responses: Sequence[Response], total: int, allowed: float
) -> tuple[Literal["complete", "incomplete"], str | None]:
    """(state, why it is incomplete).

    Args:
        responses: Those that there are.
        total: Requests that were planned.
        allowed: Share of them that may fail (``--max-error-rate``).
    """
    errors = sum(response.error is not None for response in responses)
    if len(responses) < total:
        return "incomplete", f"{total - len(responses)} of {total} requests have no response"
    if errors > allowed * total:
        return (
            "incomplete",
            f"{errors} of {total} requests failed, more than {100 * allowed:g} %",
        )
    return "complete", None

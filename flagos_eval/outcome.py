"""Whether a run is complete: few enough of its requests failed."""

from __future__ import annotations

import re
from collections import Counter
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
        why = f"{errors} of {total} requests failed, more than {100 * allowed:g} %"
        return "incomplete", f"{why}; most often: {_most_often(responses)}"
    return "complete", None


def _most_often(responses: Sequence[Response]) -> str:
    """What servers said to the requests that failed."""
    said = Counter(r.error.message for r in responses if r.error is not None)
    ((message, _),) = said.most_common(1)
    # JSON has no such number: vLLM answers with this instead of log-probabilities.
    computed = " (the model computes NaN)" if re.search(r"(?i)\bnan\b", message) else ""
    return f"{message[:200]}{computed}"

"""Response -> Score: the status of an item, and the benchmark's own rule where there is a text."""

from __future__ import annotations

from ..records import Response, Sample, Score, Status
from ..task import Scorer


def score(sample: Sample, response: Response | None, scorer: Scorer, *, repeat: int = 0) -> Score:
    """What one answer is worth.

    A failed request is never an answer: it has no value. An empty or refused answer, and one in
    which no answer is found, is worth 0 and counted under its own status. A truncated one has the
    value that the benchmark gives the text that is there."""
    status, value, answer = _read(sample, response, scorer)
    return Score(
        task=sample.task,
        sample_id=sample.id,
        repeat=repeat,
        scorer=scorer.name,
        scorer_version=scorer.version,
        status=status,
        value=value,
        answer=answer,
    )


def _read(
    sample: Sample, response: Response | None, scorer: Scorer
) -> tuple[Status, float | None, str | None]:
    if response is None:
        return Status.NOT_RUN, None, None
    if response.text is None:
        return Status.ERROR, None, None
    truncated = response.finish_reason == "length"
    if response.refusal is not None or response.finish_reason == "content_filter":
        return Status.REFUSED, 0.0, None
    if not response.text.strip():
        return (Status.TRUNCATED if truncated else Status.EMPTY), 0.0, None
    judgement = scorer.score(sample, response.text)
    if truncated:
        status = Status.TRUNCATED
    else:
        status = Status.UNPARSED if judgement.answer is None else Status.SCORED
    return status, judgement.value, judgement.answer

"""Answers -> `Run`: score, aggregate, write what belongs beside the run file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence

from . import environment, metrics, outcome, samples
from .clock import utc_now
from .job import Job, Session
from .journal import Journal, Key
from .judging import NOT_JUDGED, Judged
from .operators import evidence
from .planned import Plan, PlannedTask
from .progress import Note, Reporter
from .records import Dispatch, Response, Result, Run, Score, StoredFile, sha256_hex
from .redact import redact_command
from .scoring.batch import Answers, score_all
from .scoring.response import Grades
from .store import atomic_write

PlaceOf = tuple[str, str, int]


def assemble(
    job: Job,
    plan: Plan,
    session: Session,
    journal: Journal,
    responses: Sequence[Response],
    report: Reporter,
    judged: Judged = NOT_JUDGED,
) -> Run:
    """Build the run: *incomplete* if more requests failed than ``--max-error-rate`` allows."""
    by_place = {(r.task, r.sample_id, r.repeat): r for r in responses}
    scores: list[Score] = []
    results: list[Result] = []
    for planned in plan.tasks:
        report(
            Note("score", f"{planned.task.name} by {planned.scorer.name} v{planned.scorer.version}")
        )
        found = _score_task(planned, by_place, judged.grades)
        scores += found
        results.append(metrics.aggregate(planned.task, planned.items.samples, found))
    responses, logprobs = _write_logprobs(job, journal, responses)
    stored = [
        samples.write(p.items.samples, p.items.bank, job.output, withhold=job.config.withhold_text)
        for p in plan.tasks
    ]
    seen = _operators(job, session, responses)
    state, reason = outcome.of(responses, plan.total, job.config.max_error_rate)
    settings = job.configured.settings()
    hidden = redact_command(job.config.env)
    settings["env"] = settings["env"].model_copy(update={"value": list(hidden)})
    return Run(
        id=journal.kept.run_id,
        name=job.config.name or job.output.stem,
        arm=job.config.arm,
        phase="preview" if plan.preview else "official",
        state=state,
        reason=reason,
        shard=plan.shard,
        policy_sha256=plan.policy_sha256,
        started_at=journal.kept.started_at,
        ended_at=utc_now(),
        model=session.model,
        settings=settings,
        environment=environment.describe(job.command),
        epochs=session.epochs,
        parts=session.parts,
        facts=session.learnt.facts,
        capabilities=session.learnt.capabilities,
        weights=session.learnt.weights,
        dispatch=seen[0],
        judges=(judged.record,) if judged.record else (),
        files=(*stored, *logprobs, *seen[1]),
        results=tuple(results),
        tasks=tuple(p.record() for p in plan.tasks),
        responses=tuple(responses),
        scores=tuple(scores),
    )


def _operators(
    job: Job, session: Session, responses: Sequence[Response]
) -> tuple[Dispatch | None, Sequence[StoredFile]]:
    """What is known of FlagGems' operators, and the file that shows it."""
    answered = {r.epoch for r in responses if r.error is None and r.epoch is not None}
    kept = evidence.keep(job.output, answered)
    if kept is not None:
        return kept[0], (kept[1],)
    if job.config.flag_gems is not None:
        return evidence.lost(job.config.flag_gems), ()
    return session.dispatch, ()


def _score_task(
    planned: PlannedTask, responses: Mapping[PlaceOf, Response], grades: Grades
) -> list[Score]:
    name = planned.task.name
    own = {(r.sample_id, r.repeat): r for r in responses.values() if r.task == name}
    answers = Answers(planned.items.samples, own, planned.repeats)
    return score_all(answers, planned.scorer, grades=grades)


def _write_logprobs(
    job: Job, journal: Journal, responses: Sequence[Response]
) -> tuple[list[Response], list[StoredFile]]:
    """Copy the log-probabilities from the journal into a file of their own, and refer to its lines.

    They are read one answer at a time: a run's log-probabilities need not fit in memory.
    """
    path = job.output.with_name(f"{job.output.stem}.logprobs.jsonl.gz")
    lines: dict[Key, int] = {}
    if job.config.logprobs is None:
        return list(responses), []
    with (
        atomic_write(path) as out,
        gzip.GzipFile(fileobj=out, mode="wb", filename="", mtime=0) as packed,
    ):
        for number, (key, content) in enumerate(journal.logprobs()):
            lines[key] = number  # an answer asked again comes later, and counts
            line = {"task": key[0], "sample_id": key[1], "repeat": key[2], "tokens": content}
            packed.write(json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n")
    referred = [
        r.model_copy(update={"logprobs_line": lines[r.key]})
        if r.text is not None and r.key in lines
        else r
        for r in responses
    ]
    stored = StoredFile(kind="logprobs", path=path.name, sha256=sha256_hex(path.read_bytes()))
    return referred, [stored]

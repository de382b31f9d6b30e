"""The pipeline: Plan -> answers -> `Run`, resumable at every moment."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from . import catalog, facts, finish, judging, parts, platforms, serving, shards, store
from .asking import Interrupted as Interrupted
from .asking import ask_all, stoppable
from .clock import utc_now
from .config import RunConfig
from .errors import FileError, FinishedRun, FlagosEvalError, UsageError
from .incoming import Incoming
from .job import Job, Session
from .journal import Journal, Key, Learnt, open_journal
from .judging import NOT_JUDGED, Judged, JudgeSettings
from .operators import folder as operators
from .planned import Plan
from .platforms.base import Platform
from .progress import Note, Reporter
from .records import Response, Run
from .server import slug


def default_output(config: RunConfig, platform: str) -> Path:
    """``results/<endpoint or platform>.json``; of a shard, ``....shard-2-of-4.json``."""
    name = slug(config.base_url[0]) if config.base_url else platform
    name += shards.suffix(config.shard)
    return store.RESULTS / f"{name}.json"


def detect_platform() -> Platform:
    """The first platform that recognises this machine, the CPU last."""
    return platforms.detect()


def refuse_finished(output: Path) -> None:
    """Raise `FinishedRun` if `output` holds a finished run: nothing ever overwrites one."""
    if not output.is_file():
        return
    if store.load(output).state == "complete":
        raise FinishedRun(
            f"{output} is a finished run and stays as it is",
            hint=f"choose another file: -o {output.with_name(output.stem + '-2.json')}",
        )


def execute(job: Job, report: Reporter) -> Run:
    """Ask everything that has no answer yet, score all of it, and save the run.

    Raises:
        FinishedRun: the output is a finished run.
        SettingsChanged: earlier answers belong to other settings, or are about other items.
        DatasetError, NotComparable: a task cannot be asked; of a later one than the first it shows
            when it was loaded, and the journal holds what was answered until then.
        Interrupted: stopped by a signal; the journal holds what was answered.
        ServerDied: the server went away; likewise.
        ServerStartFailed: it never became ready.
        FileError: something cannot be written.
        ServerRefused, ServerUnreachable, JudgeChanged: the judge is of no use; before a model is
            asked where that shows in time, and else when the run is saved without its grades.
    """
    refuse_finished(job.output)
    check_server(job.config)
    told = facts.load_all(job.config.facts)
    judge = judge_of(job)
    if judge is not None and any(scorer.grading for scorer in job.plan.scorers):
        report(Note("judge", f"{judge.model} at {judge.url}, known questions first"))
        judging.check(judge, job.plan.scorers)
    _load_first(job, report)
    journal = open_journal(
        journal_path(job.output),
        job.plan.identity(),
        run_id=uuid.uuid4().hex,
        started_at=utc_now(),
        fresh=job.fresh,
    )
    with journal:
        if not journal.kept.epochs:
            operators.remove(operators.root(job.output))  # an earlier run's proves nothing here
        if journal.kept.torn:
            report(Note("journal", f"{journal.path}: cut off a torn last line"))
        answers = dict(journal.kept.responses)
        session = serving.with_facts(_ask(job, journal, answers, report), told, report)
        plan = job.plan.whole()
        assert plan is not None  # asking ends when everything is loaded
        answers_in_order = [answers[key] for key in plan.each_key() if key in answers]
        judged = _judge(plan, judge, answers, report) if judge else NOT_JUDGED
        run = finish.assemble(job, plan, session, journal, answers_in_order, report, judged)
        store.save(run, job.output)
        if run.state == "complete":
            journal.remove()
            _remove_records(job, report)
    if (stopped := judged.stopped) is not None:
        message = f"{stopped.message}; {job.output} is saved, to be judged with flagos-eval score"
        raise type(stopped)(message, hint=stopped.hint) from stopped
    return run


def _remove_records(job: Job, report: Reporter) -> None:
    """Of operators: all of it is in the run's own file by now."""
    try:
        operators.remove(operators.root(job.output))
    except FileError as error:
        report(Note("operators", f"{error.message}: it can be removed"))


def judge_of(job: Job) -> JudgeSettings | None:
    """The judge that the settings name.

    Raises:
        UsageError: they name half of one.
    """
    config = job.config
    return judging.settings(
        config.judge_base_url,
        config.judge_model,
        job.output.parent,
        cache=Path(config.judge_cache) if config.judge_cache else None,
        repeat=config.judge_repeat,
        concurrency=config.judge_concurrency,
        api_key=job.judge_key,
    )


def _judge(
    plan: Plan, settings: JudgeSettings, answers: Mapping[Key, Response], report: Reporter
) -> Judged:
    """Grades for the answers. What goes wrong is told when the run is saved, which it always is."""
    by_place = {response.key[:3]: response for response in answers.values()}
    needed = [
        (sample, by_place.get((planned.task.name, sample.id, repeat)), planned.scorer)
        for planned in plan.tasks
        for repeat in range(planned.repeats)
        for sample in planned.items.samples
    ]

    async def work() -> Judged:
        with stoppable(answers, lambda: plan.total):
            return await judging.judge(settings, needed, report)

    try:
        return asyncio.run(work())
    except FlagosEvalError as error:
        return Judged(stopped=error)


def check_server(config: RunConfig) -> None:
    """Raise unless the settings name one server, or one way to start one.

    Raises:
        UsageError: they name none, or both, or facts about a server that is started here.
    """
    if config.launcher and config.base_url:
        raise UsageError(
            "--launcher starts a server and --base-url names one that runs: give one of them"
        )
    if config.launcher and config.facts:
        raise UsageError(
            "--facts is about a server on another machine", hint="it goes with --base-url"
        )
    if not config.launcher and not config.base_url:
        raise serving.no_server()


def journal_path(output: Path) -> Path:
    """Where a run in progress keeps its answers: beside its output."""
    return output.with_name(f"{output.stem}.journal.jsonl")


def _load_first(job: Job, report: Reporter) -> None:
    """Wait for the first task: what is wrong with it is told before anything is written."""
    if name := job.plan.loading:
        report(Note("data", f"loading {name}"))
    job.plan.wait(0)
    job.plan.after(0)


def _ask(job: Job, journal: Journal, answers: dict[Key, Response], report: Reporter) -> Session:
    incoming = Incoming(job.plan, journal, answers, report)
    if not incoming.any_open():
        report(Note("server", "not needed: everything is answered"))
        kept = journal.kept
        model = kept.epochs[-1].model if kept.epochs else job.config.model or ""
        learnt = kept.learnt
        if learnt.weights is None:
            learnt = learnt.then(Learnt(weights=serving.weights_at_hand(job.config)))
        return Session(model, kept.epochs, parts.earlier(kept), learnt)
    launcher = catalog.load_module(
        "launchers", job.config.launcher or "external", "launcher"
    ).LAUNCHER
    tell = partial(_tell, report)
    request = serving.launch_request(job.config, job.output, tell)
    request, served = serving.with_weights(launcher, request)
    with launcher.start(request) as handle:
        try:
            return asyncio.run(ask_all(job, journal, answers, incoming, handle, served, report))
        finally:
            if handle.operators is not None:
                operators.served(handle.operators, (), handle.log)


def _tell(report: Reporter, text: str) -> None:
    report(Note("server", text))

"""The pipeline: Plan -> answers -> `Run`, resumable at every moment."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from . import catalog, facts, finish, judging, platforms, serving, store
from .client import Answer, Client, ClientSettings
from .clock import utc_now
from .config import RunConfig
from .endpoint import next_epoch
from .errors import FinishedRun, FlagosEvalError, IncompleteRun, ServerRefused, UsageError
from .job import Job, Session
from .journal import Journal, Key, open_journal
from .judging import NOT_JUDGED, Judged, JudgeSettings
from .launchers.base import ServerHandle
from .plan import Plan
from .platforms.base import Platform
from .probe import probe
from .progress import Answered, Note, Planned, Reporter
from .records import Capability, Epoch, Request, Response, Run
from .server import Server, slug


class Interrupted(Exception):
    """Ctrl-C or SIGTERM: everything answered is in the journal."""

    def __init__(self, kept: int, total: int) -> None:
        super().__init__(f"stopped; {kept} of {total} responses are kept")
        self.kept, self.total = kept, total


def default_output(config: RunConfig, platform: str) -> Path:
    """``results/<endpoint or platform>.json``."""
    name = slug(config.base_url[0]) if config.base_url else platform
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
        SettingsChanged: earlier answers belong to other settings.
        Interrupted: stopped by a signal; the journal holds what was answered.
        ServerDied: the server went away; likewise.
        ServerStartFailed: it never became ready.
        FileError: something cannot be written.
        ServerRefused, ServerUnreachable, JudgeChanged: the judge is of no use; before a model is
            asked where that shows in time, and else when the run is saved without its grades.
    """
    refuse_finished(job.output)
    _one_server(job.config)
    told = facts.load_all(job.config.facts)
    judge = judge_of(job)
    if judge is not None and any(planned.scorer.grading for planned in job.plan.tasks):
        report(Note("judge", f"{judge.model} at {judge.url}, known questions first"))
        judging.check(judge, (planned.scorer for planned in job.plan.tasks))
    journal = open_journal(
        journal_path(job.output),
        job.plan.identity(),
        run_id=uuid.uuid4().hex,
        started_at=utc_now(),
        fresh=job.fresh,
    )
    with journal:
        _tell_resume(job, journal, report)
        answers = dict(journal.kept.responses)
        session = serving.with_facts(_ask(job, journal, answers, report), told, report)
        answers_in_order = [answers[key] for key in job.plan.each_key() if key in answers]
        judged = _judge(job, judge, answers, report) if judge else NOT_JUDGED
        run = finish.assemble(job, session, journal, answers_in_order, report, judged)
        store.save(run, job.output)
        if run.state == "complete":
            journal.remove()
    if (stopped := judged.stopped) is not None:
        message = f"{stopped.message}; {job.output} is saved, to be judged with flagos-eval score"
        raise type(stopped)(message, hint=stopped.hint) from stopped
    return run


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
    job: Job, settings: JudgeSettings, answers: Mapping[Key, Response], report: Reporter
) -> Judged:
    """Grades for the answers. What goes wrong is told when the run is saved, which it always is."""
    by_place = {response.key[:3]: response for response in answers.values()}
    needed = [
        (sample, by_place.get((planned.task.name, sample.id, repeat)), planned.scorer)
        for planned in job.plan.tasks
        for repeat in range(planned.repeats)
        for sample in planned.items.samples
    ]

    async def work() -> Judged:
        with _stoppable(answers, job.plan.total):
            return await judging.judge(settings, needed, report)

    try:
        return asyncio.run(work())
    except FlagosEvalError as error:
        return Judged(stopped=error)


def _one_server(config: RunConfig) -> None:
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


def _tell_resume(job: Job, journal: Journal, report: Reporter) -> None:
    if journal.kept.torn:
        report(Note("journal", f"{journal.path}: cut off a torn last line"))
    kept = journal.kept.responses
    for planned in job.plan.tasks:
        done = sum(_is_answered(kept.get(key)) for key in planned.requests.each_key())
        report(Planned(planned.task.name, len(planned.requests), done))


def _is_answered(response: Response | None) -> bool:
    """Errors are asked again: a failed request is not an answer."""
    return response is not None and response.error is None


def _ask(job: Job, journal: Journal, answers: dict[Key, Response], report: Reporter) -> Session:
    still_open = [
        order for order, key in enumerate(job.plan.each_key()) if not _is_answered(answers.get(key))
    ]
    if not still_open:
        report(Note("server", "not needed: everything is answered"))
        epochs = journal.kept.epochs
        model = epochs[-1].model if epochs else job.config.model or ""
        return Session(model, epochs, (), (), serving.weights_at_hand(job.config))
    launcher = catalog.load_module(
        "launchers", job.config.launcher or "external", "launcher"
    ).LAUNCHER
    tell = partial(_tell, report)
    request = serving.launch_request(job.config, job.output, tell)
    request, served = serving.with_weights(launcher, request)
    with launcher.start(request) as handle:
        requests = job.plan.numbered(still_open)
        session = asyncio.run(_ask_all(job, journal, answers, requests, handle, report))
    return replace(session, weights=served)


def _tell(report: Reporter, text: str) -> None:
    report(Note("server", text))


async def _ask_all(
    job: Job,
    journal: Journal,
    answers: dict[Key, Response],
    requests: Iterable[tuple[int, Request]],
    handle: ServerHandle,
    report: Reporter,
) -> Session:
    servers = [Server(url, api_key=job.api_key) for url in handle.urls]
    model, epochs = _epochs(servers, handle, journal)
    settings = ClientSettings(
        concurrency=job.config.concurrency,
        timeout=job.config.timeout,
        max_retries=job.config.max_retries,
        logprobs=job.config.logprobs,
    )

    def keep(answer: Answer) -> None:
        response = _with_history(answer.response, answers.get(answer.response.key))
        journal.response(response, answer.logprobs)
        answers[response.key] = response
        report(
            Answered(
                response.task,
                error=response.error is not None,
                truncated=response.finish_reason == "length",
                completion_tokens=response.usage.completion_tokens if response.usage else 0,
            )
        )

    client = Client(
        servers,
        epochs,
        model,
        settings,
        read_image=job.plan.read_image,
        api_key=job.api_key,
        on_epoch=journal.epoch,
    )
    async with client:
        with _stoppable(answers, job.plan.total):
            capabilities = await probe(client)
            _must_see(job.plan, capabilities, handle)
            before = [fact for server in servers for fact in server.facts("before")]
            report(Note("server", _describe(client.epochs[-1], model)))
            await _watched(client.complete(requests, keep), handle)
        after = [fact for server in servers for fact in server.facts("after")]
    launched = handle.launcher != "external"
    platform_facts = serving.platform_of(job.config).facts() if launched else ()
    seen = (*handle.facts, *platform_facts, *before, *after)
    return Session(model, tuple(client.epochs), seen, capabilities)


def _describe(epoch: Epoch, model: str) -> str:
    version = f"version {epoch.version}" if epoch.version else "version unknown"
    return f"{epoch.endpoint} serves {model} ({version}), start {epoch.index + 1}"


def _epochs(
    servers: list[Server], handle: ServerHandle, journal: Journal
) -> tuple[str, list[Epoch]]:
    """The model's name and every start of a server, those of this run's earlier parts included."""
    epochs = list(journal.kept.epochs)
    wanted = handle.model or (epochs[-1].model if epochs else None)
    name = None
    for server in servers:
        identity = server.identity()
        model = identity.model(wanted, server.url)
        name = name or model.id
        # A launched server gets a new port each time; it is still the same server.
        same = [e for e in epochs if e.endpoint == server.url or handle.launcher != "external"]
        first = Epoch(
            index=len(epochs),
            endpoint=server.url,
            first_seen=utc_now(),
            model=model.id,
            version=identity.version,
            model_root=model.root,
            max_model_len=model.max_model_len,
            process_start=identity.process_start,
            launcher=handle.launcher,
            pid=handle.pid,
        )
        if same or epochs:
            last = (same or epochs)[-1].model_copy(update={"endpoint": server.url})
            launched = handle.launcher != "external"
            begun = next_epoch(last, identity, model.id, index=len(epochs), launched=launched)
            if begun is None and same:
                continue
            # Without `same`, this is another address of a start that is known already.
            first = (begun or last.model_copy(update={"index": len(epochs)})).model_copy(
                update={"pid": handle.pid}
            )
        epochs.append(first)
        journal.epoch(first)
    assert name is not None
    return name, epochs


def _must_see(plan: Plan, capabilities: tuple[Capability, ...], handle: ServerHandle) -> None:
    url = handle.urls[0]
    found = {capability.name: capability for capability in capabilities}
    image = found["image"]
    if plan.has_images and image.state in ("ignored", "rejected"):
        raise ServerRefused(f"the model at {url} takes no images ({image.detail})")
    limits = found["max_pixels"]
    # An old server that ignores limits in requests heeds those that it was started with.
    unheeded = ("rejected",) if handle.limits_images else ("ignored", "rejected")
    if plan.config.max_pixels is not None and limits.state in unheeded:
        raise ServerRefused(
            f"the server at {url} takes no max_pixels in a request ({limits.detail})",
            hint="start it with --trust-request-mm-kwargs, or limit images at its start, on both "
            "sides, and leave --max-pixels out",
        )


def _with_history(response: Response, earlier: Response | None) -> Response:
    """Attempts of an earlier start stay on record."""
    if earlier is None:
        return response
    return response.model_copy(update={"attempts": (*earlier.attempts, *response.attempts)})


async def _watched(work: Coroutine[None, None, None], handle: ServerHandle) -> None:
    """Run `work` until it ends or the server process does."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=1.0)
            if not task.done():
                handle.check()
        await task
    except BaseException as error:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if isinstance(error, IncompleteRun):
            handle.check()  # a server of ours that ended says why in its log
        raise


@contextmanager
def _stoppable(answers: Mapping[Key, Response], total: int) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into `Interrupted`; what is in flight is dropped."""
    loop, current = asyncio.get_running_loop(), asyncio.current_task()
    assert current is not None
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        current.cancel()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    except asyncio.CancelledError:
        if not stopped:
            raise
        kept = sum(_is_answered(response) for response in answers.values())
        raise Interrupted(kept, total) from None
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)

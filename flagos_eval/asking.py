"""One part of a run: ask one server, or several, what has no answer yet."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from . import serving
from .client import Answer, Client, ClientSettings
from .clock import utc_now
from .config import RunConfig
from .endpoint import next_epoch
from .errors import IncompleteRun, InvalidRun, ServerRefused
from .incoming import Incoming, is_answered
from .job import Job, Session
from .journal import Journal, Key, Learnt
from .launchers.base import ServerHandle
from .operators import evidence
from .operators import folder as operators
from .parts import Recorder
from .planned import PlannedTask
from .probe import probe
from .progress import Answered, Note, Reporter
from .records import Capability, Epoch, Response, Weights
from .server import Server


class Interrupted(Exception):
    """Ctrl-C or SIGTERM: everything answered is in the journal."""

    def __init__(self, kept: int, total: int | None) -> None:
        """`total` is None while tasks are loaded: nobody knows it then."""
        self.kept = f"{kept} responses" if total is None else f"{kept} of {total} responses"
        super().__init__(f"stopped; {self.kept} are kept")


async def ask_all(
    job: Job,
    journal: Journal,
    answers: dict[Key, Response],
    incoming: Incoming,
    handle: ServerHandle,
    weights: Weights | None,
    report: Reporter,
) -> Session:
    """Probe the servers and ask them; what is learnt goes to the journal as it is learnt.

    Raises:
        Interrupted, IncompleteRun: the journal holds what was answered, and the counters.
        FlagosEvalError: a task that was loaded meanwhile cannot be asked; likewise.
    """
    servers = [Server(url, api_key=job.api_key) for url in handle.urls]
    model, epochs = _epochs(servers, handle, journal)
    if handle.operators is not None:
        operators.served(handle.operators, [epochs[-1].index], handle.log)
        _must_use(handle.operators)
    settings = ClientSettings(
        concurrency=job.config.concurrency,
        timeout=job.config.timeout,
        max_retries=job.config.max_retries,
        logprobs=job.config.logprobs,
    )
    recorder = Recorder(journal, servers, tries=settings.max_retries + 1)

    def begin_epoch(epoch: Epoch) -> None:
        journal.epoch(epoch)
        recorder.started(epoch)

    client = Client(
        servers,
        epochs,
        model,
        settings,
        read_image=incoming.read_image,
        api_key=job.api_key,
        on_epoch=begin_epoch,
        tell=lambda text: report(Note("server", text)),
    )
    keep = _keeper(journal, recorder, answers, report)
    async with client:
        with stoppable(answers, lambda: incoming.total):
            capabilities = await probe(client)
            _must_heed(job.config, capabilities, handle)
            must_see = partial(_must_see, capabilities, handle)
            for planned in incoming.tasks:
                must_see(planned)
            journal.learnt(_learnt(job, handle, capabilities, weights))
            recorder.begin(client.epochs)
            report(Note("server", _describe(client.epochs[-1], model)))
            try:
                requests = recorder.sent(incoming.requests(must_see))
                await _watched(client.complete(requests, keep), handle)
            finally:
                recorder.end()
    learnt = journal.kept.learnt.then(_learnt(job, handle, capabilities, weights))
    return Session(model, tuple(client.epochs), recorder.parts, learnt)


def _keeper(
    journal: Journal, recorder: Recorder, answers: dict[Key, Response], report: Reporter
) -> Callable[[Answer], None]:
    """What becomes of each answer."""

    def keep(answer: Answer) -> None:
        recorder.answered(answer.response)
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

    return keep


def _learnt(
    job: Job, handle: ServerHandle, capabilities: tuple[Capability, ...], weights: Weights | None
) -> Learnt:
    launched = handle.launcher != "external"
    platform_facts = serving.platform_of(job.config).facts() if launched else ()
    return Learnt((*handle.facts, *platform_facts), capabilities, weights)


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


def _must_use(records: Path) -> None:
    """Raise `InvalidRun` for a server that does not use the operators that were asked for, as far
    as that shows before hours are spent on it; the rest shows in the end."""
    problems = evidence.at_start(records)
    if problems:
        raise InvalidRun(
            f"the server does not use the operators that were asked for: {'; '.join(problems)}",
            hint=f"what it wrote is in {records}, and in its log",
        )


def _must_see(
    capabilities: Sequence[Capability], handle: ServerHandle, planned: PlannedTask
) -> None:
    image = next(capability for capability in capabilities if capability.name == "image")
    if planned.has_images and image.state in ("ignored", "rejected"):
        url = handle.urls[0]
        raise ServerRefused(f"the model at {url} takes no images ({image.detail})")


def _must_heed(config: RunConfig, capabilities: Sequence[Capability], handle: ServerHandle) -> None:
    url = handle.urls[0]
    limits = next(capability for capability in capabilities if capability.name == "max_pixels")
    # An old server that ignores limits in requests heeds those that it was started with.
    unheeded = ("rejected",) if handle.limits_images else ("ignored", "rejected")
    if config.max_pixels is not None and limits.state in unheeded:
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
def stoppable(answers: Mapping[Key, Response], total: Callable[[], int | None]) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into `Interrupted`; what is in flight is dropped.

    Args:
        answers: What was answered so far.
        total: Requests of the run; None while that is not known.
    """
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
        kept = sum(is_answered(response) for response in answers.values())
        raise Interrupted(kept, total()) from None
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)

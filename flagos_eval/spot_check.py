"""A run and a server -> do a sample of its requests get the same answers again?

Exactly the same requests are asked: they are planned as ``run --config-from`` plans them, which
refuses anything else. Which ones follows from a hash, so that nobody picks them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import config, plan
from .client import Answer, Client, ClientSettings
from .clock import utc_now
from .errors import UsageError
from .incoming import at_hand
from .plan import Plan, PlannedTask
from .progress import Answered, Note, Planned, Reporter
from .records import Epoch, Request, Response, Run, Score, sha256_hex
from .scoring.response import score
from .server import Server
from .stats.proportion import wilson
from .task import Scorer
from .verification.scores import kept_grades

CONFIDENCE = 0.95
Place = tuple[str, str, int]
"""(task, sample, repeat)."""


@dataclass(frozen=True)
class Asking:
    """What is asked again, and whom."""

    base_url: Sequence[str]
    items: int = 50
    model: str | None = None
    """Its name at the server; None takes the only one, or the run's."""
    tasks: Sequence[str] = ()
    """Of the run's; none for all."""
    draw: int = 1
    """Another number draws other requests."""
    data_dir: str | None = None
    tasks_dir: str | None = None
    concurrency: int = 8
    timeout: float = 600.0
    """Seconds for one attempt."""
    max_retries: int = 5
    api_key: str | None = None


@dataclass(frozen=True)
class Item:
    """One request, then and now."""

    task: str
    sample_id: str
    repeat: int
    text_then: str
    text_now: str | None
    """None if the request failed."""
    error: str | None
    answer_then: str | None
    """As the installed scorer reads it out of the text, on both sides."""
    answer_now: str | None
    value_then: float | None
    value_now: float | None
    prompt_tokens_then: int | None
    prompt_tokens_now: int | None


@dataclass(frozen=True)
class Agreement:
    """How many of the items that can be compared are the same."""

    same: int
    n: int
    interval: tuple[float, float] | None
    """Of the share, 0..1: Wilson, 95 %; None for no items."""


@dataclass(frozen=True)
class SpotCheck:
    """What came back."""

    run: str
    answered: int
    """Requests of the run that have an answer: what was drawn from."""
    server_then: str
    server_now: str
    items: tuple[Item, ...]

    @property
    def failed(self) -> tuple[Item, ...]:
        """Without an answer now; they agree with nothing and differ from nothing."""
        return tuple(item for item in self.items if item.text_now is None)

    @property
    def compared(self) -> tuple[Item, ...]:
        """With an answer now."""
        return tuple(item for item in self.items if item.text_now is not None)

    @property
    def changed(self) -> tuple[Item, ...]:
        """Whose text differs, those whose value differs first."""
        found = [item for item in self.compared if item.text_now != item.text_then]
        return tuple(sorted(found, key=lambda item: item.value_now == item.value_then))

    @property
    def other_prompts(self) -> tuple[Item, ...]:
        """Whose prompt has another number of tokens there, so that another one was read."""
        return tuple(
            item
            for item in self.compared
            if None not in (item.prompt_tokens_then, item.prompt_tokens_now)
            and item.prompt_tokens_then != item.prompt_tokens_now
        )

    def agreement(self) -> dict[str, Agreement]:
        """Of texts, of the answers read out of them, of values and of prompt tokens."""
        counted = [
            i for i in self.compared if None not in (i.prompt_tokens_then, i.prompt_tokens_now)
        ]
        valued = [i for i in self.compared if None not in (i.value_then, i.value_now)]
        return {
            "prompt tokens": _agreement(
                i.prompt_tokens_then == i.prompt_tokens_now for i in counted
            ),
            "text": _agreement(i.text_then == i.text_now for i in self.compared),
            "answer": _agreement(i.answer_then == i.answer_now for i in self.compared),
            "value": _agreement(i.value_then == i.value_now for i in valued),
        }


def spot_check(run: Run, path: Path, asking: Asking, report: Reporter) -> SpotCheck:
    """Ask a sample of a run's answered requests again.

    Args:
        run: The run.
        path: Its file; a pack with images replaces the datasets.
        asking: How many, and whom.
        report: Told of the progress.

    Raises:
        UsageError: the run was made elsewhere, has no such task, or nothing was answered.
        DatasetError: the questions' data is missing.
        NotComparable: the questions at hand are not those of the run.
        ServerUnreachable, ServerRefused, ServerDied: of the server.
    """
    settings = config.from_run(run)
    population = _population(run, asking)
    drawn = draw(run, population, asking)
    planned = plan.make(
        _configured(run, settings, asking, {response.task for response in drawn}),
        like=run,
        like_path=path,
        tell=lambda text: report(Note("data", text)),
    )
    requests = {request.key: request for request in planned.requests()}
    chosen = [requests[(r.task, r.sample_id, r.repeat, _hash(r))] for r in drawn]
    now, server = asyncio.run(_ask(run, planned, chosen, asking, report))
    scored = {task.task.name: _Scored(run, task) for task in planned.tasks}
    return SpotCheck(
        run=run.name,
        answered=len(population),
        server_then=_server_then(run),
        server_now=server,
        items=tuple(scored[r.task].item(r, now[r.key[:3]]) for r in drawn),
    )


def _hash(response: Response) -> str:
    assert response.request_hash is not None
    return response.request_hash


def _population(run: Run, asking: Asking) -> list[Response]:
    """The answers that can be compared with: a failed request has none."""
    names = [record.name for record in run.tasks]
    for task in asking.tasks:
        if task not in names:
            raise UsageError(f"{run.name} has no task {task!r}; it has {', '.join(names)}")
    wanted = asking.tasks or names
    found = [r for r in run.responses if r.text is not None and r.task in wanted]
    if not found:
        raise UsageError(f"{run.name} has no answer to compare with")
    return found


def draw(run: Run, population: Sequence[Response], asking: Asking) -> list[Response]:
    """The answers that are first by a hash of the run, the draw and their place, in their order."""

    def rank(response: Response) -> str:
        place = (run.id, str(asking.draw), *map(str, response.key[:3]))
        return sha256_hex("\0".join(place).encode("utf-8", "surrogatepass"))

    ranked = sorted(population, key=rank)[: asking.items]
    return sorted(ranked, key=lambda response: response.order)


def _configured(
    run: Run, settings: Mapping[str, Any], asking: Asking, tasks: set[str]
) -> config.RunConfig:
    """The settings of the run for the tasks that are needed, with their data as it was then."""
    records = [record for record in run.tasks if record.name in tasks]
    revisions = [
        f"{record.name}={record.dataset.revision}"
        for record in records
        if record.dataset.origin == "hub" and record.dataset.revision is not None
    ]
    splits = [f"{record.name}={record.dataset.split}" for record in records]
    changes = {
        "tasks": [record.name for record in records],
        "split": splits,
        "revision": revisions,
        "base_url": list(asking.base_url),
        "data_dir": asking.data_dir,
        "tasks_dir": asking.tasks_dir,
    }
    return config.combine({"run": dict(settings), "flag": changes}).config


# --- Asking ---------------------------------------------------------------------------------------


async def _ask(
    run: Run, planned: Plan, requests: Sequence[Request], asking: Asking, report: Reporter
) -> tuple[dict[Place, Response], str]:
    """The new responses, and the server in words."""
    servers = [Server(url, api_key=asking.api_key) for url in asking.base_url]
    epochs = [_epoch(index, server, run, asking) for index, server in enumerate(servers)]
    client = Client(
        servers,
        epochs,
        epochs[0].model,
        ClientSettings(
            concurrency=asking.concurrency,
            timeout=asking.timeout,
            max_retries=asking.max_retries,
            # Not part of a request's identity, and yet the body is to be the same.
            logprobs=planned.config.logprobs,
        ),
        read_image=planned.read_image,
        api_key=asking.api_key,
    )
    for task in planned.tasks:
        total = sum(request.task == task.task.name for request in requests)
        report(Planned(task.task.name, total, 0))
    found: dict[Place, Response] = {}

    def keep(answer: Answer) -> None:
        response = answer.response
        found[response.key[:3]] = response
        tokens = response.usage.completion_tokens if response.usage else 0
        cut = response.finish_reason == "length"
        report(Answered(response.task, response.error is not None, cut, tokens))

    async with client:
        await client.complete(at_hand(requests), keep)
    return found, ", ".join(_in_words(epoch) for epoch in epochs)


def _epoch(index: int, server: Server, run: Run, asking: Asking) -> Epoch:
    identity = server.identity()
    names = {model.id for model in identity.models}
    wanted = asking.model or (run.model if run.model in names else None)
    model = identity.model(wanted, server.url)
    return Epoch(
        index=index,
        endpoint=server.url,
        first_seen=utc_now(),
        model=model.id,
        version=identity.version,
        model_root=model.root,
        max_model_len=model.max_model_len,
        process_start=identity.process_start,
        launcher="external",
    )


def _in_words(epoch: Epoch) -> str:
    return f"{epoch.model} at {epoch.endpoint}, version {epoch.version or 'unknown'}"


def _server_then(run: Run) -> str:
    return ", ".join(dict.fromkeys(_in_words(epoch) for epoch in run.epochs)) or "unknown"


# --- Comparing ------------------------------------------------------------------------------------


class _Scored:
    """A task's answers then and now by one rule: the run's scorer as it is installed."""

    def __init__(self, run: Run, planned: PlannedTask) -> None:
        task = planned.task
        name = run.result(task.name).scorer
        by_name = {scorer.name: scorer for scorer in task.scorers}
        self._scorer: Scorer = by_name.get(name, task.scorers[0])
        self._samples = {sample.id: sample for sample in planned.items.samples}
        rows = [s for s in run.scores if (s.task, s.scorer) == (task.name, self._scorer.name)]
        self._grades = kept_grades(self._scorer, rows)

    def item(self, then: Response, now: Response) -> Item:
        before, after = self._score(then), self._score(now)
        return Item(
            task=then.task,
            sample_id=then.sample_id,
            repeat=then.repeat,
            text_then=then.text or "",
            text_now=now.text,
            error=now.error.message if now.error else None,
            answer_then=before.answer,
            answer_now=after.answer,
            value_then=before.value,
            value_now=after.value,
            prompt_tokens_then=then.usage.prompt_tokens if then.usage else None,
            prompt_tokens_now=now.usage.prompt_tokens if now.usage else None,
        )

    def _score(self, response: Response) -> Score:
        sample = self._samples[response.sample_id]
        return score(sample, response, self._scorer, repeat=response.repeat, grades=self._grades)


def _agreement(same: Iterable[bool]) -> Agreement:
    found = list(same)
    if not found:
        return Agreement(0, 0, None)
    interval = wilson(sum(found), len(found), CONFIDENCE)
    return Agreement(sum(found), len(found), (interval.low, interval.high))

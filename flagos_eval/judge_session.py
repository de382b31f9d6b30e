"""One session with a judge: its connection, the known questions, and the asking.

See `flagos_eval.judging`, which is what others call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import openai

from .attempt import AttemptFailed, failure_of, retried
from .errors import FlagosEvalError, JudgeChanged, ServerDied, ServerRefused, ServerUnreachable
from .interruptible import Interruptible, together
from .judge_cache import JudgeCache
from .progress import Answered, Event, Planned
from .records import ErrorKind, Grade
from .reply import InvalidReply, Reply, parse_reply
from .task import Judgement
from .transport import Link

KEY = "FLAGOS_EVAL_JUDGE_API_KEY"
"""The only place that a judge's key is taken from."""
_HOPELESS = 10
"""Questions in a row that failed after all their retries, with no reply between them."""
_TRIES = 2
"""Retries of a known question: a wrong address is to be noticed at once."""
_SHOWN = 3

Report = Callable[[Event], object]


@dataclass(frozen=True)
class JudgeSettings:
    """Whom to ask, and how."""

    url: str
    model: str
    cache: Path
    repeat: int = 1
    """How often every question is put, to measure the judge against itself."""
    concurrency: int = 8
    timeout: float = 300.0
    """Seconds for one attempt."""
    max_retries: int = 5
    backoff: float = 0.5
    """Seconds before the first retry; doubles up to a minute."""
    api_key: str | None = None


@dataclass(frozen=True)
class Question:
    """What a judge is asked, and how its reply is read."""

    hash: str
    prompt: str
    max_tokens: int
    read: Callable[[str], Judgement | None]

    def value(self, grade: Grade) -> float | None:
        """What a reply is worth; None if it says nothing usable."""
        judgement = self.read(grade.text) if grade.text is not None else None
        return judgement.value if judgement else None


class JudgeSession:
    """Asks one judge. An async context manager."""

    def __init__(self, settings: JudgeSettings, cache: JudgeCache) -> None:
        self._settings, self._cache = settings, cache
        self._who = f"the judge {settings.model} at {settings.url}"
        self._link = Link(settings.url, settings.api_key, settings.timeout)
        self._said: dict[tuple[str, int], Grade] = {}
        self._failures = 0
        self.served: set[str] = set()
        """Model names that the server echoed."""
        self.stopped: FlagosEvalError | None = None
        """Why not everything was asked."""

    async def __aenter__(self) -> JudgeSession:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._link.close()

    def said(self, asked: Question) -> tuple[Grade, ...]:
        """The replies to a question, one for each time that it was put."""
        found = (self._said.get((asked.hash, repeat)) for repeat in range(self._settings.repeat))
        return tuple(grade for grade in found if grade is not None)

    # --- Known questions --------------------------------------------------------------------------

    async def anchors(self, known: Mapping[str, Question]) -> dict[str, str]:
        """Name -> grade of the known questions, asked now.

        Raises:
            ServerRefused: the judge takes no such request, or its reply says nothing usable.
            ServerUnreachable: it does not answer.
            JudgeChanged: it grades otherwise than the cache remembers.
        """
        answers = await together([self._anchor(asked) for asked in known.values()])
        replies = dict(zip(known, answers, strict=True))
        changed = []
        for name, asked in known.items():
            before = self._cache.anchor(self._settings.model, asked.hash)
            was, now = asked.value(before) if before else None, asked.value(replies[name])
            if was is not None and was != now:
                changed.append(f"{name} was {was:g}, is {now:g}")
        if changed:
            raise JudgeChanged(
                f"{self._who} grades known questions otherwise than before: "
                f"{'; '.join(changed[:_SHOWN])}",
                hint="its new grades must not be mixed with the old: begin anew, on both sides, "
                "with another --judge-cache",
            )
        for name, asked in known.items():
            if self._cache.anchor(self._settings.model, asked.hash) is None:
                self._cache.keep(self._settings.model, replies[name], anchor=name)
        return {name: f"{asked.value(replies[name]):g}" for name, asked in known.items()}

    async def _anchor(self, asked: Question) -> Grade:
        try:
            grade = await self._grade(asked, 0, _TRIES)
        except AttemptFailed as failed:
            if failed.error.kind is ErrorKind.REJECTED:
                raise ServerRefused(
                    f"{self._who} takes no such request: {failed.error.message}",
                    hint="a judge is asked with temperature 0 and max_tokens; choose a "
                    "--judge-model that takes them",
                ) from failed
            raise ServerUnreachable(
                f"{self._who} does not answer: {failed.error.message}"
            ) from failed
        if asked.value(grade) is None:
            raise ServerRefused(
                f"{self._who} does not grade: to a known question it replied {_short(grade.text)}",
                hint="choose another --judge-model; one that thinks first needs that switched off",
            )
        return grade

    # --- Questions --------------------------------------------------------------------------------

    async def ask(self, questions: Iterable[Question], report: Report) -> None:
        """Put what the cache does not know, a bounded number at a time.

        A failure is a `Grade` with an error; after too many of them nothing more is asked."""
        wanted = [(asked, n) for asked in questions for n in range(self._settings.repeat)]
        open_questions = [(asked, n) for asked, n in wanted if not self._recall(asked, n)]
        report(Planned("judge", len(wanted), len(wanted) - len(open_questions)))
        queue = iter(open_questions)

        async def work() -> None:
            for asked, repeat in queue:
                grade = await self._asked(asked, repeat)
                self._said[asked.hash, repeat] = grade
                report(Answered("judge", grade.error is not None, False, 0))

        await together([work() for _ in range(self._settings.concurrency)])

    def _recall(self, asked: Question, repeat: int) -> bool:
        """Take a reply out of the cache. One that says nothing usable is asked for again."""
        for grade in self._cache.replies(self._settings.model, asked.hash, repeat):
            if asked.value(grade) is not None:
                self._note(grade)
                self._said[asked.hash, repeat] = grade
                return True
        return False

    async def _asked(self, asked: Question, repeat: int) -> Grade:
        if self.stopped is not None:
            error = f"not asked: {self.stopped.message}"
        else:
            try:
                grade = await self._grade(asked, repeat, self._settings.max_retries)
            except AttemptFailed as failed:
                error = f"{failed.error.kind.value}: {failed.error.message}"
                self._count(failed)
            except ServerRefused as refused:
                error = refused.message
                self.stopped = self.stopped or refused
            else:
                self._failures = 0
                self._cache.keep(self._settings.model, grade)
                return grade
        return Grade(question=asked.hash, repeat=repeat, error=error)

    def _count(self, failed: AttemptFailed) -> None:
        if failed.error.kind is ErrorKind.REJECTED:
            return  # this question only: the known ones were taken
        self._failures += 1
        if self._failures >= _HOPELESS and self.stopped is None:
            self.stopped = ServerDied(
                f"{self._who} stopped answering ({failed.error.message})",
                hint="its grades so far are kept: flagos-eval score RUN asks for the others",
            )

    async def _grade(self, asked: Question, repeat: int, max_retries: int) -> Grade:
        """One reply, with its retries; raises `AttemptFailed`, or `ServerRefused` for good."""

        async def once() -> Reply:
            try:
                return await self._post(asked)
            except (openai.OpenAIError, InvalidReply, asyncio.TimeoutError) as raised:
                raise self._failure(raised) from raised

        reply = await retried(once, max_retries, self._settings.backoff)
        grade = Grade(question=asked.hash, repeat=repeat, text=reply.text, model=reply.model)
        self._note(grade)
        return grade

    def _failure(self, raised: BaseException) -> AttemptFailed:
        try:
            return failure_of(raised, self._settings.timeout, KEY)
        except ServerRefused as refused:
            raise ServerRefused(f"{self._who}: {refused.message}", hint=refused.hint) from raised

    async def _post(self, asked: Question) -> Reply:
        # All that the OpenAI API has, so that no server's default decides, and nothing more: other
        # servers' parameters would be refused there.
        body = {
            "model": self._settings.model,
            "messages": [{"role": "user", "content": _sendable(asked.prompt)}],
            "max_tokens": asked.max_tokens,
            "temperature": 0.0,
            "top_p": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "n": 1,
            "seed": 42,
            "stream": False,
        }
        posted = self._link.post(json.dumps(body).encode("ascii"))
        return parse_reply(await Interruptible().run(posted, self._settings.timeout))

    def _note(self, grade: Grade) -> None:
        if grade.model:
            self.served.add(grade.model)


def _sendable(text: str) -> str:
    """The text without lone surrogates, which UTF-8 cannot hold and a model may well write."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _short(text: str | None) -> str:
    shown = repr((text or "")[:80])
    return shown if len(text or "") <= 80 else f"{shown}…"

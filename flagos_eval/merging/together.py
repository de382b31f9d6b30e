"""What several shards say of their servers, as one run says it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from ..errors import NotComparable
from ..operators import evidence
from ..records import Capability, Dispatch, Epoch, Fact, JudgeRecord, Run, Setting, Weights

_STATES = ("rejected", "ignored", "not_verified", "supported")
"""Of a capability, the worst first."""
_ENVIRONMENT = ("package_version", "commit", "python", "platform")


def epochs(runs: Sequence[Run]) -> tuple[tuple[Epoch, ...], list[dict[int, int]]]:
    """(every start of a server, for each shard its numbers -> those of the whole).

    A start that several shards met is one start, if it says when it was."""
    found: list[Epoch] = []
    numbers: list[dict[int, int]] = []
    known: dict[Epoch, int] = {}
    for run in runs:
        own: dict[int, int] = {}
        for epoch in run.epochs:
            key = epoch.model_copy(update={"index": 0, "first_seen": "", "pid": None})
            place = known.get(key) if epoch.process_start is not None else None
            if place is None:
                place = known[key] = len(found)
                found.append(epoch.model_copy(update={"index": place}))
            elif epoch.first_seen < found[place].first_seen:
                found[place] = found[place].model_copy(update={"first_seen": epoch.first_seen})
            own[epoch.index] = place
        numbers.append(own)
    return tuple(found), numbers


def facts(runs: Sequence[Run]) -> tuple[Fact, ...]:
    """What all shards know, once; what they know differently, with the shard's number."""
    texts = [[fact.model_dump_json() for fact in run.facts] for run in runs]
    common = set(texts[0]).intersection(*texts[1:])
    found: dict[str, Fact] = {}
    for index, (run, own) in enumerate(zip(runs, texts, strict=True), 1):
        for fact, text in zip(run.facts, own, strict=True):
            if text in common:
                found.setdefault(text, fact)
            else:
                found[f"{index} {text}"] = _of_shard(fact, index)
    return (*found.values(), *_differences(runs))


def _of_shard(fact: Fact, index: int) -> Fact:
    return fact.model_copy(update={"name": f"{fact.name} (shard {index})"})


def _differences(runs: Sequence[Run]) -> Iterator[Fact]:
    """Settings, programs and data that may differ between shards, and do."""
    described = [dict(_described(run)) for run in runs]
    for name in dict.fromkeys(name for one in described for name in one):
        values = [one.get(name) for one in described]
        if all(value == values[0] for value in values):
            continue
        for index, value in enumerate(values, 1):
            fact = Fact(name=name, value=value, source="client", verified=True)
            yield _of_shard(fact, index)


def _described(run: Run) -> Iterator[tuple[str, JsonValue]]:
    for name in _ENVIRONMENT:
        yield f"client:{name}", getattr(run.environment, name)
    for name, setting in run.settings.items():
        if name not in ("shard", "name"):
            yield f"setting:{name}", setting.value


def settings(runs: Sequence[Run], name: str | None) -> dict[str, Setting]:
    """The first shard's, but for what only the whole can say: facts name what differs."""
    found = dict(runs[0].settings)
    found["shard"] = Setting(value=None, source="default")
    if "name" in found:
        found["name"] = Setting(value=name, source="flag" if name else "default")
    allowed = [run.settings["max_error_rate"] for run in runs if "max_error_rate" in run.settings]
    if allowed:  # the strictest
        found["max_error_rate"] = min(allowed, key=lambda setting: float(str(setting.value)))
    for several in ("base_url", "facts"):
        lists = [run.settings[several] for run in runs if several in run.settings]
        values = [v for held in lists if isinstance(held.value, list) for v in held.value]
        if lists:
            united: list[JsonValue] = list(dict.fromkeys(map(str, values)))
            found[several] = lists[0].model_copy(update={"value": united})
    return found


def capabilities(runs: Sequence[Run]) -> tuple[Capability, ...]:
    """The worst that any shard saw: an answer of the whole may have come from there."""
    by_run = [{held.name: held for held in run.capabilities} for run in runs]
    found = []
    for name in dict.fromkeys(name for held in by_run for name in held):
        unknown = Capability(name=name, state="not_verified", detail="not asked for")
        held = [own.get(name, unknown) for own in by_run]
        worst = min(held, key=lambda one: _STATES.index(one.state))
        if any(one.state != worst.state for one in held):
            said = (f"shard {i}: {one.state}, {one.detail}" for i, one in enumerate(held, 1))
            worst = worst.model_copy(update={"detail": "; ".join(said)})
        found.append(worst)
    return tuple(found)


def weights(runs: Sequence[Run]) -> Weights | None:
    """The weights, if every shard knows them: they are the same wherever they are known."""
    return runs[0].weights if all(run.weights is not None for run in runs) else None


def dispatch(runs: Sequence[Run]) -> Dispatch | None:
    """The operators of all servers."""
    return evidence.together([run.dispatch for run in runs if run.dispatch is not None])


def judges(runs: Sequence[Run]) -> tuple[JudgeRecord, ...]:
    """Each judge once.

    Raises:
        NotComparable: a judge graded a known question otherwise in another shard: it is another.
    """
    found: dict[str, JudgeRecord] = {}
    for run in runs:
        for judge in run.judges:
            before = found.get(judge.model)
            found[judge.model] = _both(before, judge) if before else judge
    return tuple(found.values())


def _both(one: JudgeRecord, other: JudgeRecord) -> JudgeRecord:
    for question in one.anchors.keys() & other.anchors.keys():
        if one.anchors[question] != other.anchors[question]:
            raise NotComparable(
                f"the judge {one.model} graded a known question {one.anchors[question]} in a shard "
                f"and {other.anchors[question]} in another",
                hint="merge shards without grades, and grade the run: flagos-eval score",
            )
    counts = ("graded", "failed", "compared", "disagreed")
    endpoints = dict.fromkeys((*one.endpoint.split(", "), other.endpoint))
    return one.model_copy(
        update={
            "endpoint": ", ".join(endpoints),
            "served": tuple(dict.fromkeys((*one.served, *other.served))),
            "anchors": {**one.anchors, **other.anchors},
            **{name: getattr(one, name) + getattr(other, name) for name in counts},
        }
    )

"""Did the server count what this run was answered? Pure.

vLLM counts requests, prompt tokens and generated tokens. Over a part of a run they must grow by
what our answers were billed, and by no more than that and what the tries that were given up may
have cost. More is foreign traffic: it changes which requests are computed together, and so
rounding, and is told. Less means that something else than this server answered, a cache or a proxy:
such answers say nothing about the chip, and no verdict is given on them. What nobody counted is not
verified, and forbids nothing: not every engine has these counters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .counting import NAMES, WORDS, allowance, total, windows
from .records import Check, Counts, Run


@dataclass(frozen=True)
class Tally:
    """What became of a run's counts."""

    state: Literal["equal", "more", "less", "not_verified"]
    ours: Counts
    detail: str
    """A sentence."""

    @property
    def shown(self) -> str:
        """Our own counts."""
        said = ("unknown" if (n := getattr(self.ours, name)) is None else str(n) for name in NAMES)
        return "{} requests, {} prompt and {} completion tokens".format(*said)


def tally(run: Run) -> Tally | None:
    """Compare a run's counts with its servers'; None if it kept none of theirs."""
    if not run.parts:
        return None
    seen = windows(run)
    ours = Counts(**total(window.ours for window in seen))
    less = {name: sum(w.missing(name) for w in seen) for name in NAMES}
    if any(less.values()):
        said = f"the server counted {_list(less)} fewer than the answers were billed: something "
        said += "else answered (a cache, a proxy), or it was restarted unseen"
        return Tally("less", ours, said)
    allowed = allowance(run, seen)
    more = {name: sum(w.surplus(name) for w in seen) for name in NAMES}
    limits = {name: limit for name, limit in allowed.items() if limit is not None}
    beyond = {name: max(0, more[name] - limit) for name, limit in limits.items()}
    if any(beyond.values()):
        said = f"the server counted {_list(beyond)} more than this run can have sent: "
        return Tally("more", ours, said + "somebody else used it")
    found = [doubt for window in seen for doubt in window.doubts]
    if any(more[name] for name in NAMES if name not in limits):
        found.append(f"{_list(more)} more than were answered, of requests whose end is not known")
    if found:
        return Tally("not_verified", ours, "; ".join(dict.fromkeys(found)))
    said = "the server counted as many"
    if any(more.values()):
        said += f", and {_list(more)} of tries that were given up"
    return Tally("equal", ours, said)


def checks(baseline: Run, candidate: Run) -> Iterator[Check]:
    """One for both sides, where a side kept the counters. It forbids no comparison: which questions
    were asked is not in doubt."""
    found = [(run, tally(run)) for run in (baseline, candidate)]
    if not any(one for _, one in found):
        return
    states = {one.state if one else "not_verified" for _, one in found}
    differs = bool(states & {"more", "less"})
    said = [
        f"{run.name}: {one.detail if one else 'the run kept no counters'}"
        for run, one in found
        if one is None or one.state != "equal"
    ]
    yield Check(
        name="server counters",
        state="differs" if differs else "not_verified" if "not_verified" in states else "equal",
        baseline=found[0][1].shown if found[0][1] else None,
        candidate=found[1][1].shown if found[1][1] else None,
        blocking=False,
        detail="; ".join(said) or None,
    )


def doubts(*runs: Run) -> tuple[str, ...]:
    """Why no verdict can rest on these runs."""
    found = [(run, tally(run)) for run in runs]
    return tuple(f"{run.name}: {one.detail}" for run, one in found if one and one.state == "less")


def notes(*runs: Run) -> Iterator[str]:
    """What a server did that changes numbers."""
    for run in runs:
        grown = [window.grown for window in windows(run) if window.grown]
        if preempted := sum(reading.preemptions or 0 for reading in grown):
            yield (
                f"{run.name}: {preempted} preemptions: what was computed again for them may be "
                "rounded otherwise"
            )
        setting = run.settings.get("prefix_caching")
        if setting is not None and setting.value is True:
            continue
        hits = sum(reading.prefix_hits or 0 for reading in grown)
        if hits or any((reading.prefix_hit_rate or 0) > 0 for reading in grown):
            launched = all(epoch.launcher != "external" for epoch in run.epochs)
            yield (
                f"{run.name}: {f'{hits} ' if hits else ''}prompt tokens came from the prefix cache"
                + (", although caching was off" if launched else ", which may be rounded otherwise")
            )


def _list(counts: dict[str, int]) -> str:
    """As ``3 requests and 40 prompt tokens``."""
    said = [f"{count} {WORDS[name]}" for name, count in counts.items() if count]
    said = [text[:-1] if text.startswith("1 ") else text for text in said]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)

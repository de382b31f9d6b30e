"""The counters of a run: that its own counts are those of its answers, and what follows."""

from __future__ import annotations

from ..counting import billed, known, total
from ..records import Run
from ..tally import tally
from .ledger import Ledger


def check_counters(ledger: Ledger, run: Run) -> None:
    """Count the answers again, by start of the server, and compare with the servers' counters."""
    found = tally(run)
    if found is None:
        return
    answered = [r for r in run.responses if r.error is None and r.epoch is not None]
    for epoch in run.epochs:
        stored = total(
            known(counters.answered)
            for part in run.parts
            for counters in part.counters
            if counters.epoch == epoch.index
        )
        again = total(billed(response) for response in answered if response.epoch == epoch.index)
        ledger.same(f"parts: answers of start {epoch.index + 1}", stored, again)
    if found.state == "less":
        ledger.wrong("server counters", found.shown, found.detail)
    elif found.state == "equal":
        ledger.checked.append(f"the server's counters ({found.shown})")
    else:
        ledger.unchecked.append(f"the server's counters ({found.detail})")

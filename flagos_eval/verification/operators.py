"""The operators that a run says its server dispatched, judged again by what the server wrote."""

from __future__ import annotations

from pathlib import Path

from .. import samples
from ..errors import CorruptFile
from ..operators import evidence
from ..records import Run
from .ledger import Ledger


def check(ledger: Ledger, run: Run, path: Path, whole: set[str]) -> None:
    """Compare `Run.dispatch` with what follows from the files beside it."""
    held = [file for file in run.files if file.kind == "operators"]
    if run.dispatch is None:
        asked = run.settings.get("flag_gems")
        if held or (asked is not None and asked.value is not None):
            ledger.wrong("dispatch", "(nothing)", "operators were asked for")
        return
    if not held:
        _without_files(ledger, run)
    if not held or any(file.path not in whole for file in held):
        return  # that one is missing or changed is said already
    # A merged run has the files of its shards, whose starts had other numbers.
    answered = () if run.parents else {r.epoch for r in run.responses if r.error is None}
    known = {epoch for epoch in answered if epoch is not None}
    try:
        found = evidence.together(
            [evidence.read(samples.read_stored(path, file), file.path, known) for file in held]
        )
    except CorruptFile as error:
        ledger.wrong("operators", held[0].path, error.message)
        return
    assert found is not None
    ledger.same("dispatch", run.dispatch.model_dump(mode="json"), found.model_dump(mode="json"))
    ledger.checked.append("operators")


def _without_files(ledger: Ledger, run: Run) -> None:
    asked = run.settings.get("flag_gems")
    if asked is None or not isinstance(asked.value, str):
        ledger.unchecked.append("operators: another machine stated them")
    elif run.dispatch != evidence.lost(asked.value):
        ledger.wrong("dispatch", "what the server wrote", "no file of it belongs to the run")

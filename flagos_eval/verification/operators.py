"""The operators that a run says its server dispatched, judged again by what the server wrote."""

from __future__ import annotations

from pathlib import Path

from .. import samples
from ..errors import CorruptFile
from ..operators import evidence
from ..records import Run
from .ledger import Ledger


def check(ledger: Ledger, run: Run, path: Path, whole: set[str]) -> None:
    """Compare `Run.dispatch` with what follows from the file beside it."""
    if run.dispatch is None:
        return
    held = [file for file in run.files if file.kind == "operators"]
    if not held:
        ledger.unchecked.append("operators: another machine stated them")
    for file in held:
        if file.path not in whole:
            continue  # that it is missing or changed is said already
        try:
            found = evidence.read(samples.read_stored(path, file), file.path)
        except CorruptFile as error:
            ledger.wrong("operators", file.path, error.message)
        else:
            ledger.same(
                "dispatch", run.dispatch.model_dump(mode="json"), found.model_dump(mode="json")
            )
            ledger.checked.append("operators")

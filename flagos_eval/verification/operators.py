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
    if not held or any(file.path not in whole for file in held):
        return  # that one is missing or changed is said already
    try:  # a merged run has the files of its shards
        found = evidence.together(
            [evidence.read(samples.read_stored(path, file), file.path) for file in held]
        )
    except CorruptFile as error:
        ledger.wrong("operators", held[0].path, error.message)
        return
    assert found is not None
    ledger.same("dispatch", run.dispatch.model_dump(mode="json"), found.model_dump(mode="json"))
    ledger.checked.append("operators")

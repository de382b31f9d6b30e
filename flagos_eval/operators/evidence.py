"""What the servers of a run wrote down -> `Dispatch`: which operators ran, and whether that is what
was asked for. Pure, but for the file."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import CorruptFile
from ..records import Dispatch, Operator, StoredFile, sha256_hex
from ..store import atomic_write
from . import folder

Line = dict[str, Any]
_SHOWN = 8


def keep(output: Path, answered: Collection[int] = ()) -> tuple[Dispatch, StoredFile] | None:
    """Judge what the servers of a run wrote, and write it all into one file beside the run.

    Args:
        output: The run file.
        answered: Starts of a server (epochs) that answered.

    Returns:
        None if nothing was written.

    Raises:
        CorruptFile, FileError: it cannot be read or written.
    """
    found = list(folder.lines(folder.root(output)))
    if not found:
        return None
    path = output.with_name(f"{output.stem}.operators.jsonl")
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in found)
    with atomic_write(path) as out:
        out.write(text.encode("ascii"))
    stored = StoredFile(kind="operators", path=path.name, sha256=sha256_hex(text.encode("ascii")))
    with _as_written(str(path)):
        return judge(found, answered), stored


def lost(requested: str) -> Dispatch:
    """Of a run whose servers were asked for operators and of which no record is left."""
    return Dispatch(
        requested=requested, how="vllm", workers=0, problems=("no record of operators is left",)
    )


def at_start(place: Path) -> tuple[str, ...]:
    """What contradicts the request already when a server is ready, before anything is asked.

    Raises:
        CorruptFile: its records are not as they were written.
    """
    start, *lines = folder.start_lines(place, 1)
    with _as_written(str(place)):
        return tuple(_early(start, lines))


def of_folder(place: Path) -> Dispatch:
    """The same of one server's folder, which somebody else started with the plug-in.

    Raises:
        CorruptFile: it is no such folder.
    """
    if not folder.request_file(place).is_file():
        raise CorruptFile(f"{place} has no request.json: no server writes its operators there")
    lines = list(folder.start_lines(place, 1))
    with _as_written(str(place)):
        return judge(lines)


def read(data: bytes, name: str, answered: Collection[int] = ()) -> Dispatch:
    """The same from the file that `keep` wrote.

    Raises:
        CorruptFile: it is not what was written.
    """
    with _as_written(name):
        return judge([json.loads(line) for line in data.decode("ascii").splitlines()], answered)


@contextmanager
def _as_written(name: str) -> Iterator[None]:
    """What a record of another shape leads to is said of its file."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise CorruptFile(f"{name} holds no records of operators: {str(error)[:300]}") from error


def together(dispatches: Sequence[Dispatch]) -> Dispatch | None:
    """The operators of several servers that were asked for the same."""
    if not dispatches:
        return None
    counted: dict[tuple[str, str, bool], int] = {}
    for operator in (operator for one in dispatches for operator in one.operators):
        key = (operator.module, operator.name, operator.direct)
        counted[key] = counted.get(key, 0) + operator.count
    ran = {name for _, name, _ in counted}
    idle = sorted({name for one in dispatches for name in one.idle} - ran)
    return dispatches[0].model_copy(
        update={
            "workers": sum(one.workers for one in dispatches),
            "operators": _listed(counted),
            "idle": tuple(idle),
            "problems": tuple(dict.fromkeys(p for one in dispatches for p in one.problems)),
        }
    )


def judge(lines: Sequence[Line], answered: Collection[int] = ()) -> Dispatch:
    """Which operators ran in the starts that answered, and what contradicts the request.

    Args:
        lines: What all starts wrote.
        answered: Starts of a server (epochs) that answered: each must have its records.
    """
    starts = [line for line in lines if line["event"] == "start"]
    # A start that was looked at and never answered decides nothing.
    wanted = set(answered) or {epoch for line in starts for epoch in line.get("epochs", ())}
    answering = [line for line in starts if wanted & set(line.get("epochs", ()))] or starts[-1:]
    of = {line["start"] for line in answering}
    within = [line for line in lines if line["start"] in of]
    request = answering[-1]["request"]
    switched = [line for line in within if line["event"] == "switched"]
    problems: list[str] = []
    for start in answering:
        own = [line for line in within if line["start"] == start["start"]]
        problems += [p for p in _problems(start, own) if p not in problems]
    covered = {epoch for start in answering for epoch in start.get("epochs", ())}
    problems += [
        f"no record of the operators of start {epoch + 1}, which answered"
        for epoch in sorted(set(answered) - covered)
    ]
    return Dispatch(
        requested=request["selection"],
        how=request["how"],
        version=next((s["version"] for s in switched), request["version"]),
        vendor=next((s["vendor"] for s in switched), None),
        workers=sum(line["event"] == "worker" for line in within),
        operators=_operators(within),
        idle=_idle(request, within),
        problems=tuple(problems),
    )


def _operators(lines: Iterable[Line]) -> tuple[Operator, ...]:
    counted: dict[tuple[str, str, bool], int] = {}
    for line in lines:
        if line["event"] in ("operator", "count"):
            key = (line["module"], line["name"], line["direct"])
            counted[key] = counted.get(key, 0) + line.get("count", 0)
    return _listed(counted)


def _listed(counted: Mapping[tuple[str, str, bool], int]) -> tuple[Operator, ...]:
    found = [
        Operator(module=module, name=name, direct=direct, count=count)
        for (module, name, direct), count in counted.items()
    ]
    return tuple(sorted(found, key=lambda op: (-op.count, op.name, op.module, op.direct)))


def _idle(request: Line, lines: Iterable[Line]) -> tuple[str, ...]:
    """What was asked for by name and never ran."""
    if not str(request["selection"]).startswith("only:"):
        return ()
    ran = {line["name"] for line in lines if line["event"] == "operator"}
    return tuple(sorted(set(request["allowed"]) - ran))


def _problems(start: Line, lines: Sequence[Line]) -> list[str]:
    """Why the request was not met by one start."""
    request = start["request"]
    selection = str(request["selection"])
    found = _early(start, lines)
    if selection in ("off", "watched") or not any(line["event"] == "worker" for line in lines):
        return found
    ran = _ran(lines)
    if not ran:
        return [*found, f"FlagGems was asked for ({selection}), and dispatched nothing"]
    workers = {line["process"] for line in lines if line["event"] == "worker"}
    silent = workers - {line["process"] for line in ran}
    # Single operators may be called in one stage of a pipeline alone.
    if silent and not selection.startswith("only:"):
        found.append(f"{len(silent)} of {len(workers)} workers dispatched nothing of FlagGems")
    return [*found, *_unasked(request, ran)]


def _early(start: Line, lines: Sequence[Line]) -> list[str]:
    """What shows as soon as a server is ready."""
    request = start["request"]
    if request["selection"] == "watched":
        return []  # nothing was asked for, and what ran is only told
    off = request["selection"] == "off"
    found = [
        f"the record {line['file']} is damaged" for line in lines if line["event"] == "damaged"
    ]
    if not off:
        said = start.get("fallbacks", ())
        found += [f"the server went on without an operator: {line}" for line in said]
    workers = {line["process"] for line in lines if line["event"] == "worker"}
    if not workers:
        return [
            *found,
            "no worker of the server wrote down its operators: the plug-in or its variable did not "
            "reach it",
        ]
    if len(workers) < request["workers"]:
        found.append(
            f"only {len(workers)} of {request['workers']} workers wrote down their operators"
        )
    if off:
        names = sorted({line["name"] for line in _ran(lines)} & _judged(request, lines))
        return [*found, *([f"FlagGems was off, and dispatched {_some(names)}"] if names else [])]
    return [*found, *_unregistered(request, lines)]


def _ran(lines: Iterable[Line]) -> list[Line]:
    """The events that say that an operator ran."""
    return [
        line
        for line in lines
        if line["event"] == "operator" or (line["event"] == "count" and line["count"] > 0)
    ]


def _judged(request: Line, lines: Iterable[Line]) -> set[str]:
    """What may not run when FlagGems is off. vllm-plugin-FL's own attention stays, and may call its
    functions."""
    functions = set(request["functions"])
    if request["how"] == "plugin" and functions:
        return functions
    return {line["name"] for line in _ran(lines)}


def _unasked(request: Line, ran: Iterable[Line]) -> list[str]:
    """Operators that the engine called and that were to be torch's own.

    What one of FlagGems' operators calls of another is its own business, and a function that is
    none of its registered ones cannot be switched."""
    if request["allowed"] is None:
        return []
    switchable = set(request["functions"]) - set(request["allowed"])
    names = sorted({line["name"] for line in ran if line["direct"]} & switchable)
    return [f"dispatched though not asked for: {_some(names)}"] if names else []


def _unregistered(request: Line, lines: Iterable[Line]) -> list[str]:
    """FlagGems does not raise where it cannot register an operator."""
    if request["enable"] != "only":
        return []
    missing: set[str] = set()
    for line in lines:
        if line["event"] == "switched" and line["registered"] is not None:
            missing |= set(request["names"]) - set(line["registered"])
    return (
        [f"asked for and not registered by FlagGems: {_some(sorted(missing))}"] if missing else []
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

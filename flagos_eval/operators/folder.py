"""The folder in which one start of a server writes down its operators: made before, read after.

``RUN.operators/N`` has ``request.json`` (what was asked for), the plug-in, ``served.json`` (which
starts answered, and what the server's log says) and two files a process, see `_hook`."""

from __future__ import annotations

import json
import re
import shutil
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import CorruptFile, FileError
from . import _hook
from .installed import Installed
from .selection import Selection
from .switch import Switch

PLUGIN = "plugin"
"""The folder that a server's PYTHONPATH names."""
_MODULE = "flagos_eval_operators"
ENTRY_POINT = "flagos_eval"
"""Name of the plug-in in ``VLLM_PLUGINS``."""
Key = tuple[str, str, bool]
"""Of an operator: logger, function, whether the engine called it."""
_FALLBACKS = (
    r"Failed to (?:enable|import) '?flag_gems.*",
    r"Op '[^'\n]{0,200}' fallback to .*",
    r"Implementation '[^'\n]{0,200}' failed.*",
)
"""What FlagScale's vLLM and vllm-plugin-FL write when they go on without an operator."""
_WATCHED: dict[str, Any] = {
    "selection": "watched",
    "how": "vllm",
    "enable": None,
    "names": [],
    "allowed": None,
    "workers": 1,
    "version": None,
    "functions": [],
}
_READ = 64 * 2**20
_SHOWN = 5


def root(output: Path) -> Path:
    """Where the starts of a run's servers have their folders."""
    return output.with_name(f"{output.stem}.operators")


def make(
    parent: Path, selection: Selection, switch: Switch, installed: Installed, *, workers: int = 1
) -> Path:
    """A new start's folder, with the request and the plug-in in it.

    Args:
        parent: Where the run's starts have theirs.
        selection: What was asked for.
        switch: How the server is told.
        installed: What it has.
        workers: Processes that compute, each of which has to write down its operators.

    Raises:
        FileError: it cannot be written.
    """
    try:
        folder = _next(parent.absolute())
        write_plugin(folder / PLUGIN)
        request = {
            "selection": str(selection),
            "how": switch.how,
            "enable": switch.enable,
            "names": list(switch.names),
            "allowed": None if switch.allowed is None else list(switch.allowed),
            "workers": workers,
            "version": installed.version,
            "functions": sorted(installed.functions),
        }
        _write(folder / "request.json", request)
    except OSError as error:
        raise FileError(f"cannot write {parent}: {error.strerror}") from error
    return folder


def remove(parent: Path) -> None:
    """Remove what all starts wrote.

    Raises:
        FileError: it cannot be removed.
    """
    try:
        shutil.rmtree(parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise FileError(f"cannot remove {parent}: {error.strerror}") from error


def _next(parent: Path) -> Path:
    number = 1
    while True:
        folder = parent / str(number)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            folder.chmod(0o777)  # the server in a container may be another user
            return folder


def write_plugin(folder: Path) -> None:
    """A package that vLLM finds: a module, and the metadata that names its entry point."""
    metadata = folder / f"{_MODULE}-0.dist-info"
    metadata.mkdir(parents=True)
    shutil.copyfile(_hook.__file__, folder / f"{_MODULE}.py")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {_MODULE}\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text(
        f"[vllm.general_plugins]\n{ENTRY_POINT} = {_MODULE}:load\n"
    )


def request_file(folder: Path) -> Path:
    """What ``FLAGOS_EVAL_OPERATORS`` names."""
    return folder / "request.json"


def served(folder: Path, epochs: Sequence[int], log: Path | None) -> None:
    """Note which starts answer with this server, and what its log says until now.

    Raises:
        FileError: it cannot be written.
    """
    path = folder / "served.json"
    try:
        before = json.loads(path.read_bytes()) if path.exists() else {"epochs": [], "fallbacks": []}
        found = [*before["fallbacks"], *(fallbacks(log) if log else ())]
        _write(
            path,
            {
                "epochs": sorted({*before["epochs"], *epochs}),
                "fallbacks": list(dict.fromkeys(found)),
            },
        )
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from error


def close_last(parent: Path, log: Path) -> None:
    """Read the log of the start before, which may have been killed, until a new one replaces it.

    Raises:
        FileError: what it says cannot be written.
    """
    starts = [path for path in parent.glob("*") if path.name.isdigit()] if parent.is_dir() else []
    if starts:
        last = max(starts, key=lambda path: int(path.name))
        if (last / "served.json").exists():
            served(last, (), log)


def fallbacks(log: Path) -> list[str]:
    """What a server's log says about operators that it went on without."""
    try:
        with log.open("rb") as content:
            text = content.read(_READ).decode("utf-8", "replace")
    except OSError:
        return []
    found = [m[0][:200] for pattern in _FALLBACKS for m in re.finditer(pattern, text)]
    return list(dict.fromkeys(found))[:_SHOWN]


def lines(parent: Path) -> Iterator[dict[str, Any]]:
    """Everything that the starts wrote down, as the lines of a run's evidence.

    Raises:
        CorruptFile: it is not what is written there.
    """
    starts = [path for path in parent.glob("*") if path.name.isdigit()] if parent.is_dir() else []
    for folder in sorted(starts, key=lambda path: int(path.name)):
        yield from start_lines(folder, int(folder.name))


def start_lines(folder: Path, start: int) -> Iterator[dict[str, Any]]:
    """What one start wrote down. A missing part of the request is that of a server which nothing
    was asked of: it was only watched.

    Raises:
        CorruptFile: it is not what is written there.
    """
    try:
        asked = {**_WATCHED, **json.loads(request_file(folder).read_bytes())}
        place = folder / "served.json"
        seen = json.loads(place.read_bytes()) if place.exists() else {}
        yield {"start": start, "event": "start", "request": asked, **seen}
        for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.counts")]):
            for event in _of_process(path):
                yield {"start": start, "process": int(path.stem), **event}
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise CorruptFile(f"{folder} is not what was written there: {error}") from error


def _of_process(path: Path) -> list[dict[str, Any]]:
    """The events in one file of a process. One that cannot be read, as a full disk leaves it, is an
    event, too: the answers are worth keeping, and what they say of operators is not."""
    try:
        if path.suffix == ".jsonl":
            found = [json.loads(line) for line in path.read_text("ascii").splitlines()]
            if not all(isinstance(event, dict) and "event" in event for event in found):
                raise ValueError("no event")
            return found
        counts, last = read_counts(path)
    except (ValueError, IndexError, TypeError, RecursionError, struct.error):
        return [{"event": "damaged", "file": path.name}]
    counted = [
        {"event": "count", "module": module, "name": name, "direct": direct, "count": n}
        for (module, name, direct), n in counts
    ]
    return [*counted, {"event": "last", "names": last}]


def read_counts(path: Path) -> tuple[list[tuple[Key, int]], list[str]]:
    """([(operator, how often it ran)], names of the last ones in their order, each once)."""
    data = path.read_bytes()
    head = 8 + 2 * _hook.RECENT
    (calls,) = struct.unpack_from("<Q", data, 0)
    found: list[tuple[Key, int]] = []
    for start in range(head, len(data), _hook.SLOT):
        (count,) = struct.unpack_from("<Q", data, start)
        packed = data[start + 8 : start + _hook.SLOT].rstrip(b"\0")
        if not packed:
            break
        module, function, direct = json.loads(packed)
        found.append(((module, function, direct), count))
    last: dict[str, None] = {}
    for number in range(max(0, calls - _hook.RECENT), calls):
        (slot,) = struct.unpack_from("<H", data, 8 + 2 * (number % _hook.RECENT))
        name = found[slot][0][1]
        last.pop(name, None)
        last[name] = None
    return found, list(last)


def is_single(folder: Path) -> bool:
    """Whether single operators can be switched where this start ran."""
    return bool(json.loads(request_file(folder).read_bytes())["how"] != "flagscale")


def last_operators(folder: Path) -> list[str]:
    """The last operators of a start, of the process that ran most; none if it ran none."""
    most, names = 0, []
    for path in folder.glob("*.counts"):
        try:
            counts, last = read_counts(path)
        except (OSError, ValueError, IndexError, TypeError, RecursionError, struct.error):
            continue  # it died while it wrote: the others say what is known
        calls = sum(count for _, count in counts)
        if calls > most:
            most, names = calls, last
    return names


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=True, indent=1) + "\n", "utf-8")

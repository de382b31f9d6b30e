"""Runs inside a vLLM server: switches FlagGems' operators and writes down which of them run.

vLLM calls `load` in each of its processes, as an entry point of the group ``vllm.general_plugins``.
Without ``FLAGOS_EVAL_OPERATORS`` it does nothing at all. With it, the variable names a file, as

    {"enable": "only", "names": ["mm", "softmax"]}

whose folder is where the records go. ``enable`` is ``all``, ``only``, ``not``, or null where
something else switches FlagGems, or nothing does: then operators are only watched.

FlagGems says on its loggers, at level DEBUG, which operator it runs. Its own record of that is
truncated by every process of a server that shares its path, and cannot say which operator was the
last. Here each process has two files of its own:

- ``<pid>.jsonl``: that a worker started, what FlagGems registered, and each operator when it first
  ran, with whether the engine called it or another operator of FlagGems;
- ``<pid>.counts``: how often each ran, and the last ones in their order. It is mapped into memory,
  and so outlives the process, however it ends.

This file is also copied to where a server of another interpreter, or a container, finds it.
Standard library only, and Python 3.8.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import json
import logging
import mmap
import os
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Key = tuple[str, str, bool]

VARIABLE = "FLAGOS_EVAL_OPERATORS"
PREFIX = "flagos-eval operators: "
"""In front of whatever stops a server: its log is where a user reads it."""

# --- The file of counts ---------------------------------------------------------------------------

SLOTS, SLOT, RECENT = 1024, 128, 64
"""Operators, bytes of one (count and name), and how many of the last are kept."""
_HEAD = 8 + 2 * RECENT
_NAME = SLOT - 8


class Counts:
    """How often each operator ran, and the last of them, in a file that is mapped into memory.

    ``<Q`` calls so far, then RECENT times ``<H`` the slot of a call, then SLOTS times ``<Q`` count
    and a name that is filled up with zeros.
    """

    def __init__(self, path: Path) -> None:
        size = _HEAD + SLOTS * SLOT
        with path.open("w+b") as file:
            file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
        self._calls = 0
        self._used = 0

    def slot(self, name: str) -> int | None:
        """A new operator's place; None if there are too many of them."""
        if self._used == SLOTS:
            return None
        slot, self._used = self._used, self._used + 1
        start = _HEAD + slot * SLOT + 8
        data = name.encode("utf-8", "replace")[:_NAME]
        self._map[start : start + len(data)] = data
        return slot

    def add(self, slot: int) -> None:
        """One more call."""
        place = _HEAD + slot * SLOT
        (count,) = struct.unpack_from("<Q", self._map, place)
        struct.pack_into("<Q", self._map, place, count + 1)
        struct.pack_into("<H", self._map, 8 + 2 * (self._calls % RECENT), slot)
        self._calls += 1
        struct.pack_into("<Q", self._map, 0, self._calls)


# --- Watching -------------------------------------------------------------------------------------


class Watch:
    """What one process writes down. Nothing is written before there is something to say.

    An operator is known by its logger, its function, and whether the engine called it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.deaf = False
        """Whether what is logged right now is counted already."""
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """A process that was forked has files of its own."""
        self._counts: Counts | None = None
        self._slots: dict[Key, int | None] = {}
        self._file: int | None = None
        self._speaking: set[str] = set()

    def event(self, **content: Any) -> None:
        """A line in this process's file."""
        if self._file is None:
            path = self._folder / f"{os.getpid()}.jsonl"
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(self._file, json.dumps(content).encode("ascii") + b"\n")

    def called(self, module: str, frame: Any) -> Key | None:
        """What ran, by the code that logs it; None if that is a helper of one that says so
        itself."""
        name, direct, itself = _called(frame)
        if itself:
            self._speaking.add(name)
        return (module, name, direct) if itself or name not in self._speaking else None

    def ran(self, key: Key) -> None:
        """An operator ran."""
        if self._counts is None:
            self._counts = Counts(self._folder / f"{os.getpid()}.counts")
        if key not in self._slots:
            self._slots[key] = self._counts.slot(json.dumps(key))
            module, name, direct = key
            self.event(event="operator", module=module, name=name, direct=direct)
        slot = self._slots[key]
        if slot is not None:
            self._counts.add(slot)


def _called(frame: Any) -> tuple[str, bool, bool]:
    """(operator, whether the engine called it, whether it was itself that logged).

    What logs can be a helper of the operator, as ``general_mm`` is of ``mm``: then the nearest
    function around it that FlagGems can register is the operator. The engine did not call it where
    another operator uses it, or where it runs while another one is tuned.
    """
    known = getattr(sys.modules.get("flag_gems"), "FULL_CONFIG_BY_FUNC", {})
    name: str = frame.f_code.co_name
    if not known:
        # FlagGems of early 2025 does not say what it can register: the outermost of its functions
        # is what was called, whichever ``forward`` logs.
        return _outermost(frame), True, True
    found, inner = name in known, False
    outer = frame.f_back
    while outer is not None:
        if _OURS in outer.f_code.co_filename and outer.f_code.co_name != "<module>":
            if found:
                return name, False, name == frame.f_code.co_name
            inner = True
            if outer.f_code.co_name in known:
                name, found, inner = outer.f_code.co_name, True, False
        outer = outer.f_back
    return name, not inner, name == frame.f_code.co_name


def _outermost(frame: Any) -> str:
    name: str = frame.f_code.co_name
    outer = frame.f_back
    while outer is not None:
        if _OURS in outer.f_code.co_filename and outer.f_code.co_name != "<module>":
            name = outer.f_code.co_name
        outer = outer.f_back
    return name


_OURS = f"{os.sep}flag_gems{os.sep}"
"""In the path of FlagGems' files; vendors' kernels call their modules otherwise."""


class _Quick:
    """``debug`` of one of FlagGems' loggers, which costs a call of an operator next to nothing.

    Making a log record takes ten microseconds, a thousand times a step. What is known to be called
    by the engine is only counted. Others who listen, as FlagGems' own record does, hear of each
    place once.
    """

    def __init__(self, watch: Watch, logger: logging.Logger) -> None:
        self._watch, self._logger = watch, logger
        self._known: dict[Any, Key | None] = {}
        self._told: set[Any] = set()

    def __call__(self, message: Any, *arguments: Any, **keywords: Any) -> None:
        frame = sys._getframe(1)
        code = frame.f_code
        if code in self._known:
            key = self._known[code]
        else:
            key = self._watch.called(self._logger.name, frame)
            if key is None or key[2]:
                self._known[code] = key
            if code not in self._told:
                self._told.add(code)
                self._watch.deaf = True
                logging.Logger.debug(self._logger, message, *arguments, **keywords)
                self._watch.deaf = False
        if key is not None:
            self._watch.ran(key)


class _Handler(logging.Handler):
    """Meets loggers that FlagGems makes later, and makes them quick from then on."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.DEBUG)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno > logging.DEBUG:
            logging.getLogger().handle(record)  # its warnings go where they would have gone
            return
        if self._watch.deaf:
            return
        frame: Any = sys._getframe(1)
        while frame.f_back is not None and frame.f_globals.get("__name__") == "logging":
            frame = frame.f_back
        key = self._watch.called(record.name, frame)
        if key is not None:
            self._watch.ran(key)
        make_quick(self._watch)


def make_quick(watch: Watch) -> None:
    """Let every logger of FlagGems that there is by now only count."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if not isinstance(logger, logging.Logger) or "debug" in logger.__dict__:
            continue
        if name.partition(".")[0] == "flag_gems":
            logger.__dict__["debug"] = _Quick(watch, logger)


def observe(watch: Watch) -> None:
    """Listen to FlagGems, whoever switches it on."""
    logger = logging.getLogger("flag_gems")
    if _first(logger):
        logger.setLevel(logging.DEBUG)
        logger.addHandler(_Handler(watch))
        logger.propagate = False
        _observe_root(watch)


def _observe_root(watch: Watch) -> None:
    """FlagGems of early 2025, which the first release for metax has, has no loggers of its own."""
    before = logging.debug

    def debug(message: Any, *arguments: Any, **keywords: Any) -> None:
        if isinstance(message, str) and "GEMS " in message[:20]:
            frame = sys._getframe(1)
            key = watch.called(str(frame.f_globals.get("__name__")), frame)
            if key is not None:
                watch.ran(key)
        before(message, *arguments, **keywords)

    vars(logging)["debug"] = debug


def _first(what: Any) -> bool:
    """Whether nobody has changed it yet: the package and a copy of this file can both be loaded."""
    if "_flagos_eval" in what.__dict__:
        return False
    what._flagos_eval = True
    return True


# --- Switching ------------------------------------------------------------------------------------


def switch(enable: str, names: list[str]) -> dict[str, Any]:
    """Switch operators on, and what FlagGems says of itself then.

    Raises:
        RuntimeError: FlagGems has no such operator, or cannot switch single ones; it would ignore
            that.
    """
    import flag_gems  # type: ignore[import-not-found, unused-ignore]

    known = set(getattr(flag_gems, "FULL_CONFIG_BY_FUNC", {}))
    unknown = sorted(set(names) - known) if known else []
    if unknown:
        raise RuntimeError(f"{PREFIX}FlagGems {_version(flag_gems)} has no {', '.join(unknown)}")
    if enable == "all":
        flag_gems.enable()
    elif enable == "not" and "unused" in inspect.signature(flag_gems.enable).parameters:
        # A list replaces what FlagGems leaves out on this chip by itself: keep that out, too.
        flag_gems.enable(unused=sorted({*names, *_left_out(flag_gems)}))
    elif enable == "only" and hasattr(flag_gems, "only_enable"):
        flag_gems.only_enable(include=list(names))
    else:
        version = _version(flag_gems)
        raise RuntimeError(f"{PREFIX}FlagGems {version} cannot switch single operators")
    return {
        "version": _version(flag_gems),
        "vendor": getattr(flag_gems, "vendor_name", None),
        "registered": _registered(flag_gems),
    }


def _version(flag_gems: Any) -> str:
    return str(getattr(flag_gems, "__version__", "of unknown version"))


def _left_out(flag_gems: Any) -> list[str]:
    if importlib.util.find_spec("flag_gems.config") is None:
        return []  # versions before it leave out nothing that they would forget
    config = importlib.import_module("flag_gems.config")
    resolve = getattr(config, "resolve_user_setting", None)
    return list(resolve(None, "exclude")) if resolve is not None else []


def _registered(flag_gems: Any) -> list[str] | None:
    """What was really registered: FlagGems does not raise where that fails. None in versions that
    do not say."""
    ask = getattr(flag_gems, "all_registered_ops", None) or getattr(flag_gems, "all_ops", None)
    return sorted(set(ask())) if ask is not None else None


# --- Getting in -----------------------------------------------------------------------------------

_WRAPPERS = ("vllm.v1.worker.worker_base", "vllm.worker.worker_base")
"""Where versions have the class around each worker, of whatever platform."""


def load() -> None:
    """Called by vLLM in each of its processes.

    Operators are switched in workers alone, once they have their device: touching it in the process
    that starts them would forbid it to them.

    Raises:
        RuntimeError: this vLLM has no place to do it; it would serve without the operators.
    """
    request = os.environ.get(VARIABLE)
    if not request:
        return
    path = Path(request)
    try:
        asked = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RuntimeError(f"{PREFIX}cannot read {path}: {error}") from error
    watch = Watch(path.parent)
    observe(watch)
    done = [False]

    def ready(rank: Any) -> None:
        if done[0]:
            return
        done[0] = True
        watch.event(event="worker", pid=os.getpid(), rank=rank if isinstance(rank, int) else None)
        if asked.get("enable"):
            watch.event(event="switched", **switch(asked["enable"], asked.get("names", [])))
        make_quick(watch)

    wrapper = wrapper_of_workers()
    if _first(wrapper):
        if "init_device" in wrapper.__dict__:
            _wrap(wrapper, ready)
        else:
            _wrap_when_there(wrapper, ready)


def wrapper_of_workers() -> Any:
    """The class around each worker.

    Raises:
        RuntimeError: this vLLM has none that is known.
    """
    for name in _WRAPPERS:
        with contextlib.suppress(ImportError):
            wrapper = getattr(importlib.import_module(name), "WorkerWrapperBase", None)
            if wrapper is not None:
                return wrapper
    raise RuntimeError(f"{PREFIX}this version of vLLM has no WorkerWrapperBase")


def _wrap(place: Any, ready: Callable[[Any], None]) -> None:
    """Call `ready` once a worker has its device."""
    original = place.init_device

    def init_device(self: Any, *arguments: Any, **keywords: Any) -> Any:
        result = original(self, *arguments, **keywords)
        ready(getattr(self, "rpc_rank", getattr(self, "rank", None)))
        return result

    place.init_device = init_device


def _wrap_when_there(wrapper: Any, ready: Callable[[Any], None]) -> None:
    """Before 0.8 a wrapper hands the call on, or is gone around; its worker's class is known when
    it gets one. Importing that class here would import FlagScale's model runner, which switches
    FlagGems on, in every process."""

    def __setattr__(self: Any, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name == "worker" and value is not None and _first(type(value)):
            _wrap(type(value), ready)

    wrapper.__setattr__ = __setattr__

"""What lmms-eval's code may do while it is called, and what it leaves behind.

Its tasks are modules with state of their own, which guess at random where nothing parses and may
ask a model over the network. Here each call begins with the modules as they were when they were
loaded, and any use of random numbers, of the network or of another program is noticed."""

from __future__ import annotations

import contextlib
import copy
import io
import pickle
import random  # noqa: TID251 - to notice that it is used
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import BuiltinFunctionType, MethodType, ModuleType
from typing import Any

_LOCK = threading.RLock()
_TASKS = "lmms_eval.tasks"


@dataclass
class Seen:
    """What a call did."""

    random: bool = False
    """It drew a random number."""
    reached_out: str | None = None
    """It tried to use the network or to start a program: the audit event. It was kept from it."""


class Sandbox:
    """The modules of one loaded task, and the way to call what is in them.

    No sandbox against malice: lmms-eval is installed code, and runs as such."""

    def __init__(self, package: Path) -> None:
        """A sandbox without modules.

        Args:
            package: The folder of ``lmms_eval``.
        """
        parent = ModuleType(_TASKS)
        # The real package imports torch, transformers and evaluate, which few tasks need.
        parent.__path__ = [str(package / "tasks")]
        self._imported: dict[str, ModuleType] = {_TASKS: parent}
        self._own: list[ModuleType] = []
        self._kept: list[_Namespace] = []

    @contextlib.contextmanager
    def loading(self) -> Iterator[list[ModuleType]]:
        """Imports of lmms-eval's tasks stay in here; modules appended to the list count as such.

        What has been loaded by the end is what later calls begin with."""
        with _LOCK, self._active():
            yield self._own
            self._collect()
            self._kept = [kept for module in self.modules for kept in _namespaces(module)]

    @property
    def modules(self) -> list[ModuleType]:
        """The task's modules, and those of lmms-eval's tasks that they imported."""
        return [*self._own, *self._imported.values()]

    @contextlib.contextmanager
    def call(self) -> Iterator[Seen]:
        """Calls in the block meet the modules as they were loaded, and are watched."""
        known = set(self._imported)
        with _LOCK, self._active():
            for kept in self._kept:
                kept.restore()
            try:
                with contextlib.redirect_stdout(io.StringIO()), _watched(self.modules) as seen:
                    yield seen
            finally:
                # Imported within a function: loaded anew by the next call, without its traces.
                self._collect()
                for name in self._imported.keys() - known:
                    del self._imported[name]

    def _collect(self) -> None:
        self._imported = {name: module for name, module in sys.modules.items() if _is_task(name)}

    @contextlib.contextmanager
    def _active(self) -> Iterator[None]:
        from PIL import ImageFile

        package = sys.modules.get("lmms_eval")
        before = {name: module for name, module in sys.modules.items() if _is_task(name)}
        truncated = ImageFile.LOAD_TRUNCATED_IMAGES
        _exchange(before, self._imported)
        try:
            yield
        finally:
            _exchange([name for name in sys.modules if _is_task(name)], before)
            package = package or sys.modules.get("lmms_eval")
            if package is not None:
                vars(package).pop("tasks", None)
                if _TASKS in before:
                    vars(package)["tasks"] = before[_TASKS]
            ImageFile.LOAD_TRUNCATED_IMAGES = truncated


def _is_task(name: str) -> bool:
    return name == _TASKS or name.startswith(f"{_TASKS}.")


def _exchange(out: Iterable[str], into: dict[str, ModuleType]) -> None:
    for name in list(out):
        del sys.modules[name]
    sys.modules.update(into)


# --- State ----------------------------------------------------------------------------------------

_CONTAINERS = (dict, list, set, deque, bytearray)


class _Namespace:
    """The values of a module, a class or an object, as they were."""

    def __init__(self, owner: Any) -> None:
        self._owner = owner
        self._values = dict(_plain(owner))
        self._contents = {
            name: held
            for name, value in self._values.items()
            if isinstance(value, _CONTAINERS) and (held := _copy(value)) is not None
        }

    def restore(self) -> None:
        """Bind every name as it was, and fill containers with what was in them."""
        now = dict(_plain(self._owner))
        for name in now.keys() - self._values.keys():
            delattr(self._owner, name)
        for name, value in self._values.items():
            if name not in now or now[name] is not value:
                setattr(self._owner, name, value)
        for name, held in self._contents.items():
            _refill(self._values[name], held)


def _namespaces(module: ModuleType) -> Iterator[_Namespace]:
    """A module, its classes, and the objects of its classes that it holds."""
    yield _Namespace(module)
    for value in list(vars(module).values()):
        kind = value if isinstance(value, type) else type(value)
        plain = isinstance(value, type) or hasattr(value, "__dict__")
        if plain and getattr(kind, "__module__", None) == module.__name__:
            yield _Namespace(value)


def _plain(owner: Any) -> Iterator[tuple[str, Any]]:
    """Its values, but not Python's own, such as the built-in functions of a module."""
    return ((name, value) for name, value in vars(owner).items() if not name.startswith("__"))


def _copy(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # it holds a lock, a module or a connection: those do not count answers
        return None


def _refill(container: Any, held: Any) -> None:
    try:
        if bool(container == held):
            return
    except Exception:  # noqa: S110 - arrays have no truth value
        pass
    container.clear()
    fill = container.update if isinstance(container, dict | set) else container.extend
    fill(copy.deepcopy(held))


# --- Watching -------------------------------------------------------------------------------------


@contextlib.contextmanager
def _watched(modules: Iterable[ModuleType]) -> Iterator[Seen]:
    seen, thread = Seen(), threading.get_ident()

    def note() -> None:
        if threading.get_ident() == thread:
            seen.random = True

    numbers = sys.modules.get("numpy.random")
    generators = [] if numbers is None else list(_numpy_generators(numbers, modules))
    before = [_numpy_state(one) for one in generators]
    undo = [_replace(*place, note) for place in _places(modules, numbers)]
    outer, _HOOK.seen = getattr(_HOOK, "seen", None), seen
    _install_hook()
    try:
        yield seen
    finally:
        _HOOK.seen = outer
        for step in reversed(undo):
            step()
        for one, state in zip(generators, before, strict=True):
            if _numpy_state(one) != state:
                seen.random = True
                _bits(one).state = pickle.loads(state)  # noqa: S301 - made above, never stored


def _places(modules: Iterable[ModuleType], numbers: ModuleType | None) -> Iterator[tuple[Any, str]]:
    """Attributes through which random numbers are drawn.

    A method such as `choice` draws through two methods of its class, also where a module holds the
    bound method. Only those two can be held without being looked up: they are replaced there.
    """
    for owner in (random, *modules):
        for name, value in list(vars(owner).items()):
            drawing = isinstance(value, BuiltinFunctionType | MethodType)
            if drawing and isinstance(value.__self__, random.Random):
                yield owner, name
    for kind in (random.Random, random.SystemRandom):
        yield kind, "random"
        yield kind, "getrandbits"
    if numbers is not None:
        yield numbers, "default_rng"


def _replace(owner: Any, name: str, note: Callable[[], None]) -> Callable[[], None]:
    original = getattr(owner, name)
    own = name in vars(owner)

    def noticed(*args: Any, **kwargs: Any) -> Any:
        note()
        return original(*args, **kwargs)

    setattr(owner, name, noticed)
    return lambda: setattr(owner, name, original) if own else delattr(owner, name)


def _numpy_generators(numbers: ModuleType, modules: Iterable[ModuleType]) -> Iterator[Any]:
    yield vars(numbers)["mtrand"]._rand
    kinds = (vars(numbers)["RandomState"], vars(numbers)["Generator"])
    for module in modules:
        yield from (value for value in list(vars(module).values()) if isinstance(value, kinds))


def _bits(generator: Any) -> Any:
    return getattr(generator, "bit_generator", None) or generator._bit_generator


def _numpy_state(generator: Any) -> bytes:
    return pickle.dumps(_bits(generator).state)


# --- The network and other programs ---------------------------------------------------------------

_OUTSIDE = frozenset(
    {
        *("socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen"),
        *("os.system", "os.exec", "os.posix_spawn", "os.startfile"),
    }
)
_HOOK = threading.local()


@cache
def _install_hook() -> None:
    """Audit hooks stay for good; this one does nothing outside a watched call."""

    def hook(event: str, _: Any) -> None:
        if event in _OUTSIDE and (seen := getattr(_HOOK, "seen", None)) is not None:
            seen.reached_out = event
            raise PermissionError(f"{event} while an answer is scored")

    sys.addaudithook(hook)

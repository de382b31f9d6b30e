"""Names to things: one file is one benchmark, launcher, platform or report format.

Nothing is registered: what is in the folder exists. Task files are loaded by path, by the same code
from a checkout, an editable install, a wheel and ``--tasks-dir``."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from .errors import UnknownName, UsageError
from .task import Scorer, Task

_PACKAGE = Path(__file__).parent
DEMO = "demo"
"""Tag of a task that shows something and is no benchmark."""


def tasks_dir() -> Path:
    """The folder of the built-in tasks: in the package of a wheel, beside it in a checkout."""
    inside = _PACKAGE / "tasks"
    return inside if inside.is_dir() else _PACKAGE.parent / "tasks"


def unknown(kind: str, name: str, known: Iterable[str], *, hint: str | None = None) -> UnknownName:
    """An error for a name that does not exist, with the nearest one that does."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    suggestion = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
    return UnknownName(f"there is no {kind} {name!r}; {suggestion}", hint=hint)


def task_names(folder: Path | None = None) -> list[str]:
    """Names of the tasks in a folder, which are the names of its files."""
    files = (folder or tasks_dir()).glob("*.py")
    return sorted(file.stem for file in files if not file.stem.startswith("_"))


def load_task(name: str, folder: Path | None = None) -> Task:
    """The task of that name, the one in a file when `name` is a path ending in ``.py``, or
    lmms-eval's when it is ``lmms:NAME``.

    Raises:
        UnknownName: no such file.
        UsageError: the file declares no ``TASK``, or one of another name.
    """
    if name.startswith("lmms:"):
        from . import lmms

        return lmms.load_task(name)
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise UnknownName(f"there is no task file {name}")
        return _load_file(path)
    known = task_names(folder)
    if name not in known:
        raise unknown("task", name, known, hint="flagos-eval ls tasks")
    return _load_file((folder or tasks_dir()) / f"{name}.py")


def scorer(task: Task, name: str | None) -> Scorer:
    """A task's scorer by name, or its first.

    Raises:
        UnknownName: it has none of that name.
    """
    if name is None:
        return task.scorers[0]
    for candidate in task.scorers:
        if candidate.name == name:
            return candidate
    raise unknown(f"scorer for {task.name}", name, [s.name for s in task.scorers])


def load_tasks(names: Iterable[str], folder: Path | None = None) -> tuple[Task, ...]:
    """Several tasks; ``all`` stands for every benchmark, and not for demonstrations.

    Raises:
        UsageError: no name at all, or the same task twice.
    """
    tasks: list[Task] = []
    for name in names:
        if name == "all":
            found = [load_task(each, folder) for each in task_names(folder)]
            tasks += (task for task in found if DEMO not in task.tags)
        else:
            tasks.append(load_task(name, folder))
    if not tasks:
        raise UsageError(
            "no task was named", hint="--tasks mathvision,shapes; flagos-eval ls tasks"
        )
    seen: set[str] = set()
    for task in tasks:
        if task.name in seen:
            raise UsageError(f"task {task.name!r} is named twice")
        seen.add(task.name)
    return tuple(tasks)


def _load_file(path: Path) -> Task:
    module_name = f"flagos_eval.tasks.{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None:
        raise UsageError(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and pickling look a class's module up here
    try:
        # From the source, never from cached bytecode: the cache goes by size and whole seconds, and
        # a benchmark that is edited and run at once would be scored by its old rule.
        # A task file is code, which the user named: nothing that is read names one.
        code = compile(path.read_bytes(), path, "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102
    except Exception as error:  # a task file is its author's code: say where it fails, not here
        raise UsageError(
            f"{path} cannot be loaded: {type(error).__name__}: {error}",
            hint="flagos-eval --debug shows the traceback",
        ) from error
    task = getattr(module, "TASK", None)
    if not isinstance(task, Task):
        raise UsageError(f"{path} declares no TASK", hint="docs/add-a-benchmark.md")
    if task.name != path.stem:
        raise UsageError(f"{path} declares task {task.name!r}; the file must have the task's name")
    for needed in ("prompts", "scorers", "aggregations"):
        if not getattr(task, needed):
            raise UsageError(f"{path} declares no {needed}", hint="docs/add-a-benchmark.md")
    return task


def modules(package: str) -> dict[str, str]:
    """Plug-ins of a family: short name -> module, as for ``launchers`` or ``reports``.

    Modules of the package come first, then entry points of the group ``flagos_eval.<package>``, so
    that a third party adds one without a change here. ``base`` holds the family's interface."""
    from importlib.metadata import entry_points

    folder = _PACKAGE / package
    found = {
        info.name: f"flagos_eval.{package}.{info.name}"
        for info in pkgutil.iter_modules([str(folder)])
        if info.name != "base" and not info.name.startswith("_")
    }
    for entry in entry_points(group=f"flagos_eval.{package}"):
        found.setdefault(entry.name, entry.value.partition(":")[0])
    return dict(sorted(found.items()))


def load_module(package: str, name: str, kind: str) -> ModuleType:
    """One plug-in's module.

    Raises:
        UnknownName: the family has none of that name.
        UsageError: it cannot be imported.
    """
    known = modules(package)
    if name not in known:
        raise unknown(kind, name, known)
    try:
        return importlib.import_module(known[name])
    except ImportError as error:
        raise UsageError(f"{kind} {name!r} cannot be loaded: {error}") from error

"""FlagGems' operators at the start of a server, and what they say of its end."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from .. import platforms
from ..errors import ServerDied, ServerStartFailed, UsageError
from ..operators import _hook, folder
from ..operators.installed import Installed
from ..operators.switch import Engine, Switch, switch
from . import _engine
from .base import LaunchRequest

_MERGED = ("VLLM_PLUGINS", "GEMS_VENDOR")
"""Variables that a user may set beside ``--flag-gems``."""
_SHOWN = 6


def arrange(
    request: LaunchRequest, installed: Installed, engine: Engine, *, path: bool = True
) -> tuple[LaunchRequest, Path | None]:
    """(the request with the variables of its operators, the folder where they are written down).

    Without ``--flag-gems`` nothing is done and nothing is written down.

    Args:
        request: What is to be started.
        installed: What switches operators there.
        engine: Who starts vLLM there.
        path: Whether to put the plug-in on PYTHONPATH; in a container its shell does that.

    Raises:
        UsageError, UnknownName: it cannot be switched like that.
        FileError: the folder cannot be written.
    """
    if request.flag_gems is None:
        return request, None
    told = _switch(request, installed, engine, strict=True)
    parent = request.folder / f"{request.name}.operators"
    if os.pathsep in str(parent.absolute()):
        raise UsageError(
            f"{parent.absolute()} cannot be searched for a plug-in: it has {os.pathsep!r} in it",
            hint="-o a file in another folder",
        )
    folder.close_last(parent, request.folder / f"{request.name}.server.log")
    made = folder.make(parent, request.flag_gems, told, installed, workers=_workers(request))
    for note in told.notes:
        request.on_event(note)
    return _with(request, told, made, path=path), made


def planned(
    request: LaunchRequest, installed: Installed, engine: Engine, *, path: bool = True
) -> tuple[LaunchRequest, tuple[str, ...]]:
    """(the request as `arrange` would make it, notes), without writing anything."""
    if request.flag_gems is None:
        return request, ()
    told = _switch(request, installed, engine, strict=False)
    notes = told.notes
    if installed.version is None and request.flag_gems.mode != "off":
        notes = (*notes, "no FlagGems was found here: names of operators are checked at the start")
    made = (request.folder / f"{request.name}.operators" / "1").absolute()
    return _with(request, told, made, path=path), notes


def _switch(
    request: LaunchRequest, installed: Installed, engine: Engine, *, strict: bool
) -> Switch:
    assert request.flag_gems is not None
    platform = request.platform or platforms.detect()
    told = switch(
        request.flag_gems, installed, engine=engine, platform=platform.name, strict=strict
    )
    both = sorted(request.environment.keys() & told.environment.keys() - set(_MERGED))
    if both:
        raise UsageError(
            f"--flag-gems sets {', '.join(both)}; --env sets it, too: give one of them"
        )
    return told


def _with(request: LaunchRequest, told: Switch, made: Path, *, path: bool) -> LaunchRequest:
    given = dict(request.environment)
    environment = {
        **told.environment,
        **given,
        _hook.VARIABLE: str(folder.request_file(made)),
        **_plugins(told.environment, given, inherit=path),
    }
    if path:
        before = given.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
        environment["PYTHONPATH"] = f"{made / folder.PLUGIN}{os.pathsep}{before}".rstrip(os.pathsep)
    return replace(request, environment=environment)


def _workers(request: LaunchRequest) -> int:
    """Processes that compute."""
    chosen = _engine.flags(replace(request, settings=engine_settings(request)), 0)
    sizes = ("tensor-parallel-size", "data-parallel-size", "pipeline-parallel-size")
    return math.prod(int(chosen.get(size, "1")) for size in sizes if _is_count(chosen.get(size)))


def engine_settings(request: LaunchRequest) -> dict[str, str]:
    """Flags of the engine, without what is passed on to FlagScale."""
    return {name: value for name, value in request.settings.items() if "." not in name}


def _is_count(text: str | None) -> bool:
    return text is None or (text.isascii() and text.isdigit() and int(text) > 0)


def _plugins(told: Mapping[str, str], given: Mapping[str, str], *, inherit: bool) -> dict[str, str]:
    """``VLLM_PLUGINS`` chooses plug-ins by name, and then ours has to be among them. A container
    has its image's, not ours: its shell adds to it."""
    outside = os.environ.get("VLLM_PLUGINS") if inherit else None
    listed = given.get("VLLM_PLUGINS", told.get("VLLM_PLUGINS", outside))
    if listed is None:
        return {}
    names = [*listed.split(","), *told.get("VLLM_PLUGINS", "").split(","), folder.ENTRY_POINT]
    return {"VLLM_PLUGINS": ",".join(dict.fromkeys(name for name in names if name))}


@contextmanager
def naming(made: Path | None) -> Iterator[None]:
    """Let the end of a server name the operators that ran last: one of them may be the cause."""
    try:
        yield
    except (ServerStartFailed, ServerDied) as error:
        last = folder.last_operators(made)[-_SHOWN:] if made is not None else []
        if made is None or not last:
            raise
        first = f"--flag-gems not:{last[-1]} tells whether it is that one; "
        raise type(error)(
            f"{error.message}\nFlagGems' last operators before that: {', '.join(last)} (errors of "
            "a device show late: one of them, not always the last, is the first to look at)",
            hint=f"{first if folder.is_single(made) else ''}{error.hint}",
        ) from error

"""How a server is made to use the operators that were asked for, by what it has. Pure.

Sources: FlagScale's ``model_runner.py`` (``USE_FLAGGEMS``, all or nothing), vllm-plugin-FL's
``vllm_fl/utils.py`` and ``dispatch/README.md`` (its variables), FlagGems' ``enable`` and
``only_enable``. docs/servers.md says more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from ..errors import UsageError
from .installed import Installed
from .selection import Selection

How = Literal["vllm", "flagscale", "plugin"]
"""What switches: our plug-in of plain vLLM, FlagScale's variable, or vllm-plugin-FL's."""
Engine = Literal["vllm", "flagscale"]
_VENDORS = {"cuda": "nvidia", "cpu": None}
OUT_OF_TREE = (
    "attention_backend",
    "fused_moe",
    "gelu_and_mul",
    "rms_norm",
    "rotary_embedding",
    "silu_and_mul",
    "unquantized_fused_moe_method",
)
"""vLLM's own operators, which vllm-plugin-FL replaces beside those of torch."""


_UNSET = dict.fromkeys(
    (
        "VLLM_FL_CONFIG",
        "VLLM_FL_FLAGOS_BLACKLIST",
        "VLLM_FL_FLAGOS_BLACKLIST_APPEND",
        "VLLM_FL_FLAGOS_WHITELIST",
        "VLLM_FL_OOT_BLACKLIST",
        "VLLM_FL_OOT_WHITELIST",
        "VLLM_FL_PER_OP",
    ),
    "",
)
"""What else chooses operators of vllm-plugin-FL, and may come with an image or a shell; to it an
empty one is none."""


@dataclass(frozen=True)
class Switch:
    """What a server is told."""

    how: How
    environment: dict[str, str]
    enable: str | None = None
    """What our plug-in switches on: ``all``, ``only`` or ``not``; None if it only watches."""
    names: tuple[str, ...] = ()
    """With ``only`` and ``not``."""
    allowed: tuple[str, ...] | None = None
    """The operators that may run; None if all may."""
    notes: tuple[str, ...] = field(default=())


def vendor(platform: str | None) -> str | None:
    """What FlagGems calls a platform; None where it has no operators."""
    return _VENDORS.get(platform, platform) if platform else None


def switch(
    selection: Selection,
    installed: Installed,
    *,
    engine: Engine,
    platform: str | None,
    strict: bool = True,
) -> Switch:
    """The variables of a server, and what our plug-in does in it.

    Args:
        selection: What was asked for.
        installed: What the server's interpreter has.
        engine: Who starts vLLM there.
        platform: Name of the machine's platform.
        strict: False before anything is started, when FlagGems may be on another machine: then
            names are not checked.

    Raises:
        UsageError: FlagGems is not there, or single operators cannot be switched.
        UnknownName: FlagGems has no such operator.
    """
    how: How = "plugin" if installed.plugin else engine
    if selection.mode == "off":
        return _off(how)
    if installed.version is None and strict:
        raise UsageError(
            f"--flag-gems {selection} needs FlagGems, which the server's interpreter does not have",
            hint="--server-python or --image with FlagGems; flagos-eval doctor shows what is here",
        )
    if how == "flagscale" and selection.mode != "all":
        raise UsageError(
            f"--flag-gems {selection}: FlagScale switches all of FlagGems' operators or none",
            hint="--launcher vllm (--inside vllm) in the same environment switches single ones",
        )
    names = _names(selection, installed, how, strict)
    named = vendor(platform)
    chosen = {"GEMS_VENDOR": named} if named else {}
    if how == "plugin":
        return _plugin(selection, installed, names, chosen, (named, platform))
    if how == "flagscale":
        return Switch(how, {"USE_FLAGGEMS": "1", **chosen})
    # An image's vLLM may have a switch of its own; two of them would register everything twice.
    environment = {"USE_FLAGGEMS": "0", **chosen}
    allowed = _allowed(selection, installed.functions, names)
    return Switch(how, environment, selection.mode, tuple(names), allowed)


def _off(how: How) -> Switch:
    environment = {"USE_FLAGGEMS": "0"}
    notes: tuple[str, ...] = ()
    if how == "plugin":
        environment |= {**_UNSET, "VLLM_FL_PREFER_ENABLED": "false"}
        notes = (
            "vllm-plugin-FL still brings its platform and its attention; --env VLLM_PLUGINS= and "
            "no --flag-gems is the arm without it",
        )
    return Switch(how, environment, allowed=(), notes=notes)


def _names(selection: Selection, installed: Installed, how: How, strict: bool) -> list[str]:
    known = set(installed.functions) | (set(OUT_OF_TREE) if how == "plugin" else set())
    if not installed.functions and not strict:
        return sorted(selection.patterns)
    return selection.names(known, installed.keys)


def _allowed(
    selection: Selection, functions: Iterable[str], names: Iterable[str]
) -> tuple[str, ...] | None:
    if selection.mode == "all":
        return None
    chosen = set(names) if selection.mode == "only" else set(functions) - set(names)
    return tuple(sorted(chosen))


def _plugin(
    selection: Selection,
    installed: Installed,
    names: list[str],
    chosen: dict[str, str],
    platforms: tuple[str | None, ...],
) -> Switch:
    """vllm-plugin-FL has two layers, and an empty list means that nothing was said."""
    variables = {
        **_UNSET,
        "VLLM_PLUGINS": "fl",
        "USE_FLAGGEMS": "1",
        "VLLM_FL_PREFER_ENABLED": "true",
        "VLLM_FL_STRICT": "1",  # it would fall back to another implementation, and go on
        **chosen,
    }
    aten = [name for name in names if name in installed.functions or name not in OUT_OF_TREE]
    layer = [name for name in names if name in OUT_OF_TREE]
    if selection.mode == "only":
        if aten:
            variables["VLLM_FL_FLAGOS_WHITELIST"] = ",".join(aten)
        else:
            variables["USE_FLAGGEMS"] = "0"
        if layer:
            variables["VLLM_FL_OOT_WHITELIST"] = ",".join(layer)
        else:
            variables["VLLM_FL_OOT_ENABLED"] = "0"
        return Switch("plugin", variables, allowed=tuple(names))
    if selection.mode == "all":
        return Switch("plugin", variables)
    # The variable replaces the list of the plug-in's own configuration, which is there for a
    # reason.
    kept = {n for platform, found in installed.plugin_left_out if platform in platforms
            for n in found}  # fmt: skip
    if aten:
        variables["VLLM_FL_FLAGOS_BLACKLIST"] = ",".join(sorted({*aten, *kept}))
    if layer:
        variables["VLLM_FL_OOT_BLACKLIST"] = ",".join(layer)
    allowed = _allowed(selection, {*installed.functions, *OUT_OF_TREE} - kept, names)
    return Switch("plugin", variables, allowed=allowed)

"""Prints which FlagGems and which vllm-plugin-FL the interpreter has, without importing them.

It runs in other interpreters and in containers. Standard library only, and Python 3.8."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import re
import sys
from pathlib import Path


def version(*names: str) -> str | None:
    """The version of the first of these distributions that is installed."""
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def folder(package: str) -> Path | None:
    """Where a package is; None if it is not installed."""
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) if places else None


def operators(package: Path) -> list[list[str]]:
    """[torch's name, function] of everything that FlagGems can register.

    Versions have it as pairs in a tuple, or as calls of ``lib.impl``.
    """
    found = []
    for node in ast.walk(ast.parse((package / "__init__.py").read_text("utf-8"))):
        parts: list[ast.expr] = []
        if isinstance(node, (ast.Tuple, ast.List)):
            parts = node.elts
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", None) == "impl":
            parts = node.args
        if len(parts) >= 2 and isinstance(parts[0], ast.Constant):
            key, function = parts[0].value, parts[1]
            name = getattr(function, "id", None) or getattr(function, "attr", None)
            if isinstance(key, str) and name:
                found.append([key, name])
    return found


def left_out(plugin: Path) -> dict[str, list[str]]:
    """Platform -> operators that the plugin's own configuration leaves out there."""
    found = {}
    for path in sorted(plugin.rglob("*.yaml")):
        text = path.read_text("utf-8", "replace")
        block = re.search(
            r"(?m)^flagos_blacklist:[^\S\n]*\n((?:[ \t]*(?:-.*|#.*)?\n)*)", text + "\n"
        )
        names = re.findall(r"(?m)^[ \t]*-[ \t]*['\"]?([\w.]+)", block.group(1)) if block else []
        if names:
            found[path.stem] = names
    return found


def main() -> None:
    """Print one marked line: interpreters of vendors' images print things of their own, too."""
    gems, fl = folder("flag_gems"), folder("vllm_fl")
    plugin = version("vllm-plugin-fl", "vllm_fl", "vllm-fl")
    said = {
        "version": version("flag_gems", "flag-gems") or ("unknown" if gems else None),
        "operators": operators(gems) if gems else [],
        "plugin": plugin or ("unknown" if fl else None),
        "left_out": left_out(fl) if fl else {},
    }
    sys.stdout.write("FLAGOS_EVAL_FLAG_GEMS " + json.dumps(said) + "\n")


if __name__ == "__main__":
    main()

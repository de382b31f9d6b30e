"""Versions of what serves, read from an interpreter's installed packages without importing any.

Importing torch or vLLM takes tens of seconds and may touch a device; their metadata does not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

from ..records import Fact

_PREFIXES = (
    "compressed-tensors",
    "flag",
    "flash",
    "mcoplib",
    "mindie",
    "numpy",
    "opencv",
    "pillow",
    "ray",
    "safetensors",
    "sglang",
    "tokenizers",
    "torch",
    "transformers",
    "triton",
    "vllm",
    "xformers",
)
"""Of packages that decide what a server computes, with their names written with dashes."""

SCRIPT = f"""
import importlib.metadata as m, json
found = {{}}
for d in m.distributions():
    name = (d.metadata["Name"] or "").lower().replace("_", "-")
    if name.startswith({_PREFIXES!r}):
        found.setdefault(name, d.version)
print("FLAGOS_EVAL " + json.dumps(found, sort_keys=True))
"""
"""Prints one marked line: interpreters of vendors' images print things of their own, too."""


def parse(output: str) -> dict[str, str]:
    """The versions out of what the script printed; empty if it did not get that far, or somebody
    else's interpreter printed something else."""
    for line in output.splitlines():
        if line.startswith("FLAGOS_EVAL {"):
            try:
                found = json.loads(line.removeprefix("FLAGOS_EVAL "))
            except (ValueError, RecursionError):
                return {}
            return {name: value for name, value in found.items() if isinstance(value, str)}
    return {}


def packages(python: str | None = None) -> dict[str, str]:
    """Name -> version of the serving packages of an interpreter, by default this one."""
    try:
        done = subprocess.run(
            [python or sys.executable, "-c", SCRIPT],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return parse(done.stdout)


def torch_build(versions: Mapping[str, str]) -> str | None:
    """What torch was built for: ``metax3.0.0.3`` of ``2.6.0+metax3.0.0.3``; None if it does not
    say."""
    return versions.get("torch", "").partition("+")[2] or None


def facts(versions: Mapping[str, str]) -> tuple[Fact, ...]:
    """Facts of these versions; none where nothing was found."""
    found = {"engine:packages": dict(versions), "engine:torch_build": torch_build(versions)}
    return tuple(
        Fact.model_validate({"name": name, "value": value, "source": "client", "verified": True})
        for name, value in found.items()
        if value
    )

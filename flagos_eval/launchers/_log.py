"""What a server's log says about how it started, and about why it did not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..records import Fact
from ..redact import redact

_READ = 4 * 2**20
"""Bytes at the log's end that are looked through."""
_LINE = 400
_FACT = 16_384


class Cause(NamedTuple):
    """Why a server ended, as far as its log shows."""

    line: str
    hint: str


_CAUSES = (
    (
        r"address already in use|\[Errno 98\]",
        "the port was taken while the server started: run the same command again",
    ),
    (
        r"out of memory|OutOfMemoryError|No available memory for the cache blocks"
        r"|Free memory on device .{0,200} is less than desired"
        r"|larger than the (?:maximum number of tokens|available KV cache memory)",
        "the devices have too little free memory: see with the vendor's tool who holds it, or "
        "--tensor-parallel N, --max-model-len N, --set gpu-memory-utilization=0.9",
    ),
    (
        r"unrecognized arguments:|error: argument |No such option",
        "this version of the engine does not take a flag as given with --set",
    ),
    (
        r"Failed to (?:enable|import) '?flag_gems",
        "FlagGems could not be switched on: flagos-eval doctor shows its vendor and version",
    ),
    (
        r"does not appear to have a file named|Repository Not Found"
        r"|No such file or directory: \S{0,1000}(?:config\.json|\.safetensors)"
        r"|Error while deserializing header|Invalid repository ID or local directory",
        "the weights are missing or incomplete: flagos-eval doctor --model PATH checks them",
    ),
    (
        r"illegal memory access|Triton Error|no kernel image is available",
        "a kernel failed on this device: with FlagGems on, try without it",
    ),
    (
        r"ModuleNotFoundError: |python\S{0,20}: No module named",
        "the interpreter lacks a package: --server-python names another one",
    ),
)
"""The first of these that is in the log counts: later ones are often its consequences."""
_CALM = re.compile(r"\b(?:DEBUG|INFO|WARNING)\b")
"""Lines that are about what might happen."""


def cause(log: Path, secrets: Sequence[str] = ()) -> Cause | None:
    """Why the server ended; None if its log shows nothing that is known.

    Args:
        log: What it wrote.
        secrets: Of its variables; they are hidden.
    """
    lines = [line for line in _lines(log) if not _CALM.search(line)]
    for pattern, hint in _CAUSES:
        for line in lines:
            if re.search(pattern, line, re.IGNORECASE):
                return Cause(redact(line.strip(), _LINE, also=secrets), hint)
    return None


_TOLD = {
    "server:log_arguments": r"non-default args: (.*)",
    "server:log_engine": r"(Initializing an? .{0,200}engine .{0,200}config: .*)",
    "server:log_attention": r"(Using .{1,60}backend.*)",
    "server:log_flag_gems": r"^(.*(?:flag_gems|FlagGems).*)",
}
"""Fact -> what vLLM and FlagScale write about how they understood their arguments. No pattern may
take longer than a line is long: a server may print a line of megabytes."""


def facts(log: Path, secrets: Sequence[str] = ()) -> tuple[Fact, ...]:
    """What the server wrote about its own settings while it started; `secrets` as for `cause`."""
    lines = _lines(log)
    found: list[Fact] = []
    for name, pattern in _TOLD.items():
        said = [match[1] for line in lines if (match := re.search(pattern, line))]
        if said:
            value = redact("; ".join(dict.fromkeys(said)), _FACT, also=secrets)
            found.append(Fact(name=name, value=value, source="server", verified=True))
    return tuple(found)


def _lines(log: Path) -> list[str]:
    try:
        with log.open("rb") as content:
            content.seek(max(0, content.seek(0, 2) - _READ))
            return content.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []  # whoever asks says that the log cannot be read

"""Calls of the ``docker`` command, and what an image's name means."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ServerStartFailed, UsageError
from ..redact import redact

TIMEOUT = 120.0
"""Seconds for a call that should answer at once."""
_PULL_TIMEOUT = 24 * 3600.0


@dataclass(frozen=True)
class Image:
    """An image as it is on this machine."""

    asked: str
    """As it was named, usually with a tag."""
    reference: str
    """What runs: ``repository@sha256:...``, or the id of an image that no registry has."""
    id: str
    created: str | None


def repository(image: str) -> str:
    """``host:5000/name`` of ``host:5000/name:tag``."""
    name = image.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


def call(arguments: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
    """One call.

    Raises:
        UsageError: there is no docker.
        ServerStartFailed: it did not end in time.
    """
    if shutil.which("docker") is None:
        raise UsageError("there is no docker on the path", hint="--launcher vllm or flagscale")
    try:
        return subprocess.run(
            ["docker", *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise ServerStartFailed(
            f"docker {arguments[0]} did not end within {timeout:g} s", hint="docker ps; docker info"
        ) from error


def resolve(image: str, on_event: Callable[[str], None]) -> Image:
    """What a name means now, pulled if it is not here.

    Raises:
        ServerStartFailed: docker cannot be reached, or has no such image; with its words.
    """
    found = call(["image", "inspect", image], TIMEOUT)
    if found.returncode != 0:
        if not re.search(r"(?i)no such image", found.stderr):
            raise ServerStartFailed(
                f"docker cannot be used: {said(found)}",
                hint="is its daemon running, and may this user talk to it? docker info",
            )
        on_event(f"pulling {image}")
        pulled = call(["pull", image], _PULL_TIMEOUT)
        if pulled.returncode != 0:
            raise ServerStartFailed(
                f"docker cannot pull {image}: {said(pulled)}",
                hint="docker login, or docker load a saved image",
            )
        found = call(["image", "inspect", image], TIMEOUT)
    entry = described(found, f"image {image}")
    digests = [d for d in entry.get("RepoDigests") or [] if isinstance(d, str)]
    own = [digest for digest in digests if digest.partition("@")[0] == repository(image)]
    image_id, created = str(entry.get("Id")), entry.get("Created")
    return Image(
        asked=image,
        reference=(own or digests or [image_id])[0],
        id=image_id,
        created=created if isinstance(created, str) else None,
    )


def described(found: subprocess.CompletedProcess[str], what: str) -> dict[str, Any]:
    """The one entry of what ``docker inspect`` printed.

    Raises:
        ServerStartFailed: it printed none.
    """
    try:
        entries = json.loads(found.stdout) if found.returncode == 0 else None
    except (ValueError, RecursionError):
        entries = None
    if not (isinstance(entries, list) and entries and isinstance(entries[0], dict)):
        raise ServerStartFailed(f"docker does not describe {what}: {said(found)}")
    return dict(entries[0])


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The last line of what docker printed, where its errors are."""
    lines = (done.stderr or done.stdout).strip().splitlines()
    return redact(lines[-1], 300) if lines else f"status {done.returncode}"

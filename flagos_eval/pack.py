"""A run in one file that moves: a zip of the run, what belongs to it, and SHA256SUMS."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from .archive import IMAGES, RUN, SUMS
from .errors import UsageError
from .records import Run, sha256_hex
from .samples import read_stored
from .store import atomic_write

_EPOCH = (1980, 1, 1, 0, 0, 0)  # equal contents make equal packs


def write(
    run: Run, run_path: Path, out: Path, *, images: Mapping[str, bytes] | None = None
) -> list[str]:
    """Bundle a run and return the names of the members.

    Args:
        run: The run.
        run_path: Where its file and what belongs to it are.
        out: The pack, ending in ``.zip``.
        images: Image bytes by SHA-256, for a machine that has no copy of the dataset.

    Raises:
        FileError: something that belongs to the run is missing, or `out` cannot be written.
        CorruptFile: something is not what the run was written with.
        UsageError: something that belongs to the run has a name that a pack needs.
    """
    members = {RUN: run_path.read_bytes()}
    for file in run.files:
        if file.path in (RUN, SUMS) or file.path.startswith(f"{IMAGES}/"):
            raise UsageError(f"{run_path}: a pack has its own {file.path!r}")
        members[file.path] = read_stored(run_path, file)
    for digest, data in sorted((images or {}).items()):
        members[f"{IMAGES}/{digest}"] = data
    sums = "".join(f"{sha256_hex(data)}  {name}\n" for name, data in members.items())
    members[SUMS] = sums.encode("utf-8")
    with atomic_write(out) as target, zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            stored = name.endswith(".gz") or name.startswith(IMAGES)
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return list(members)

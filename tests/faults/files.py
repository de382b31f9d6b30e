"""What is wrong with disks, files and data."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from .place import CONCURRENCY, TASK, Place, Said, ended
from .processes import signalled
from .scenario import EVERYTHING, NOTHING, SOME, Scenario

BALLAST = "ballast"
KIB = 1024
# A limit on the size of a file ends a write as a full disk does, and needs no rights.
LIMITED = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.argv[0] = "flagos-eval"
from flagos_eval import cli
cli.main()
"""


def mounted(folder: Path, *options: str) -> bool:
    """Whether a small disk in memory could be mounted there."""
    if shutil.which("mount") is None:
        return False
    command = ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def unmount(folder: Path) -> None:
    """Take the disk away."""
    subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def disk_full(free: int) -> Callable[[Place], Said]:
    """A disk with so many bytes left; without the right to mount one, files of so many bytes."""

    def act(place: Place) -> Said:
        if not mounted(place.results, "-o", "size=1m"):
            place.means.append("by a limit on the size of files")
            arguments = place.command()[3:]
            return ended([sys.executable, "-c", LIMITED, str(free), *arguments])
        place.means.append("on a tmpfs")
        place.closing.callback(unmount, place.results)
        (place.results / BALLAST).write_bytes(bytes(KIB * KIB - free))
        return place.run()

    return act


def make_room(place: Place) -> None:
    """Delete what filled the disk."""
    (place.results / BALLAST).unlink(missing_ok=True)


def read_only(place: Place) -> Said:
    """A folder that cannot be written: root may write whatever the mode says, but not to a
    read-only disk."""
    if mounted(place.results, "-o", "ro,size=1m"):
        place.means.append("a read-only tmpfs")
        place.closing.callback(unmount, place.results)
    else:
        place.means.append("mode 555")
        place.results.chmod(0o555)
        if os.access(place.results, os.W_OK):
            place.results.chmod(0o755)
            pytest.skip("root writes to every folder, and may not mount a disk here")
    return place.run()


def writable(place: Place) -> None:
    """It can be written again."""
    if os.path.ismount(place.results):
        command = ["mount", "-o", "remount,rw", str(place.results)]
        subprocess.run(command, check=True, capture_output=True)
    place.results.chmod(0o755)


def edited_by_hand(place: Place) -> Said:
    """One wrong answer of a finished run is made a right one."""
    finished = place.run()
    assert finished.code == 0, finished.text
    data = place.saved["run"] = place.output.read_bytes()
    assert b'"value":0.0' in data
    place.output.write_bytes(data.replace(b'"value":0.0', b'"value":1.0', 1))
    return place.other("verify", "--tasks-dir", str(place.folder), str(place.output))


def text_edited_by_hand(place: Place) -> Said:
    """One answer of a finished run is replaced."""
    finished = place.run()
    assert finished.code == 0, finished.text
    data = place.saved["run"] = place.output.read_bytes()
    assert b'"text":"A"' in data
    place.output.write_bytes(data.replace(b'"text":"A"', b'"text":"B"', 1))
    return place.other("verify", "--tasks-dir", str(place.folder), str(place.output))


def newer_run(place: Place) -> Said:
    """The output is a run file that a newer version wrote."""
    finished = place.run()
    assert finished.code == 0, finished.text
    data = place.saved["run"] = place.output.read_bytes()
    version = json.loads(data)["schema_version"]
    newer = data.replace(b'"schema_version": %d' % version, b'"schema_version": %d' % (version + 1))
    assert newer != data
    place.output.write_bytes(newer)
    said = place.run()
    assert place.output.read_bytes() == newer, "a file of a newer version was changed"
    place.output.write_bytes(data)
    return said


def put_back(place: Place) -> None:
    """The file as it was."""
    place.output.write_bytes(place.saved["run"])


def verified(place: Place) -> Said:
    """The file holds."""
    return place.other("verify", "--tasks-dir", str(place.folder), str(place.output))


def newer_journal(place: Place) -> Said:
    """A run was begun by a newer version."""
    signalled(signal.SIGTERM)(place)
    data = place.saved["journal"] = place.journal.read_bytes()
    head, _, rest = data.partition(b"\n")
    event = json.loads(head[9:])
    event["journal"] += 1
    line = json.dumps(event, separators=(",", ":")).encode()
    changed = b"%08x %s\n" % (zlib.crc32(line), line) + rest
    place.journal.write_bytes(changed)
    said = place.run()
    assert place.journal.read_bytes() == changed, "a journal of a newer version was changed"
    place.journal.write_bytes(data)
    return said


BOMB = """
import struct, zlib

def bomb():
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000000))
    start = b"\\x89PNG\\r\\n\\x1a\\n"
    return start + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
"""


def bomb(place: Place) -> Said:
    """One of the pictures says that it has 60000x60000 pixels."""
    picture = "canvas.png([(0, 0, 0), (255, 255, 255)])"
    assert picture in TASK
    place.write_task(TASK.replace(picture, f"bomb() if index == 5 else {picture}") + BOMB)
    return place.run()


SCENARIOS = (
    Scenario(
        "disk full while journalling",
        "16 KiB left",
        disk_full(16 * KIB),
        74,
        "cannot write run.journal.jsonl",
        SOME,
        mend=make_room,
        dropped=CONCURRENCY,
        fast=True,
    ),
    Scenario(
        "disk full while saving",
        "64 KiB left",
        disk_full(64 * KIB),
        74,
        "cannot write",
        EVERYTHING,
        mend=make_room,
    ),
    Scenario(
        "read-only folder",
        "nothing can be written there",
        read_only,
        74,
        "cannot write",
        NOTHING,
        mend=writable,
    ),
    Scenario(
        "a score edited by hand",
        "a wrong answer of a finished run is made a right one, then `verify`",
        edited_by_hand,
        4,
        "match",
        EVERYTHING,
        mend=put_back,
        again=verified,
    ),
    Scenario(
        "an answer edited by hand",
        "an answer of a finished run is replaced, then `verify`",
        text_edited_by_hand,
        4,
        "match",
        EVERYTHING,
        mend=put_back,
        again=verified,
    ),
    Scenario(
        "run file of a newer version",
        "the output has a higher schema version",
        newer_run,
        2,
        "this flagos-eval reads",
        EVERYTHING,
        again=None,
    ),
    Scenario(
        "journal of a newer version",
        "the journal has a higher version",
        newer_journal,
        2,
        "was begun by a newer version of flagos-eval",
        SOME,
        dropped=CONCURRENCY,
    ),
    Scenario(
        "decompression bomb",
        "a picture that says it has 60000x60000 pixels",
        bomb,
        74,
        "image with too many pixels",
        NOTHING,
        mend=lambda place: place.write_task(),
        fast=True,
    ),
)

"""What is larger than any real input is refused before it is read or unpacked."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import factories
import pytest
from PIL import Image

from flagos_eval import archive, config, facts, images, policy, reply, samples, store, toml_file
from flagos_eval.errors import CorruptFile, DatasetError, FileError
from flagos_eval.records import StoredFile, sha256_hex


def hole(path: Path, size: int) -> Path:
    """A file of that length which takes no room."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


@pytest.mark.parametrize(
    ("read", "size"),
    [
        (store.load, 2 * 2**30 + 1),
        (facts.load, 64 * 2**20 + 1),
        (config.read_toml, 2**20 + 1),
        (lambda path: policy.load(str(path)), 2**20 + 1),
    ],
    ids=["run", "facts", "settings", "policy"],
)
def test_a_file_that_is_too_large_is_refused(
    tmp_path: Path, read: Callable[[Path], object], size: int
) -> None:
    with pytest.raises(FileError, match="is larger than any"):
        read(hole(tmp_path / "x.json", size))


def test_settings_of_the_greatest_length_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"seed = 1\n" + b"#" * (toml_file.MOST_BYTES - 9))
    assert config.read_toml(tmp_path / "x.toml") == {"seed": 1}


def test_a_packs_member_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_MAX_MEMBER", 1000)
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr(archive.SUMS, " " * 1001)
    with pytest.raises(CorruptFile, match="unpacks to 1001 bytes"):
        archive.read_run(path)


def test_samples_that_unpack_to_too_much_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = factories.saved(tmp_path, ("0", "1"))
    monkeypatch.setattr(samples, "_MAX_BYTES", 1000)
    data = gzip.compress(b"\n" * 1001)
    (tmp_path / "x.gz").write_bytes(data)
    stored = StoredFile(kind="samples", path="x.gz", sha256=sha256_hex(data), task="sums")
    run = factories.rebuilt(store.load(path), files=(stored,))
    with pytest.raises(CorruptFile, match="unpacks to more than 1000 bytes"):
        samples.read(run, path, "sums")


def test_a_picture_of_too_many_pixels_is_refused_from_its_head() -> None:
    out = io.BytesIO()
    Image.new("1", (16_000, 16_000)).save(out, "PNG")
    with pytest.raises(DatasetError, match="too many pixels"):
        images.ImageBank().add(out.getvalue, where="row 1")


def test_a_picture_that_another_program_would_be_started_for_is_refused() -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "EPS")
    with pytest.raises(DatasetError, match="not an image"):
        images.ImageBank().add(out.getvalue, where="row 1")


@pytest.mark.parametrize("count", [2**53 + 1, 10**400, -1])
def test_counts_that_no_server_has_are_not_taken_over(count: int) -> None:
    body = b'{"choices":[{"message":{"content":"B"}}],"usage":{"prompt_tokens":%d,' % count
    assert reply.parse_reply(body + b'"completion_tokens":1}}').usage is None

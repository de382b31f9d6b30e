"""A pack moves a run whole, and a stranger's pack can only be read or refused."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest
from factories import png, rebuilt, saved
from hypothesis import given, settings
from hypothesis import strategies as st

from flagos_eval import archive, pack, samples, store
from flagos_eval.errors import (
    EXIT_IO,
    CorruptFile,
    FileError,
    FlagosEvalError,
    InvalidRun,
    UsageError,
)
from flagos_eval.records import StoredFile, sha256_hex


def packed(path: Path, name: str = "run.zip", images: dict[str, bytes] | None = None) -> Path:
    out = path.parent / name
    pack.write(store.load(path), path, out, images=images)
    return out


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def rewritten(path: Path, changes: dict[str, bytes | None]) -> Path:
    """The pack with members replaced, added or, with None, left out."""
    content = {k: v for k, v in (members(path) | changes).items() if v is not None}
    with zipfile.ZipFile(path, "w") as out:
        for name, data in content.items():
            out.writestr(name, data)
    return path


def sums(content: dict[str, bytes]) -> bytes:
    return "".join(f"{sha256_hex(data)}  {name}\n" for name, data in content.items()).encode()


def damaged(path: Path) -> str:
    with pytest.raises(CorruptFile) as caught:
        store.load(path)
    assert caught.value.exit_code == EXIT_IO
    assert str(path) in caught.value.message
    return caught.value.message


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(tmp_path)


# --- Packing --------------------------------------------------------------------------------------


def test_the_run_in_a_pack_is_the_run(path: Path) -> None:
    assert store.load(packed(path)) == store.load(path)


def test_the_samples_in_a_pack_are_the_samples(path: Path, tmp_path: Path) -> None:
    moved = packed(path).rename(tmp_path / "moved.zip")
    loaded = store.load(path)
    assert samples.read(loaded, moved, "sums") == samples.read(loaded, path, "sums")


def test_every_byte_in_a_pack_is_that_of_its_file(path: Path) -> None:
    held = members(packed(path))
    sidecar = store.load(path).files[0].path
    assert held["run.json"] == path.read_bytes()
    assert held[sidecar] == (path.parent / sidecar).read_bytes()


def test_the_sums_can_be_checked_by_other_tools(path: Path) -> None:
    held = members(packed(path))
    listed = held.pop("SHA256SUMS")
    assert listed == sums(held)


def test_equal_packs_are_equal_bytes(path: Path) -> None:
    assert packed(path, "a.zip").read_bytes() == packed(path, "b.zip").read_bytes()


def test_images_travel_only_when_they_are_given(path: Path) -> None:
    assert archive.image_names(packed(path)) == set()


def test_images_that_are_given_travel_as_they_are(path: Path) -> None:
    data = png(0, 0, 0)
    out = packed(path, images={sha256_hex(data): data})
    assert archive.image_names(out) == {sha256_hex(data)}
    assert archive.read_member(out, f"images/{sha256_hex(data)}") == data
    assert store.load(out) == store.load(path)


def test_the_order_in_which_images_are_given_changes_nothing(path: Path) -> None:
    held = {sha256_hex(png(i)): png(i) for i in range(3)}
    other = dict(reversed(held.items()))
    assert packed(path, "a.zip", held).read_bytes() == packed(path, "b.zip", other).read_bytes()


def test_a_damaged_sidecar_is_not_packed(path: Path) -> None:
    loaded = store.load(path)
    (path.parent / loaded.files[0].path).write_bytes(b"damaged")
    with pytest.raises(CorruptFile, match="is not the file"):
        pack.write(loaded, path, path.with_suffix(".zip"))
    assert not path.with_suffix(".zip").exists()


def test_a_missing_sidecar_is_not_passed_over(path: Path) -> None:
    loaded = store.load(path)
    (path.parent / loaded.files[0].path).unlink()
    with pytest.raises(FileError, match="cannot read"):
        pack.write(loaded, path, path.with_suffix(".zip"))


@pytest.mark.parametrize("name", ["run.json", "SHA256SUMS", "images/" + "0" * 64])
def test_nothing_that_belongs_to_a_run_takes_the_place_of_a_packs_own(
    path: Path, name: str
) -> None:
    impostor = path.parent / name
    original = store.load(path)
    impostor.parent.mkdir(exist_ok=True)
    if not impostor.exists():
        impostor.write_bytes(b"x")
    file = StoredFile(kind="log", path=name, sha256=sha256_hex(impostor.read_bytes()))
    strange = rebuilt(original, files=(*original.files, file))
    with pytest.raises(UsageError, match="a pack has its own"):
        pack.write(strange, path, path.with_suffix(".zip"))


# --- Reading a stranger's -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run.json", "SHA256SUMS"])
def test_a_missing_member_is_named(path: Path, name: str) -> None:
    assert name in damaged(rewritten(packed(path), {name: None}))


def test_a_missing_sidecar_is_named(path: Path) -> None:
    name = store.load(path).files[0].path
    assert name in damaged(rewritten(packed(path), {name: None}))


def test_an_altered_run_is_found(path: Path) -> None:
    other = path.read_bytes().replace(b"wrong", b"right")
    assert "run.json" in damaged(rewritten(packed(path), {"run.json": other}))


def test_an_altered_sidecar_is_found(path: Path) -> None:
    name = store.load(path).files[0].path
    assert name in damaged(rewritten(packed(path), {name: b"altered"}))


def test_an_added_member_is_found(path: Path) -> None:
    assert "extra.txt" in damaged(rewritten(packed(path), {"extra.txt": b""}))


def test_a_member_that_is_there_twice_is_found(path: Path) -> None:
    out = packed(path)
    with zipfile.ZipFile(out, "a") as opened, pytest.warns(UserWarning, match="Duplicate"):
        opened.writestr("run.json", path.read_bytes())
    assert "twice" in damaged(out)


@pytest.mark.parametrize("listed", [b"", b"x", b"0" * 64 + b" run.json\n", b"\xff\n", b"\n"])
def test_damaged_sums_are_found(path: Path, listed: bytes) -> None:
    damaged(rewritten(packed(path), {"SHA256SUMS": listed}))


def test_a_pack_without_a_run_is_refused(path: Path) -> None:
    assert "run.json" in damaged(
        rewritten(packed(path), {"run.json": None, **_only({"a": b""}, path)})
    )


def _only(content: dict[str, bytes], path: Path) -> dict[str, bytes | None]:
    left_out: dict[str, bytes | None] = dict.fromkeys(members(packed(path, "other.zip")))
    return left_out | content | {"SHA256SUMS": sums(content)}


def test_a_name_that_leads_outside_is_only_a_name(path: Path) -> None:
    content = {k: v for k, v in members(packed(path)).items() if k != "SHA256SUMS"}
    content["../../evil"] = b"evil"
    out = rewritten(packed(path), {**content, "SHA256SUMS": sums(content)})
    before = sorted(path.parent.parent.rglob("*"))
    assert store.load(out) == store.load(path)
    assert sorted(path.parent.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["", ".", "/", "images", "images/", "images/a/b", "../images/x"])
def test_only_images_count_as_images(path: Path, name: str) -> None:
    out = packed(path)
    with zipfile.ZipFile(out, "a") as opened:
        opened.writestr(zipfile.ZipInfo(name), b"")
    assert archive.image_names(out) == set()


@pytest.mark.parametrize(
    "data", [b"", b"PK", b"not a zip", b"PK\5\6" + b"\0" * 18, b"PK\5\6" + b"\xff" * 18]
)
def test_what_is_no_zip_is_refused(path: Path, data: bytes) -> None:
    out = path.with_suffix(".zip")
    out.write_bytes(data)
    damaged(out)


def test_a_member_that_says_it_is_huge_is_not_unpacked(path: Path) -> None:
    out = packed(path)
    data = bytearray(out.read_bytes())
    entry = data.index(
        b"PK\x01\x02"
    )  # central directory: the size lies 24 bytes in (APPNOTE 4.3.12)
    while data[entry + 46 : entry + 54] != b"run.json":
        entry = data.index(b"PK\x01\x02", entry + 1)
    data[entry + 24 : entry + 28] = struct.pack("<I", 0xFFFFFFFE)
    out.write_bytes(data)
    assert "unpacks to 4294967294 bytes" in damaged(out)


def test_a_member_in_an_unknown_compression_is_refused(path: Path) -> None:
    out = packed(path)
    data = out.read_bytes().replace(b"\x08\x00\x00\x00\x21\x00", b"\x63\x00\x00\x00\x21\x00")
    out.write_bytes(data)
    assert "compression method is not supported" in damaged(out)


def test_an_encrypted_member_is_refused(path: Path) -> None:
    out = packed(path)
    data = bytearray(out.read_bytes())
    for sign, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(sign) + offset] |= 1
    out.write_bytes(data)
    assert "run.json" in damaged(out)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_change_of_a_pack_is_more_than_an_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "changed"
    if not folder.is_dir():
        packed(saved(folder))
    path = folder / "run.json"
    out = folder / "changed.zip"
    changed = bytearray((folder / "run.zip").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    out.write_bytes(changed)
    try:
        assert store.load(out) == store.load(path)
    except FlagosEvalError as error:
        assert error.exit_code == EXIT_IO


def test_a_pack_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no file"):
        store.load(tmp_path / "none.zip")


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil"])
def test_a_run_that_names_a_member_outside_is_refused(path: Path, name: str) -> None:
    out = packed(path)
    sidecar = store.load(path).files[0].path
    content = {k: v for k, v in members(out).items() if k not in ("SHA256SUMS", sidecar)}
    content["run.json"] = content["run.json"].replace(sidecar.encode(), name.encode())
    content[name] = members(out)[sidecar]
    rewritten(out, {sidecar: None, **content, "SHA256SUMS": sums(content)})
    with pytest.raises(InvalidRun, match="not a path below"):
        store.load(out)

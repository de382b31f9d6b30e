"""From a benchmark's rows to samples: the images are the dataset's own bytes, and whatever is wrong
with the data is said before anything is asked."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flagos_eval.dataset import Items, Source, check, load, size
from flagos_eval.errors import DatasetError, UsageError
from flagos_eval.images import BankedRow, ImageBank
from flagos_eval.records import ImagePart, Sample, TextPart, sha256_hex
from flagos_eval.task import GeneratedDataset, HubDataset, Judgement, Prompt, Row, Scorer, Task


def picture(kind: str, shade: int = 0, mode: str = "RGB", side: int = 16) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (side, side), shade).save(out, kind)
    return out.getvalue()


def to_sample(row: Row) -> Sample:
    return Sample.create(
        task="local",
        id=str(row["id"]),
        input=(row.image("image"), TextPart(text=row["question"].strip())),
        target=row["answer"],
    )


def rows_of(n: int, **changes: Any) -> list[dict[str, Any]]:
    return [
        {"id": i, "question": f"What is {i}?", "answer": "A", "image": f"images/{i}.png"} | changes
        for i in range(n)
    ]


def task_of(dataset: HubDataset | GeneratedDataset) -> Task:
    return Task(
        name="local",
        version=1,
        title="A benchmark in a folder",
        dataset=dataset,
        to_sample=to_sample,
        prompts=(Prompt("plain", 1, lambda sample: sample.input, "here"),),
        scorers=(Scorer("official", 1, lambda sample, text: Judgement(None, 0.0), "here"),),
    )


class Folder:
    """A local copy of a benchmark."""

    def __init__(self, root: Path, n: int = 4) -> None:
        self.root, self.rows = root, rows_of(n)
        (root / "images").mkdir(parents=True)
        for index in range(n):
            self.put(f"images/{index}.png", picture("PNG", index))

    def put(self, name: str, data: bytes) -> None:
        (self.root / name).write_bytes(data)

    def read(self, folder: Path, split: str) -> Iterable[Mapping[str, Any]]:
        assert folder == self.root
        return self.rows

    def task(self, **changes: Any) -> Task:
        sizes = {"test": len(self.rows), "mini": len(self.rows)}
        fields = ("id", "question", "answer", "image")
        dataset = HubDataset(repo="us/local", split="test", n=sizes, fields=fields, local=self.read)
        return task_of(replace(dataset, **changes))

    def load(self, **source: Any) -> Items:
        return load(self.task(), Source(data_dir=self.root, **source))

    def refused(self) -> DatasetError:
        with pytest.raises(DatasetError) as caught:
            self.load()
        assert "\n" not in caught.value.message
        return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "data")


def image_of(items: Items, index: int = 0) -> ImagePart:
    return items.samples[index].images[0]


# --- A local folder -------------------------------------------------------------------------------


def test_a_local_folder_gives_its_items_in_order(folder: Folder) -> None:
    items = folder.load()
    assert [sample.id for sample in items.samples] == ["0", "1", "2", "3"]
    assert (items.record.origin, items.record.n, items.preview) == ("local", 4, False)


def test_a_folder_named_as_the_task_is_found_below_the_data_folder(tmp_path: Path) -> None:
    inner = Folder(tmp_path / "local")
    assert load(inner.task(), Source(data_dir=tmp_path)).record.n == 4


def test_an_image_is_measured_and_named_by_its_bytes(folder: Folder) -> None:
    part = image_of(folder.load())
    data = (folder.root / "images" / "0.png").read_bytes()
    assert part == ImagePart(
        sha256=sha256_hex(data), media_type="image/png", width=16, height=16, size=len(data)
    )


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [
        ("PNG", "image/png"),
        ("JPEG", "image/jpeg"),
        ("MPO", "image/jpeg"),
        ("WEBP", "image/webp"),
        ("GIF", "image/gif"),
    ],
)
def test_what_servers_can_read_is_sent_byte_for_byte(
    folder: Folder, kind: str, media_type: str
) -> None:
    data = picture(kind)
    folder.put("images/0.png", data)
    items = folder.load()
    part = image_of(items)
    assert items.bank.read(part) == data
    assert (part.media_type, part.converted_from) == (media_type, None)


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "PPM"])
def test_what_servers_cannot_read_is_converted_and_that_is_recorded(
    folder: Folder, kind: str
) -> None:
    folder.put("images/0.png", picture(kind, 0x336699))
    items = folder.load()
    part = image_of(items)
    data = items.bank.read(part)
    assert (part.media_type, part.converted_from) == ("image/png", f"image/{kind.lower()}")
    assert (part.sha256, part.size) == (sha256_hex(data), len(data))
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG" and image.getpixel((0, 0)) == (0x99, 0x66, 0x33)


def test_an_image_is_read_again_when_it_is_sent(folder: Folder) -> None:
    items = folder.load()
    folder.put("images/0.png", picture("PNG", 99))
    with pytest.raises(DatasetError, match="changed while the run was going on"):
        items.bank.read(image_of(items))


def test_an_image_that_was_never_there_is_not_at_hand(folder: Folder) -> None:
    part = image_of(folder.load()).model_copy(update={"sha256": "0" * 64})
    assert part not in ImageBank()
    with pytest.raises(DatasetError, match="0000 is at hand"):
        ImageBank().read(part)


def test_files_that_are_links_are_read_as_in_the_cache_of_the_hub(
    folder: Folder, tmp_path: Path
) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(picture("JPEG"))
    (folder.root / "images" / "0.png").unlink()
    (folder.root / "images" / "0.png").symlink_to(blob)
    assert image_of(folder.load()).media_type == "image/jpeg"


# --- What is wrong with it ------------------------------------------------------------------------


def test_a_data_folder_that_does_not_exist_is_named(folder: Folder) -> None:
    with pytest.raises(DatasetError, match="/nowhere does not exist"):
        load(folder.task(), Source(data_dir=Path("/nowhere")))


def test_a_missing_image_is_named_with_the_next_step(folder: Folder) -> None:
    (folder.root / "images" / "2.png").unlink()
    error = folder.refused()
    assert str(folder.root / "images" / "2.png") in error.message
    assert "--split" in str(error.hint)


@pytest.mark.parametrize(
    "name",
    [
        "../outside.png",
        "images/../../outside.png",
        "/etc/hostname",
        "images/../../data-elsewhere/0.png",
        "..",
        "images/0.png\0.txt",
    ],
)
def test_a_path_out_of_the_folder_is_refused(folder: Folder, name: str) -> None:
    (folder.root.parent / "outside.png").write_bytes(picture("PNG"))
    folder.rows[1]["image"] = name
    assert "outside the data folder" in folder.refused().message


@pytest.mark.parametrize("value", [None, 5, ["images/0.png"], {}, {"bytes": None, "path": None}])
def test_an_image_field_without_an_image_is_refused(folder: Folder, value: Any) -> None:
    folder.rows[1]["image"] = value
    assert folder.refused().message == "local row 1, field 'image': no image there"


@pytest.mark.parametrize(
    "data",
    [b"", b"version https://git-lfs.github.com/spec/v1\n", b"\x89PNG\r\n\x1a\n", b"GIF89a"],
)
def test_a_file_that_is_no_image_is_refused_by_its_row(folder: Folder, data: bytes) -> None:
    folder.put("images/2.png", data)
    assert folder.refused().message.startswith("local row 2, field 'image': ")


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PPM"])
def test_a_cut_image_that_must_be_converted_is_refused_by_its_row(
    folder: Folder, kind: str
) -> None:
    data = picture(kind, side=64)
    folder.put("images/2.png", data[:2000] if kind != "TIFF" else data[:-200])
    assert folder.refused().message.startswith("local row 2, field 'image': ")


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_decompression_bomb_is_refused_in_one_sentence(folder: Folder, side: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    bomb = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    folder.put("images/2.png", b"\x89PNG\r\n\x1a\n" + bomb)
    assert "local row 2, field 'image': image with too many pixels" in folder.refused().message


def test_a_wrong_number_of_items_is_refused(folder: Folder) -> None:
    folder.rows.append(folder.rows[0] | {"id": 99})
    with pytest.raises(DatasetError, match="5 items in split 'test', the benchmark has 4"):
        load(folder.task(n={"test": 4}), Source(data_dir=folder.root))


def test_a_missing_field_names_what_there_is(folder: Folder) -> None:
    folder.rows = [{k: v for k, v in row.items() if k != "answer"} for row in folder.rows]
    error = folder.refused()
    assert error.message == "local: the data has no field answer; it has id, question, image"
    assert "revision" in str(error.hint)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"question": None}, "row 2 is not of the documented shape (AttributeError"),
        ({"question": 5}, "row 2 is not of the documented shape (AttributeError"),
        ({"answer": 5}, "row 2 is not of the documented shape (TypeError"),
        ({"answer": None}, "row 2 is not of the documented shape (TypeError"),
    ],
)
def test_a_row_of_another_shape_is_named(
    folder: Folder, changes: dict[str, Any], said: str
) -> None:
    folder.rows[2] |= changes
    with pytest.raises(DatasetError) as caught:
        folder.load()
    assert said in caught.value.message


def test_an_id_that_is_there_twice_is_refused(folder: Folder) -> None:
    folder.rows[3]["id"] = 1
    assert folder.refused().message == "local: id '1' is there twice"


def test_a_split_that_the_benchmark_does_not_have_is_refused_with_those_it_has(
    folder: Folder,
) -> None:
    with pytest.raises(UsageError, match=r"no split 'train'; it has test, mini"):
        folder.load(split="train")


# --- Fewer items ----------------------------------------------------------------------------------


def generated(order: Iterable[int]) -> Task:
    rows = rows_of(50)
    for row in rows:
        row["image"] = picture("PNG", row["id"])
    dataset = GeneratedDataset("us/made", {"test": 50}, lambda split: (rows[i] for i in order))
    return task_of(dataset)


def test_a_limit_picks_the_same_items_whatever_their_order() -> None:
    forwards = load(generated(range(50)), Source(limit=7))
    backwards = load(generated(range(49, -1, -1)), Source(limit=7))
    assert {s.id for s in forwards.samples} == {s.id for s in backwards.samples}


def test_a_larger_limit_keeps_the_items_of_a_smaller_one() -> None:
    few, more = (load(generated(range(50)), Source(limit=n)).samples for n in (7, 20))
    assert {s.id for s in few} < {s.id for s in more}


def test_a_limit_does_not_pick_the_first_items_and_keeps_the_order() -> None:
    ids = [int(s.id) for s in load(generated(range(50)), Source(limit=7)).samples]
    assert ids == sorted(ids) and ids != list(range(7))


def test_a_limit_makes_a_preview_and_another_fingerprint() -> None:
    all_items, few = (
        load(generated(range(50)), Source()),
        load(generated(range(50)), Source(limit=7)),
    )
    assert (all_items.preview, few.preview, few.record.n) == (False, True, 7)
    assert all_items.record.fingerprint != few.record.fingerprint


def test_another_split_makes_a_preview(folder: Folder) -> None:
    assert folder.load(split="mini").preview


def test_the_fingerprint_follows_from_the_items_alone(folder: Folder, tmp_path: Path) -> None:
    other = Folder(tmp_path / "elsewhere")
    assert folder.load().record.fingerprint == other.load().record.fingerprint
    other.put("images/0.png", picture("PNG", 77))
    assert folder.load().record.fingerprint != other.load().record.fingerprint


# --- The hub's own format -------------------------------------------------------------------------

ORIGINALS = [picture(kind, 40 * i) for i, kind in enumerate(("PNG", "JPEG", "WEBP", "GIF", "BMP"))]


@pytest.fixture
def hub_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset as it is on the hub: Parquet with the images inside."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = rows_of(len(ORIGINALS))
    for row, data in zip(rows, ORIGINALS, strict=True):
        row["image"] = {"bytes": data, "path": f"{row['id']}.png"}
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    features = datasets.Features(
        {
            "id": datasets.Value("int64"),
            "question": datasets.Value("string"),
            "answer": datasets.Value("string"),
            "image": datasets.Image(),
        }
    )
    table = datasets.Dataset.from_dict(columns, features=features)
    folder = tmp_path / "repository"
    (folder / "data").mkdir(parents=True)
    table.to_parquet(folder / "data" / "test-00000-of-00001.parquet")
    return folder


def hub_task(folder: Path, **changes: Any) -> Task:
    dataset = HubDataset(
        repo=str(folder),
        split="test",
        n={"test": len(ORIGINALS)},
        fields=("id", "question", "answer", "image"),
    )
    return task_of(replace(dataset, **changes))


def test_images_of_a_hub_dataset_are_exactly_the_original_bytes(hub_folder: Path) -> None:
    items = load(hub_task(hub_folder), Source())
    found = [items.bank.read(sample.images[0]) for sample in items.samples]
    assert found[:4] == ORIGINALS[:4]
    assert [s.images[0].converted_from for s in items.samples] == [None] * 4 + ["image/bmp"]


def test_a_hub_dataset_is_recorded_as_one(hub_folder: Path) -> None:
    record = load(hub_task(hub_folder), Source()).record
    assert (record.origin, record.id, record.split) == ("hub", str(hub_folder), "test")


def test_a_hub_dataset_without_a_field_names_what_there_is(hub_folder: Path) -> None:
    with pytest.raises(DatasetError, match="no field level; it has id, question, answer, image"):
        load(hub_task(hub_folder, fields=("level",)), Source())


def test_a_hub_dataset_that_cannot_be_loaded_says_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        load(hub_task(tmp_path / "none"), Source())
    assert "cannot load" in caught.value.message and "--data-dir" in str(caught.value.hint)


def test_a_hub_that_is_out_of_reach_is_said_in_one_sentence(tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "flagos_eval", "run", "-t", "mathvision", "--dry-run"]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "run.json")],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 74
    error, hint = done.stderr.splitlines()
    assert "MathLLMs/MathVision" in error and "(offline mode is on)" in error
    assert "flagos-eval fetch --tasks mathvision --to DIR" in hint


# --- Before anything is loaded --------------------------------------------------------------------


def test_data_that_is_there_passes_the_check(folder: Folder, hub_folder: Path) -> None:
    check(folder.task(), Source(data_dir=folder.root))
    check(hub_task(hub_folder), Source(data_dir=hub_folder))


def test_a_missing_folder_is_found_by_the_check(folder: Folder) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        check(folder.task(), Source(data_dir=folder.root / "elsewhere"))


def test_a_missing_split_is_found_by_the_check(hub_folder: Path) -> None:
    for path in hub_folder.rglob("*.parquet"):
        path.rename(path.with_name("other.parquet"))
    with pytest.raises(DatasetError, match="has no parquet file of split"):
        check(hub_task(hub_folder), Source(data_dir=hub_folder))


def test_a_folder_without_tables_is_found_by_the_check(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there are no parquet files"):
        check(hub_task(tmp_path), Source(data_dir=tmp_path))


def test_a_first_row_without_a_field_is_found_by_the_check(folder: Folder) -> None:
    del folder.rows[0]["answer"]
    with pytest.raises(DatasetError, match="has no field answer"):
        check(folder.task(), Source(data_dir=folder.root))


def test_the_check_reads_no_image(folder: Folder) -> None:
    for path in (folder.root / "images").iterdir():
        path.unlink()
    check(folder.task(), Source(data_dir=folder.root))


@pytest.mark.parametrize(("limit", "n"), [(None, 4), (3, 3), (9, 4)])
def test_the_size_that_is_told_is_that_which_is_loaded(
    folder: Folder, limit: int | None, n: int
) -> None:
    source = Source(data_dir=folder.root, limit=limit)
    assert size(folder.task(), source) == n == len(load(folder.task(), source).samples)


# --- Reading no more than needed ------------------------------------------------------------------


def test_an_image_that_came_with_its_row_is_not_read_again_before_it_is_sent() -> None:
    bank, data, read = ImageBank(), picture("PNG"), list[str]()

    def refetch(field: str) -> bytes:
        read.append(field)
        return data

    row = BankedRow({"image": {"bytes": data, "path": None}}, bank, "row 0", refetch=refetch)
    part = row.image("image")
    assert read == []
    assert bank.read(part) == data
    assert read == ["image"]


def test_questions_about_one_figure_have_the_same_image() -> None:
    bank, data = ImageBank(), picture("BMP")
    values = {"image": {"bytes": data, "path": None}}
    rows = [BankedRow({**values, "number": n}, bank, "row 0") for n in range(3)]
    one, *others = (row.image("image") for row in rows)
    assert others == [one, one]
    assert sha256_hex(bank.read(one)) == one.sha256


def test_the_next_figure_has_an_image_of_its_own() -> None:
    bank = ImageBank()
    first, second = (bank.add(lambda n=n: picture("PNG", n), where="x") for n in range(2))
    assert first != second

"""The twelve benchmarks of the release table at their full size, in the schema of the hub, with
invented items: what no test may download."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from factories import png

from flagos_eval.catalog import load_task
from tasks import (
    test_blink,
    test_charxiv,
    test_cii_bench,
    test_cmmmu,
    test_mathverse,
    test_mathvision,
    test_mm_vet_v2,
    test_mmmu,
    test_mmmu_pro,
    test_ocrlite,
)

VERSIONS = ("Text Dominant", "Text Lite", "Vision Intensive", "Vision Dominant", "Vision Only")
Rows = Iterator[dict[str, Any]]


def picture(number: int) -> dict[str, Any]:
    """An image that no other number has."""
    return {"bytes": png(number % 256, number // 256 % 256, number // 65536), "path": None}


def blink(config: str, n: int) -> Rows:
    """One sub-task."""
    place = sum(map(ord, config))
    for number in range(1, n + 1):
        images = 1 + (place + number) % 4
        held = {f"image_{k}": picture(place * 1000 + 4 * number + k) for k in range(1, images + 1)}
        id = f"val_{config}_{number}"
        yield test_blink.row(images=images, idx=id, sub_task=config) | held


def charxiv() -> Rows:
    """Figures, each with one question to reason about and four to describe."""
    for n in range(1000):
        yield test_charxiv.figure(image=picture(n), figure_path=f"images/{n}.jpg")


def cii_bench() -> Rows:
    """Chinese images with six readings."""
    for n in range(1, 766):
        changes = {"id": f"test-{n}", "local_path": f"images/test/test-{n}.jpg"}
        yield test_cii_bench.row(**changes, explanation=f"{n}", image=picture(n))


def cmmmu() -> Rows:
    """Choices, statements and blanks in turn."""
    kinds = (("选择", "B"), ("判断", "对"), ("填空", "二"))
    for n in range(900):
        kind, answer = kinds[n % 3]
        yield test_cmmmu.hub_row(kind, answer=answer, id=str(n), images=1)


def mathverse() -> Rows:
    """Problems, each in five versions."""
    for n in range(3940):
        free = {"question": "Find x.", "question_type": "free-form", "answer": "2.5"}
        changes = {"sample_index": str(n + 1), "problem_index": str(n // 5 + 1)}
        yield test_mathverse.row(
            **changes,
            problem_version=VERSIONS[n % 5],
            image=picture(n),
            **(free if n // 5 % 2 else {}),
        )


def mathvision() -> Rows:
    """Choices and values in turn."""
    for n in range(1, 3041):
        options = [] if n % 2 else ["1", "2", "3", "4", "5"]
        answer = "7" if n % 2 else "C"
        row = test_mathvision.hub_row("7", "How many?\n<image1>", answer, options)
        yield row | {"id": str(n), "decoded_image": picture(n)}


def mm_vet_v2() -> Rows:
    """Questions with one or two images."""
    for n in range(517):
        second = n % 2 == 0
        question = "Which?<IMG><image_0>" + ("<IMG><image_1>" if second else "")
        images = {f"image_{k}": picture(n + 1000 * k) for k in range(1 + second)}
        yield test_mm_vet_v2.row(question, id=f"v2_{n}", **images)


def mmmu() -> Rows:
    """Questions of thirty subjects."""
    for n in range(900):
        id = f"validation_Subject{n // 30}_{n % 30 + 1}"
        row = test_mmmu.hub_row(id, "Compare <image 1> with <image 2>.", images=2)
        yield row | {"image_1": picture(n), "image_2": picture(n + 5000)}


def mmmu_pro(vision: bool) -> Rows:
    """The same questions in both settings; some are MMMU's."""
    for n in range(1730):
        part = "validation" if n < 577 else "test"
        id = f"{part}_Subject{n // 30}_{n % 30 + 1}"
        if vision:
            yield test_mmmu_pro.vision_row(id=id) | {"image": picture(n)}
        else:
            yield test_mmmu_pro.standard_row(id=id) | {"image_1": picture(n)}


def ocrlite() -> Rows:
    """Texts to be read."""
    for n in range(1000):
        yield test_ocrlite.english(image=picture(n), answer=[f"WORD{n}"])


def ocrlite_zh() -> Rows:
    """Chinese texts to be read."""
    n_items = load_task("ocrlite_zh").dataset.n["test"]
    assert n_items is not None
    for n in range(n_items):
        yield test_ocrlite.chinese(image=picture(n), id=n)


SIZES = {
    "Art_Style": 117,
    "Functional_Correspondence": 130,
    "Multi-view_Reasoning": 133,
    "Relative_Reflectance": 134,
    "Visual_Correspondence": 172,
    "Counting": 120,
    "IQ_Test": 150,
    "Object_Localization": 122,
    "Semantic_Correspondence": 139,
    "Visual_Similarity": 135,
    "Forensic_Detection": 132,
    "Jigsaw": 150,
    "Relative_Depth": 124,
    "Spatial_Relation": 143,
}
"""Items of BLINK's sub-tasks (its README); 1901 together."""


def write_all(root: Path, kilobytes: int = 0) -> None:
    """Every benchmark below ``root/<task>``, its pictures larger by so much."""
    write(root / "charxiv/data/validation.parquet", charxiv(), kilobytes)
    write(root / "cii_bench/data/test.parquet", cii_bench(), kilobytes)
    write(root / "cmmmu/data/val.parquet", cmmmu(), kilobytes)
    write(root / "mathverse/testmini.parquet", mathverse(), kilobytes)
    write(root / "mathvision/data/test.parquet", mathvision(), kilobytes)
    write(root / "mm_vet_v2/data/test.parquet", mm_vet_v2(), kilobytes)
    write(root / "mmmu/data/validation.parquet", mmmu(), kilobytes)
    write(root / "mmmu_pro/standard (10 options)/test.parquet", mmmu_pro(vision=False), kilobytes)
    write(root / "mmmu_pro/vision/test.parquet", mmmu_pro(vision=True), kilobytes)
    write(root / "ocrlite/data/test.parquet", ocrlite(), kilobytes)
    write(root / "ocrlite_zh/data/test.parquet", ocrlite_zh(), kilobytes)
    for config, n in SIZES.items():
        write(root / f"blink/{config}/val.parquet", blink(config, n), kilobytes)


def write(path: Path, rows: Rows, kilobytes: int) -> None:
    """Rows as a parquet file whose images are images, as the hub has them."""
    import datasets

    found = [_padded(row, kilobytes) for row in rows]
    found.sort(key=lambda row: -sum(value is not None for value in row.values()))
    table = datasets.Dataset.from_list(found)
    for name, value in found[0].items():
        if isinstance(value, dict) and "bytes" in value:
            table = table.cast_column(name, datasets.Image(decode=False))
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(str(path))


def _padded(row: dict[str, Any], kilobytes: int) -> dict[str, Any]:
    """A row whose pictures have so many bytes more behind their end, which readers pass over."""

    def padded(value: Any) -> Any:
        if not isinstance(value, dict) or "bytes" not in value:
            return value
        data: bytes = value["bytes"]
        return {**value, "bytes": data + hashlib.shake_128(data).digest(1024 * kilobytes)}

    return {name: padded(value) for name, value in row.items()} if kilobytes else row

"""A task of any number of items, each with an image file of its own, for `scale.py`."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flagos_eval.records import Sample, TextPart
from flagos_eval.task import HubDataset, Judgement, Prompt, Row, Scorer, Task

_FOLDERS = 1000


def make(folder: Path, n: int) -> None:
    """Write `n` different JPEG files: one picture with a comment of their own."""
    from PIL import Image

    out = io.BytesIO()
    pixels = bytes(i * i % 251 for i in range(3 * 64 * 64))
    Image.frombytes("RGB", (64, 64), pixels).save(out, format="JPEG", quality=90)
    picture = out.getvalue()
    for index in range(n):
        path = folder / _name(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        comment = b"%012d" % index
        # After the two bytes that every JPEG begins with.
        marked = b"\xff\xfe\x00\x0e" + comment
        path.write_bytes(picture[:2] + marked + picture[2:])
    (folder / "n").write_text(str(n), encoding="ascii")


def _name(index: int) -> str:
    return f"images/{index // _FOLDERS}/{index}.jpg"


def read_local(folder: Path, split: str) -> Iterator[Mapping[str, Any]]:
    """A row for each file that `make` wrote."""
    for index in range(int((folder / "n").read_text(encoding="ascii"))):
        yield {"id": str(index), "image": _name(index)}


def to_sample(row: Row) -> Sample:
    """A question of the length of a real one."""
    return Sample.create(
        task="many",
        id=row["id"],
        input=(row.image("image"), TextPart(text=f"Question {row['id']}: " + 30 * "what is it? ")),
        choices=("a square", "a circle", "a star", "a cross"),
        target="B",
        group=f"group {int(row['id']) % 10}",
        metadata={"level": 3},
    )


def score(sample: Sample, text: str) -> Judgement:
    """Right if it says so in a box."""
    found = "B" if "\\boxed{B}" in text else None
    return Judgement(found, float(found is not None))


TASK = Task(
    name="many",
    version=1,
    title="Many items",
    dataset=HubDataset(
        repo="nobody/many", split="test", n={"test": None}, fields=("id", "image"), local=read_local
    ),
    to_sample=to_sample,
    prompts=(Prompt("plain", 1, lambda sample: sample.input, "this benchmark"),),
    scorers=(Scorer("box", 1, score, "this benchmark"),),
)

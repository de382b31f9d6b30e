"""MathVision on answers of real models: published totals and the stored verdict on every answer."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from flagos_eval.catalog import load_task
from flagos_eval.dataset import Source, load
from flagos_eval.records import ImagePart, Sample

ROOT = Path(__file__).parents[2]
DATA = (
    Path(os.environ.get("FLAGOS_EVAL_TEST_DATA") or ROOT.parent / "shared" / "data") / "mathvision"
)
TASK = load_task(str(ROOT / "tasks" / "mathvision.py"))
OUTPUTS = sorted(DATA.glob("outputs/**/*.jsonl"))

pytestmark = pytest.mark.skipif(
    not OUTPUTS, reason=f"no recorded answers in {DATA} (set FLAGOS_EVAL_TEST_DATA)"
)


class Row(dict[str, Any]):
    def image(self, field: str) -> ImagePart:
        return ImagePart(sha256="0" * 64, media_type="image/jpeg", width=1, height=1, size=1)


@cache
def samples() -> dict[str, Sample]:
    assert TASK.dataset.local is not None
    found = [TASK.to_sample(Row(row)) for row in TASK.dataset.local(DATA, "test")]
    assert len(found) == TASK.dataset.n["test"]
    return {sample.id: sample for sample in found}


@pytest.mark.parametrize("path", OUTPUTS, ids=lambda path: path.stem)
def test_published_total_and_stored_verdicts(path: Path) -> None:
    score, asked = TASK.scorers[0].score, samples()
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    values = [score(asked[row["id"]], row["response"]).value for row in rows]
    pairs = list(zip(rows, values, strict=True))
    total = TASK.aggregations[0].reduce((asked[row["id"]].group, value) for row, value in pairs)
    published = json.loads(path.with_name(f"{path.stem}_result.json").read_text(encoding="utf-8"))
    percent = re.fullmatch(r"\d+/3040=([\d.]+)%", published["-all"])
    assert percent is not None
    assert total is not None
    assert 100 * total == pytest.approx(float(percent[1]), abs=0.05)
    agreeing = sum((value == 1) is row["correct"] for row, value in pairs)
    assert len(rows) == 3040
    assert agreeing >= 0.999 * len(rows)


def test_the_small_split_is_read_with_its_images() -> None:
    items = load(TASK, Source(data_dir=DATA, split="testmini"))
    assert items.preview
    assert len(items.samples) == 304
    assert all(len(sample.images) == 1 for sample in items.samples)

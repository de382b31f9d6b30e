"""What the embedded model can do, and what its folder holds."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from demo.conftest import MODEL, ask, items
from flagos_eval.records import sha256_hex

CHANCE = {
    "count": 1 / 6, "colour": 1 / 8, "digits": 0.01, "position": 1 / 4, "colour_mc": 0.26,
    "count_mc": 0.26, "same": 1 / 2, "more": 1 / 2, "colour_zh": 1 / 8, "shape": 1 / 5,
    "count_zh": 1 / 6, "shape_mc_zh": 0.26,
}  # fmt: skip


def by_kind() -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for sample, value in zip(items().samples, ask("fp32").values, strict=True):
        values[str(sample.group)].append(value)
    return {kind: sum(found) / len(found) for kind, found in values.items()}


def test_it_is_right_often_enough_for_drift_to_show_in_both_directions():
    values = ask("fp32").values
    assert 0.75 <= sum(values) / len(values) <= 0.90


def test_no_kind_of_question_is_at_chance():
    found = by_kind()
    assert set(found) == set(CHANCE)
    for kind, share in found.items():
        assert share >= CHANCE[kind] + 0.2, kind


def test_the_folder_stays_below_15_megabytes():
    assert sum(path.stat().st_size for path in MODEL.iterdir()) < 15e6


def test_the_model_card_names_every_file_by_its_checksum():
    card = (MODEL / "README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^([0-9a-f]{64})  (\S+)$", card, re.MULTILINE)[::-1])
    listed = {name: digest for digest, name in listed.items()}
    files = {path.name for path in MODEL.iterdir()} - {"README.md"}
    assert set(listed) == files
    for name, digest in listed.items():
        assert sha256_hex((MODEL / name).read_bytes()) == digest, name


@pytest.mark.parametrize("n", [1, 3])
def test_alone_or_in_a_batch_the_answers_are_nearly_the_same(n):
    alone, together = ask("fp32", 48, batch=n), ask("fp32", 48, batch=16)
    same = sum(a == b for a, b in zip(alone.texts, together.texts, strict=True))
    assert same >= 47


def test_asked_again_alone_it_says_the_same_to_the_last_bit():
    first, again = ask("fp32", 24, batch=1), ask.__wrapped__("fp32", 24, batch=1)
    assert first.completions == again.completions

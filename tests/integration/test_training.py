"""The micro model's training on a CPU, in the environment of the real vLLM, which has torch."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TORCH = os.environ.get("FLAGOS_EVAL_TEST_VLLM")

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(TORCH is None, reason="NOT RUN: no torch; make test-vllm"),
]


def test_a_minute_on_a_cpu_learns_one_kind_of_question(tmp_path):
    subprocess.run(
        [str(TORCH), "-m", "tools.train_micro_model", str(tmp_path), "--smoke"],
        cwd=ROOT, check=True, timeout=600, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]
    chance = 1 / 6
    assert max(line["accuracy"]["count_zh"] for line in log) > 1.5 * chance

"""How long it takes to score the answers to all twelve benchmarks, and how many times as long as to
write them as JSON and read them again.

    python benchmarks/rescoring.py [--check]

Scores every item of the release table (invented items at full size, with answers of the kinds that
models give: bare letters, sentences, long reasoning with formulas) by both scorers, and recorded
answers to MathVision where there are any (FLAGOS_EVAL_TEST_DATA). ``--check`` exits with 1 beyond a
limit.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from flagos_eval import catalog, policy
from flagos_eval.dataset import Source, load
from flagos_eval.records import Response, Sample
from flagos_eval.scoring.batch import Answers, score_all

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FLAGOS_EVAL_TEST_DATA") or ROOT.parent / "shared" / "data")
LIMIT = 60.0
"""Seconds for all twelve, by their official scorers."""
TIMES_LIMIT = 15.0
"""Times as long as writing and reading the answers."""
REASONING = (
    "First, look at the image. The area is $\\frac{1}{2} \\cdot 6 \\cdot 4 = 12$, so option (A) is "
    "too small and D is too large. Therefore $x = \\sqrt{144} = 12$.\n\nStep 2: check the units. "
)


def text(sample: Sample, index: int) -> str:
    """An answer: bare, in a sentence, or at the end of long reasoning."""
    target = sample.target[0] if sample.target else "A"
    kind = index % 3
    if kind == 0:
        return target
    if kind == 1:
        return f"The answer is **{target}**."
    return f"{REASONING * 12}Answer: \\boxed{{{target}}}"


def recorded(samples: list[Sample]) -> dict[str, str]:
    """MathVision's recorded answers, real and long; empty where there are none."""
    found = sorted(DATA.glob("mathvision/outputs/**/Gemini-Pro.jsonl"))
    if not found:
        return {}
    rows = [json.loads(line) for line in found[0].read_text(encoding="utf-8").splitlines()]
    known = {sample.id for sample in samples}
    return {row["id"]: row["response"] for row in rows if row["id"] in known}


def answers(samples: list[Sample], real: dict[str, str]) -> Answers:
    """A response to every item."""
    given = {
        (sample.id, 0): Response(
            task=sample.task,
            sample_id=sample.id,
            request_hash=None,
            text=real.get(sample.id) or text(sample, index),
            finish_reason="stop",
            order=index,
        )
        for index, sample in enumerate(samples)
    }
    return Answers(samples, given)


@dataclass(frozen=True)
class Scored:
    """One benchmark."""

    name: str
    answers: int
    seconds: tuple[float, ...]
    """By each of its scorers, the official one first."""
    floor: float
    """Seconds to write its answers and read them again."""


def floor(given: Answers) -> float:
    """Seconds to write the answers as JSON and read them again."""
    start = time.perf_counter()
    for response in given.responses.values():
        Response.model_validate_json(response.model_dump_json())
    return time.perf_counter() - start


def measure() -> list[Scored]:
    """Every benchmark of the release table."""
    sys.path.insert(0, str(ROOT / "tests"))
    write_all = importlib.import_module("whole_benchmarks").write_all
    found = []
    with tempfile.TemporaryDirectory() as folder:
        write_all(Path(folder))
        for name in policy.load("default").policy.tasks:
            task = catalog.load_task(name)
            samples = list(load(task, Source(data_dir=Path(folder))).samples)
            given = answers(samples, recorded(samples) if name == "mathvision" else {})
            took = []
            for scorer in task.scorers:
                start = time.perf_counter()
                score_all(given, scorer)
                took.append(time.perf_counter() - start)
            found.append(Scored(name, len(samples), tuple(took), floor(given)))
    return found


def total(found: list[Scored]) -> tuple[float, float]:
    """Seconds by the official scorers, and times the floor."""
    seconds = sum(one.seconds[0] for one in found)
    return seconds, seconds / sum(one.floor for one in found)


def main() -> int:
    """Measure, print, judge; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 beyond a limit")
    options = parser.parse_args()
    found = measure()
    rows = [[one.name, one.answers, *(f"{s:.2f}" for s in one.seconds)] for one in found]
    seconds, times = total(found)
    rows.append(["all", sum(one.answers for one in found), f"{seconds:.2f}", ""])
    headers = ["benchmark", "answers", "official, s", "flagevalmm, s"]
    print(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))
    print(f"\n{times:.1f} times as long as writing and reading them (at most {TIMES_LIMIT:g}).")
    return int(options.check and (seconds > LIMIT or times > TIMES_LIMIT))


if __name__ == "__main__":
    sys.exit(main())

"""``flagos-eval arms`` as a user types it, on servers that it starts: the embedded model in several
variants, over real HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flagos_eval import load_run
from flagos_eval.records import Run

pytestmark = pytest.mark.once

FILE = """\
tasks = ["shapes"]
launcher = "embedded"
policy = "demo"
concurrency = 4

[arms.native]
model = "fp32"

[arms.again]
repeat-of = "native"

[arms.int8]
model = "int8"
"""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "flagos_eval", "arms", "x.toml", "--plain", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("FLAGOS_EVAL_", "OPENAI_"))}


def arms(folder: Path, *arguments: object, code: int, file: str = FILE, **variables: str) -> str:
    (folder / "x.toml").write_text(file)
    done = subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment() | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "results" / "x").glob("*.json")}


def run(folder: Path, arm: str) -> Run:
    return load_run(folder / "results" / "x" / f"{arm}.json")


def servers(folder: Path) -> list[int]:
    """Servers that were started from this folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        told = process.info["cmdline"] or []
        if "flagos_eval.demo.server" in told and process.info["cwd"] == str(folder):
            found.append(process.pid)
    return found


def wait_until(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_dry_run_shows_every_arm_and_starts_nothing(tmp_path: Path) -> None:
    said = arms(tmp_path, "--dry-run", "-L", 20, "--rate", 2, code=0)
    assert said.count("first request:") == 1, "the questions are those of every arm"
    for arm, variant in (("native", "fp32"), ("again", "fp32"), ("int8", "int8")):
        _, _, part = said.partition(f"\narm {arm}")
        assert f"--variant {variant}" in part.partition("output:")[0]
        assert f"output: results/x/{arm}.json" in part
    assert "comparison: native-vs-int8 (differ in model)" in said
    assert "total: 60 requests, 20 of each of 3 arms; for one arm: about 0.2 min" in said
    assert [path.name for path in tmp_path.iterdir()] == ["x.toml"]


def test_a_variable_holds_for_every_arm_and_a_flag_counts_more(tmp_path: Path) -> None:
    said = arms(tmp_path, "--dry-run", code=0, FLAGOS_EVAL_LIMIT="7")
    assert "total: 21 requests, 7 of each of 3 arms" in said
    said = arms(tmp_path, "--dry-run", "--limit", 6, code=0, FLAGOS_EVAL_LIMIT="7")
    assert "total: 18 requests" in said
    said = arms(tmp_path, "--dry-run", code=2, FLAGOS_EVAL_MODEL="fp16")
    assert "model (environment) would be the same for every arm" in said


def test_arms_are_asked_one_after_the_other_and_compared(tmp_path: Path) -> None:
    said = arms(tmp_path, "-L", 30, code=3)  # a preview decides nothing
    assert names(tmp_path) == {"native.json", "again.json", "int8.json", "native-vs-int8.json"}
    ended = [run(tmp_path, arm) for arm in ("native", "again", "int8")]
    assert [r.settings["model"].value for r in ended] == ["fp32", "fp32", "int8"]
    assert ended[0].ended_at < ended[1].started_at < ended[1].ended_at < ended[2].started_at
    assert max(map(len, said.splitlines())) <= 100
    assert "native-vs-int8  INCONCLUSIVE  differ in model: results/x/native-vs-int8.json" in said
    assert servers(tmp_path) == []

    again = arms(tmp_path, "-L", 30, code=3)
    assert again.count("is finished and not asked again") == 3 and "serves" not in again

    changed = arms(tmp_path, "-L", 30, code=2, file=FILE.replace('"int8"', '"fp16"'))
    assert "arm int8: results/x/int8.json was finished with other settings" in changed
    assert "model was int8, is fp16" in changed and "give the arm another name" in changed

    compare = [sys.executable, "-m", "flagos_eval", "verify", "results/x/native-vs-int8.json"]
    noise = ("--noise", "reference=results/x/again.json")
    done = subprocess.run([*compare, *noise], cwd=tmp_path, env=environment(), check=False)
    assert done.returncode == 0


def test_an_arm_whose_server_fails_does_not_lose_the_others(tmp_path: Path) -> None:
    file = FILE.replace('"int8"', '"fail"') + 'max-retries = 0\n\n[arms.fp16]\nmodel = "fp16"\n'
    said = arms(tmp_path, code=5, file=file)
    lines = {line.split()[0]: line for line in said.splitlines() if line.strip()}
    assert lines["int8"].split()[1] == "incomplete" and "requests failed" in said
    assert lines["fp16"].split()[1] == "finished"
    assert "native-vs-int8  not compared" in said and "native-vs-fp16.json" in names(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_same_command_goes_on_after_it_was_stopped(
    tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "x.toml").write_text(FILE)
    results = tmp_path / "results" / "x"
    journal = results / "int8.journal.jsonl"

    def answers() -> int:
        return journal.read_bytes().count(b'"text"') if journal.is_file() else 0

    with subprocess.Popen(
        command("-L", 100), cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until(lambda: answers() >= 10)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    if number == signal.SIGINT:
        assert "Run the same command to continue" in said
    wait_until(lambda: servers(tmp_path) == [])
    kept, native = answers(), (results / "native.json").read_bytes()
    assert 10 <= kept < 100

    said = arms(tmp_path, "-L", 100, code=3)
    assert (results / "native.json").read_bytes() == native
    assert f"{kept} answered earlier" in said
    resumed = run(tmp_path, "int8")
    assert (len(resumed.epochs), len(resumed.responses)) == (2, 100)
    assert "native-vs-int8.json" in names(tmp_path)

"""The main job on real parts: a real vLLM on the CPU, real MathVision problems with their images.

Run by ``make test-vllm``, which makes the environment and names its interpreter.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import standin_packages

from flagos_eval import Run, load_run
from flagos_eval.operators import folder as operators
from flagos_eval.tally import tally

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("FLAGOS_EVAL_TEST_DATA", ROOT.parent / "shared" / "data"))
API_SERVER = "vllm.entrypoints.openai.api_server"
VLLM = os.environ.get("FLAGOS_EVAL_TEST_VLLM")

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(VLLM is None, reason="NOT RUN: no real vLLM; make test-vllm"),
]


@pytest.fixture(scope="module")
def model() -> Path:
    """The embedded model's folder, which a stock vLLM serves."""
    return ROOT / "flagos_eval" / "demo" / "model"


@pytest.fixture(scope="module")
def mathvision() -> tuple[str, ...]:
    folder = DATA / "mathvision"
    if not folder.is_dir():
        pytest.skip(f"NOT RUN: no MathVision images in {folder}")
    return ("--data-dir", str(DATA), "--split", "mathvision=testmini", "--max-pixels", "100352")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


def server(model: Path) -> tuple[str, ...]:
    return (
        "--launcher", "vllm", "--server-python", str(VLLM), "--model", str(model),
        "--set", "dtype=float32", "--set", "max-model-len=4096", "--set", "max-num-seqs=32",
        "--set", 'limit-mm-per-prompt={"image":4,"video":0}',
        "--env", "VLLM_CPU_KVCACHE_SPACE=1", "--env", "HF_HUB_OFFLINE=1",
        "--max-tokens", "32", "--concurrency", "8", "--plain",
    )  # fmt: skip


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "flagos_eval", *arguments]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen[str], code: int) -> str:
    said, _ = process.communicate(timeout=600)
    assert process.returncode == code, said
    assert "Traceback" not in said.split(" ends:")[0]  # a server's log may hold its own
    return said


def flagos_eval(folder: Path, *arguments: str, code: int = 0) -> str:
    return finish(start(folder, *arguments), code)


def servers(model: Path) -> list[psutil.Process]:
    """Processes of a vLLM that serves `model`: its guard, engine and workers included."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter(["cmdline"]):
        if {API_SERVER, str(model)} <= set(process.info["cmdline"] or []):
            found |= {p.pid: p for p in (process, *process.children(recursive=True))}
    return list(found.values())


def api_server(running: list[psutil.Process]) -> psutil.Process:
    """The process that listens; the engine is its child."""
    (found,) = [p for p in running if p.cmdline()[:1] == [VLLM] and API_SERVER in p.cmdline()]
    return found


def wait_for_answers(process: subprocess.Popen[str], journal: Path, n: int) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if journal.is_file() and journal.read_bytes().count(b'{"response"') >= n:
            return
        time.sleep(0.2)
    pytest.fail(f"{journal.name} did not come to {n} answers")


def wait_until_gone(processes: list[psutil.Process], seconds: float = 30) -> None:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    assert not alive


def scores(run: Run) -> dict[tuple[str, str, int], tuple[str, float | None]]:
    return {(s.task, s.sample_id, s.repeat): (s.status.value, s.value) for s in run.scores}


@pytest.fixture(scope="module")
def first(folder, model, mathvision) -> Iterator[Run]:
    flagos_eval(
        folder, "run", "-t", "mathvision,shapes", *mathvision, *server(model), "--logprobs", "2",
        "-o", "first.json",
    )  # fmt: skip
    yield load_run(folder / "first.json")


def test_every_question_is_answered_and_scored(first):
    assert [(r.task, r.n) for r in first.results] == [("mathvision", 304), ("shapes", 400)]
    assert not [r for r in first.responses if r.error]
    assert {c.name: c.state for c in first.capabilities}["max_pixels"] == "supported"


def test_the_run_says_what_answered(first):
    epoch = first.epochs[0]
    assert (epoch.launcher, epoch.max_model_len) == ("vllm", 4096)
    assert epoch.version and epoch.process_start
    facts = {fact.name: fact.value for fact in first.facts}
    assert "--trust-request-mm-kwargs" in facts["server:command"]


def test_vllm_counts_exactly_what_it_answered(first):
    counts = tally(first)
    assert (counts.state, counts.detail) == ("equal", "the server counted as many")
    ((counters,),) = [part.counters for part in first.parts]
    begin, end = counters.begin.counts, counters.end.counts
    assert begin.requests > 0, "the probes come before"
    assert end.requests - begin.requests == len(first.responses)
    used = [r.usage for r in first.responses]
    assert end.prompt_tokens - begin.prompt_tokens == sum(u.prompt_tokens for u in used)
    assert end.completion_tokens - begin.completion_tokens == sum(u.completion_tokens for u in used)
    assert counters.end.preemptions == counters.begin.preemptions
    assert counters.end.prefix_hits == 0, "it was started without a prefix cache"


def test_token_counts_and_log_probabilities_are_kept(first, folder):
    assert all(r.usage and r.usage.prompt_tokens > 0 for r in first.responses)
    lines = {r.logprobs_line for r in first.responses}
    assert lines == set(range(len(first.responses)))


def test_no_process_is_left(first, model):
    assert servers(model) == []


def test_a_second_server_asked_the_same_is_comparable(first, folder, model, mathvision):
    flagos_eval(
        folder, "run", "--config-from", "first.json", "--data-dir", mathvision[1], *server(model),
        "-o", "second.json",
    )  # fmt: skip
    said = flagos_eval(folder, "compare", "first.json", "second.json", "--json", code=3)
    states = {check["name"]: check["state"] for check in json.loads(said)["checks"]}
    assert set(states.values()) == {"equal"}
    assert {"mathvision: prompt tokens", "shapes: requests", "weights"} <= set(states)
    second = load_run(folder / "second.json")
    # One engine, one machine, temperature 0: what differs is the batches that requests met in.
    same = sum(a.text == b.text for a, b in zip(first.responses, second.responses, strict=True))
    assert same >= 0.95 * len(first.responses)


def test_the_embedded_server_answers_as_vllm_does(first, folder):
    flagos_eval(
        folder, "run", "-t", "shapes", "--launcher", "embedded", "--max-tokens", "32", "--plain",
        "-o", "embedded.json",
    )  # fmt: skip
    theirs = {r.sample_id: r for r in first.responses if r.task == "shapes"}
    ours = {r.sample_id: r for r in load_run(folder / "embedded.json").responses}
    assert {i: r.usage.prompt_tokens for i, r in ours.items()} == {
        i: r.usage.prompt_tokens for i, r in theirs.items()
    }
    same = sum(ours[i].text == theirs[i].text for i in theirs)
    assert same >= 0.99 * len(theirs)


def test_a_killed_server_ends_the_run_and_the_same_command_resumes(folder, model, first):
    command = ("run", "-t", "shapes", *server(model), "-o", "killed.json")
    journal = folder / "killed.journal.jsonl"
    process = start(folder, *command)
    wait_for_answers(process, journal, 60)
    running = servers(model)
    api_server(running).kill()
    said = finish(process, 5)
    assert "the server ended with status" in said and "killed.server.log ends" in said
    wait_until_gone(running)
    kept = journal.read_bytes()
    flagos_eval(folder, *command)
    run = load_run(folder / "killed.json")
    assert len(run.epochs) == 2
    assert {r.epoch for r in run.responses} == {0, 1}
    assert [part.counters[0].end is None for part in run.parts] == [True, False]
    assert tally(run).state == "not_verified"
    before = {
        (r["sample_id"], r["server_id"])
        for line in kept.splitlines()
        if (r := json.loads(line.partition(b" ")[2]).get("response")) and "text" in r
    }
    assert len(before) >= 60
    assert before <= {(r.sample_id, r.server_id) for r in run.responses}, "nothing is asked again"


def test_a_killed_harness_leaves_no_server_and_the_same_command_resumes(folder, model):
    command = ("run", "-t", "shapes", "-L", "200", *server(model), "-o", "harness.json")
    process = start(folder, *command)
    wait_for_answers(process, folder / "harness.journal.jsonl", 40)
    running = servers(model)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until_gone(running)
    flagos_eval(folder, *command)
    assert len(load_run(folder / "harness.json").responses) == 200


def test_ctrl_c_stops_the_server_too(folder, model):
    command = ("run", "-t", "shapes", "-L", "200", *server(model), "-o", "stopped.json")
    process = start(folder, *command)
    wait_for_answers(process, folder / "stopped.journal.jsonl", 20)
    running = servers(model)
    process.send_signal(signal.SIGINT)
    said = finish(process, 130)
    assert "responses kept" in said
    wait_until_gone(running, 5)
    flagos_eval(folder, *command)
    run = load_run(folder / "stopped.json")
    assert [part.counters[0].end is None for part in run.parts] == [False, False]
    assert tally(run).state == "equal", "vLLM counts what was aborted within the bound"


def test_a_server_that_cannot_boot_is_reported_with_its_last_words(folder, model):
    said = flagos_eval(
        folder, "run", "-t", "shapes", *server(model), "--set", "kv-cache-dtype=nonsense",
        "-o", "boot.json", code=74,
    )  # fmt: skip
    assert "nonsense" in said and "boot.server.log" in said


@pytest.fixture
def flag_gems(tmp_path, monkeypatch) -> None:
    """A FlagGems for a CPU, where the real one has no operators: torch really calls it."""
    packages = standin_packages.put_real_flag_gems(tmp_path / "packages")
    monkeypatch.setenv("PYTHONPATH", str(packages))


def test_operators_are_switched_and_seen_in_a_real_engine(folder, model, flag_gems):
    command = ("run", "-t", "shapes", "-L", "60", *server(model))
    said = flagos_eval(folder, *command, "--flag-gems", "off", "-o", "off.json")
    assert "operators: off: none ran" in said
    flagos_eval(folder, *command, "--flag-gems", "only:cos,sin,tan", "-o", "gems.json")
    off, on = load_run(folder / "off.json"), load_run(folder / "gems.json")
    assert off.dispatch and on.dispatch
    assert (off.dispatch.workers, off.dispatch.operators, off.invalid) == (1, (), ())
    assert (on.dispatch.workers, on.dispatch.vendor, on.invalid) == (1, "stand-in", ())
    assert {op.name for op in on.dispatch.operators if op.direct and op.count} == {"cos", "sin"}
    assert on.dispatch.idle == ("tan",), "an engine has no use for it"
    same = sum(a.text == b.text for a, b in zip(off.responses, on.responses, strict=True))
    assert same >= 57, "torch's own kernels were called behind them"
    flagos_eval(folder, "verify", "gems.json")


def test_an_operator_that_the_engine_never_calls_makes_the_run_invalid(folder, model, flag_gems):
    command = ("run", "-t", "shapes", "-L", "10", *server(model), "-o", "invalid.json")
    said = flagos_eval(folder, *command, "--flag-gems", "only:tan", code=4)
    assert "INVALID: FlagGems was asked for (only:tan), and dispatched nothing" in said


PLUGIN = """
import json, logging, sys
from vllm.plugins import load_general_plugins
try:
    load_general_plugins()
except RuntimeError as error:
    sys.exit(f"refused: {error}")
worker = sys.modules.get("vllm.v1.worker.worker_base")
wrapped = worker is not None and worker.WorkerWrapperBase.init_device.__module__
print(json.dumps([wrapped, len(logging.getLogger("flag_gems").handlers)]))
"""


def in_vllm(program: str, *paths: Path, **environment: str) -> str:
    """A program in the interpreter that has vLLM; the last line that it printed."""
    path = os.pathsep.join(map(str, paths))
    done = subprocess.run(
        [str(VLLM), "-c", program], env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
    )  # fmt: skip
    return done.stdout.strip().splitlines()[-1]


def test_the_plug_in_is_inert_in_vllm_unless_it_is_asked(tmp_path):
    operators.write_plugin(tmp_path / "plugin")
    assert in_vllm(PLUGIN, tmp_path / "plugin") == "[false, 0]"


def test_the_plug_in_wraps_vllms_worker_when_it_is_asked(tmp_path):
    operators.write_plugin(tmp_path / "plugin")
    request = tmp_path / "request.json"
    request.write_text('{"enable": "only", "names": ["cos"]}')
    said = in_vllm(PLUGIN, tmp_path / "plugin", FLAGOS_EVAL_OPERATORS=str(request))
    assert said == '["flagos_eval_operators", 1]'


def test_the_plug_in_refuses_in_vllm_what_it_cannot_read(tmp_path):
    operators.write_plugin(tmp_path / "plugin")
    said = in_vllm(PLUGIN, tmp_path / "plugin", FLAGOS_EVAL_OPERATORS=str(tmp_path / "none.json"))
    assert said.startswith("refused: flagos-eval operators: cannot read")


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        (("all", []), ["cos", "sin", "tan"]),
        (("only", ["cos"]), ["cos"]),
        (("not", ["cos"]), ["sin", "tan"]),
        (("only", ["cosine"]), "flagos-eval operators: FlagGems 5.0.2 has no cosine"),
    ],
)
def test_the_plug_in_switches_in_that_torch_what_it_is_told(tmp_path, arguments, outcome):
    operators.write_plugin(tmp_path / "plugin")
    packages = standin_packages.put_real_flag_gems(tmp_path / "packages")
    program = (
        "import json, flagos_eval_operators as plugin\n"
        f"try:\n    said = plugin.switch(*{arguments!r})['registered']\n"
        "except RuntimeError as error:\n    said = str(error)\nprint(json.dumps(said))"
    )
    assert json.loads(in_vllm(program, tmp_path / "plugin", packages)) == outcome

"""A whole run on a server that it starts: as a user types it. The servers are stand-ins."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest
import standin_packages

from flagos_eval import Run, load_run
from flagos_eval.tally import tally

from .conftest import DIGEST, IMAGE, DockerMachine, Machine

pytestmark = pytest.mark.once


def flagos_eval(machine: Machine, *arguments: str, code: int = 0, **environment: str) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("FLAGOS_EVAL_", "OPENAI_"))}
    done = subprocess.run(
        [sys.executable, "-m", "flagos_eval", *arguments],
        cwd=machine.folder,
        env={**clean, "STANDIN_RECORD": str(machine.folder / "record.jsonl"), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def asked(machine: Machine, *more: str) -> tuple[str, ...]:
    model = machine.request().model
    (machine.folder / "weights" / "tiny" / "config.json").write_text('{"model_type": "tiny"}')
    return ("run", "-t", "shapes", "-L", "30", "--model", str(model), "--plain", *more)


def facts(run: Run) -> dict[str, Any]:
    return {fact.name: fact.value for fact in run.facts}


def test_a_flagscale_server_is_started_asked_and_stopped(flagscale: Machine) -> None:
    flagos_eval(flagscale, *asked(flagscale, "--launcher", "flagscale", "-o", "a.json"))
    run = load_run(flagscale.folder / "a.json")
    assert run.state == "complete" and run.epochs[0].launcher == "flagscale"
    assert run.weights is not None and list(run.weights.files) == ["config.json"]
    found = facts(run)
    assert "serve_id" in found["server:flagscale_engine_args"]
    assert found["host:platform"] == "cpu"
    counts = tally(run)
    assert counts is not None and counts.state == "equal"
    assert counts.ours.requests == len(run.responses)
    assert flagscale.processes() == []


def test_a_container_is_started_asked_and_removed(docker: DockerMachine) -> None:
    flagos_eval(
        docker, *asked(docker, "--launcher", "docker", "--image", IMAGE, "--inside", "flagscale"),
        "-o", "a.json", "--env", f"STANDIN_RECORD={docker.folder / 'record.jsonl'}",
    )  # fmt: skip
    run = load_run(docker.folder / "a.json")
    found = facts(run)
    assert found["server:image_digest"] == DIGEST
    assert (found["host:platform"], found["host:driver"]) == ("metax", "3.8.30")
    assert docker.containers() == [] and docker.processes() == []


def test_a_server_that_dies_on_the_way_ends_the_run_and_the_same_command_resumes(
    flagscale: Machine,
) -> None:
    command = asked(flagscale, "--launcher", "flagscale", "-o", "a.json", "--concurrency", "2")
    said = flagos_eval(flagscale, *command, code=5, STANDIN_VLLM="die-after-45")
    assert "Triton Error [CUDA]: an illegal memory access" in said.partition(" ends:")[0]
    assert flagscale.processes() == []
    journal = (flagscale.folder / "a.journal.jsonl").read_text().splitlines()
    answered = {
        response["sample_id"]: response["server_id"]
        for line in journal
        if (response := json.loads(line.partition(" ")[2]).get("response")) and "text" in response
    }
    assert 0 < len(answered) < 30
    flagos_eval(flagscale, *command)
    run = load_run(flagscale.folder / "a.json")
    assert len(run.epochs) == 2 and {r.epoch for r in run.responses} == {0, 1}
    now = {r.sample_id: r.server_id for r in run.responses}
    assert answered.items() <= now.items(), "nothing is asked again"


def test_an_old_server_gets_its_image_limits_at_its_start(flagscale: Machine) -> None:
    """vLLM 0.7.2, of the first release, ignores them in requests."""
    limit = ("--max-pixels", "50176")
    flagos_eval(
        flagscale, *asked(flagscale, "--launcher", "flagscale", "-o", "a.json", *limit),
        STANDIN_OLD="1",
    )  # fmt: skip
    run = load_run(flagscale.folder / "a.json")
    assert {c.name: c.state for c in run.capabilities}["max_pixels"] == "ignored"
    assert '{"max_pixels":50176}' in facts(run)["server:effective_command"]


@pytest.mark.parametrize("changed", [("--tensor-parallel", "2"), ("--prefix-caching",)])
def test_answers_of_two_servers_are_not_mixed(flagscale: Machine, changed: tuple[str, ...]) -> None:
    command = asked(flagscale, "--launcher", "flagscale", "-o", "a.json", "--concurrency", "2")
    flagos_eval(flagscale, *command, code=5, STANDIN_VLLM="die-after-45")
    said = flagos_eval(flagscale, *command, *changed, code=2)
    assert changed[0].strip("-").replace("-", "_") in said


# --- FlagGems' operators --------------------------------------------------------------------------


def gems(machine: Machine) -> dict[str, str]:
    """Variables that make FlagGems importable, and the stand-in engine use it."""
    packages = standin_packages.put_packages(machine.folder / "packages")
    paths = (str(packages), os.environ.get("PYTHONPATH"))
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "STANDIN_PACKAGES": "1"}


def with_vllm(machine: Machine, *more: str) -> tuple[str, ...]:
    python = str(machine.bin / "python")
    return asked(machine, "--launcher", "vllm", "--server-python", python, "-o", "a.json", *more)


def test_the_operators_that_ran_are_in_the_run_and_can_be_verified(machine: Machine) -> None:
    command = with_vllm(machine, "--flag-gems", "only:mm,softmax")
    said = flagos_eval(machine, *command, **gems(machine))
    assert "operators: only:mm,softmax: 3 ran" in said
    run = load_run(machine.folder / "a.json")
    assert run.dispatch is not None and run.invalid == ()
    ran = {operator.name: operator.direct for operator in run.dispatch.operators}
    assert ran == {"mm": True, "softmax": True, "exp": False}
    assert not (machine.folder / "a.operators").exists(), "all of it is in one file"
    assert "operators" in flagos_eval(machine, "verify", "a.json")
    assert "3 operators ran: exp, mm, softmax" in flagos_eval(machine, "show", "a.json")
    flagos_eval(machine, "pack", "a.json")
    flagos_eval(machine, "verify", "a.zip")


def test_a_run_that_contradicts_its_request_is_saved_and_invalid(machine: Machine) -> None:
    command = with_vllm(machine, "--flag-gems", "off")
    said = flagos_eval(machine, *command, code=4, **gems(machine), STANDIN_GEMS="leak-later")
    assert "INVALID: FlagGems was off, and dispatched addmm" in said
    run = load_run(machine.folder / "a.json")
    assert run.state == "complete" and len(run.responses) == 30
    assert "INVALID: FlagGems was off" in flagos_eval(machine, "show", "a.json")


def test_what_a_run_says_of_its_operators_is_verified(machine: Machine) -> None:
    command = with_vllm(machine, "--flag-gems", "off")
    flagos_eval(machine, *command, code=4, **gems(machine), STANDIN_GEMS="leak-later")
    path = machine.folder / "a.json"
    said = path.read_text("utf-8")
    edited = re.sub(r'"problems": ?\[[^]]+\]', '"problems": []', said)
    assert edited != said
    path.write_text(edited, "utf-8")
    assert "dispatch.problems" in flagos_eval(machine, "verify", "a.json", code=4)


def test_every_start_that_answered_counts(machine: Machine) -> None:
    """The first start went on without the variable, and died; the second one is as it should be."""
    command = with_vllm(machine, "--flag-gems", "all", "--concurrency", "2")
    flagos_eval(machine, *command, code=5, **gems(machine), STANDIN_VLLM="die-after-45")
    (first,) = (machine.folder / "a.operators").iterdir()
    for path in first.glob("*.jsonl"):
        path.unlink()
    for path in first.glob("*.counts"):
        path.unlink()
    said = flagos_eval(machine, *command, code=4, **gems(machine))
    assert "INVALID: no worker of the server wrote down its operators" in said
    assert load_run(machine.folder / "a.json").state == "complete"


def test_a_start_that_answered_and_left_no_record_counts_too(machine: Machine) -> None:
    command = with_vllm(machine, "--flag-gems", "all", "--concurrency", "2")
    flagos_eval(machine, *command, code=5, **gems(machine), STANDIN_VLLM="die-after-45")
    shutil.rmtree(machine.folder / "a.operators")
    said = flagos_eval(machine, *command, code=4, **gems(machine))
    assert "INVALID: no record of the operators of start 1, which answered" in said
    flagos_eval(machine, "verify", "a.json")


def test_a_server_that_does_not_use_them_is_not_asked_at_all(machine: Machine) -> None:
    """It shows when it is ready, before hours are spent."""
    command = with_vllm(machine, "--flag-gems", "off")
    said = flagos_eval(machine, *command, code=4, **gems(machine), STANDIN_GEMS="leak")
    assert "does not use the operators that were asked for: FlagGems was off, and" in said
    assert not (machine.folder / "a.json").exists()
    flagos_eval(machine, *command, **gems(machine))  # what was wrong is mended
    assert load_run(machine.folder / "a.json").invalid == ()
    flagos_eval(machine, "verify", "a.json")


def test_an_invalid_run_is_no_reference(machine: Machine) -> None:
    command = with_vllm(machine, "--flag-gems", "off")
    flagos_eval(machine, *command, code=4, **gems(machine), STANDIN_GEMS="leak-later")
    said = flagos_eval(
        machine, "run", "--reference", "a.json", "--launcher", "vllm", "-o", "b.json", code=2
    )
    assert "cannot be the reference: it is invalid (FlagGems was off" in said


def test_a_dry_run_shows_the_variables_of_the_operators(flagscale: Machine) -> None:
    command = asked(flagscale, "--launcher", "flagscale", "-o", "a.json", "--flag-gems", "all")
    importable = {"PYTHONPATH": gems(flagscale)["PYTHONPATH"]}
    said = flagos_eval(flagscale, *command, "--platform", "metax", "--dry-run", **importable)
    lines = [line.strip() for line in said.splitlines()]
    assert {"USE_FLAGGEMS=1", "GEMS_VENDOR=metax", 'GEMS_VENDOR: "metax"'} <= set(lines)
    assert "FLAGOS_EVAL_OPERATORS=" in said
    assert not (flagscale.folder / "a.operators").exists()


def test_a_new_run_of_that_name_starts_with_nothing(machine: Machine) -> None:
    command = with_vllm(machine, "--flag-gems", "all", "--concurrency", "2")
    flagos_eval(machine, *command, code=5, **gems(machine), STANDIN_VLLM="die-after-45")
    flagos_eval(machine, *command, "--fresh", **gems(machine))
    run = load_run(machine.folder / "a.json")
    assert run.dispatch is not None and run.dispatch.workers == 1

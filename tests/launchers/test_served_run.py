"""A whole run on a server that it starts: as a user types it. The servers are stand-ins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

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

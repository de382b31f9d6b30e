"""A run that names no server takes what the machine has, and says so; and shows what it would do.

Vendors' tools, FlagScale and docker are stand-ins."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import standins
from factories import response, run
from protocol_server import ProtocolServer

from flagos_eval import config, estimate, platforms, serving
from flagos_eval.records import Attempt

pytestmark = pytest.mark.once

CARD_IMAGE = (
    "flagrelease-registry.cn-beijing.cr.aliyuncs.com/flagrelease/flagrelease:"
    "metax_qwenvl_vllm072_gemsdeepseekr1metax_temporary"
)
MODEL = "Qwen2.5-VL-32B-Instruct"


@pytest.fixture
def bin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The whole path: nothing but stand-ins and the system's own commands."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return folder


def choose(**settings: Any) -> serving.Choice:
    found = config.combine({"flag": settings}).config
    return serving.choose(found, platforms.detect())


def flagos_eval(folder: Path, *arguments: object, code: int = 0) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("FLAGOS_EVAL_", "OPENAI_"))}
    done = subprocess.run(
        [sys.executable, "-m", "flagos_eval", "run", *map(str, arguments)],
        cwd=folder, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


# --- Which launcher -------------------------------------------------------------------------------


def test_flagscale_comes_before_plain_vllm(bin: Path) -> None:
    standins.put(bin, "python3", "print('FOUND True')")
    assert choose().launcher == "vllm"
    standins.put_server(bin, "flagscale", "standin_flagscale")
    assert choose().launcher == "flagscale"


def test_an_image_that_is_named_is_run(bin: Path) -> None:
    standins.put_server(bin, "flagscale", "standin_flagscale")
    assert choose(image="x/y:1").launcher == "docker"


def test_an_engine_beside_us_is_found_in_the_images_own_interpreter(bin: Path) -> None:
    python = standins.put(bin, "python3", "print('FOUND True')")
    found = choose()
    assert (found.launcher, found.python) == ("vllm", str(python))
    assert "has vLLM" in found.why


def test_only_the_interpreter_that_was_named_is_asked(bin: Path, tmp_path: Path) -> None:
    standins.put(bin, "python3", "print('FOUND True')")
    other = standins.put(tmp_path, "other-python", "print('FOUND False')")
    assert choose(server_python=str(other)).launcher is None


def test_what_was_chosen_counts_as_nobodys_wish(bin: Path) -> None:
    standins.put_server(bin, "flagscale", "standin_flagscale")
    configured, choice = serving.chosen(config.combine({"flag": {"model": "x"}}))
    assert choice is not None and configured.config.launcher == "flagscale"
    setting = configured.settings()["launcher"]
    assert (setting.value, setting.source) == ("flagscale", "default")


@pytest.mark.parametrize("named", [{"launcher": "vllm"}, {"base_url": ("http://h/v1",)}])
def test_what_was_named_is_not_chosen_again(bin: Path, named: dict[str, Any]) -> None:
    configured = config.combine({"flag": named})
    assert serving.chosen(configured) == (configured, None)


def test_a_machine_without_anything_names_the_three_ways_on(bin: Path, tmp_path: Path) -> None:
    said = flagos_eval(tmp_path, "-t", "shapes", "-o", "a.json", code=2)
    sentence = said.splitlines()[0]
    assert sentence.startswith("error: no server was named")
    for way in ("--base-url", "--launcher", "flagos-eval demo"):
        assert way in sentence


def test_a_run_says_what_it_chose(bin: Path, tmp_path: Path) -> None:
    standins.put_server(bin, "flagscale", "standin_flagscale")
    standins.put_tool(bin, "mx-smi")
    said = flagos_eval(tmp_path, "-t", "shapes", "-L", 2, "-m", "/no/w", "--plain", code=2)
    assert "metax, and flagscale is here: --launcher flagscale" in said


# --- What would be done ---------------------------------------------------------------------------


def dry_run(folder: Path, *arguments: object) -> str:
    return flagos_eval(folder, "-t", "shapes", "--dry-run", "--tensor-parallel", 8, *arguments)


@pytest.fixture
def metax(bin: Path, tmp_path: Path) -> Path:
    """A machine that looks like metax, with the release card's weights."""
    standins.put_tool(bin, "mx-smi")
    (tmp_path / "nfs" / MODEL).mkdir(parents=True)
    return tmp_path


def command_of(said: str, program: str) -> list[str]:
    (line,) = [
        line.removeprefix("server: ")
        for line in said.splitlines()
        if line.startswith(f"server: {program} ")
    ]
    return shlex.split(line)


def test_the_release_cards_docker_command_on_metax(metax: Path) -> None:
    model = metax / "nfs" / MODEL
    said = dry_run(metax, "--launcher", "docker", "--image", CARD_IMAGE, "-m", model)
    run = command_of(said, "docker run")
    assert run[:6] == ["docker", "run", "--rm", "--init", "--name", "NAME"]
    card = {
        "--net=host", "--uts=host", "--ipc=host", "seccomp=unconfined", "stack=67108864",
        "memlock=-1", "nofile=1048576:1048576", "--shm-size=32G",
    }  # fmt: skip
    assert card <= set(run), "as on the release card"
    assert {"--device=/dev/mxcd", "--device=/dev/dri", "video", "--privileged"} <= set(run)
    assert "--gpus" not in run, "NVIDIA's flag, which the card has for metax too"
    assert f"{model}:{model}:ro" in run
    assert f"{CARD_IMAGE.rpartition(':')[0]}@DIGEST" in run and CARD_IMAGE not in run
    inner = shlex.split(run[-1])
    assert inner[:4] == ["exec", "vllm", "serve", str(model)]
    assert inner[inner.index("--tensor-parallel-size") + 1] == "8"
    assert {"--no-enable-prefix-caching", "--enforce-eager"} <= set(inner)


def test_the_release_cards_flagscale_command_on_metax(metax: Path) -> None:
    model = metax / "nfs" / MODEL
    said = dry_run(metax, "--launcher", "flagscale", "-m", model, "-o", "card.json")
    path = metax / "card.flagscale-1" / "conf" / "serve.yaml"
    assert command_of(said, "flagscale serve") == [
        "flagscale", "serve", "Qwen2_5_VL_32B_Instruct", "-c", str(path),
    ]  # fmt: skip
    for line in ("use_fs_serve: false", "tensor_parallel_size: 8", "enforce_eager: true",
                 "no_enable_prefix_caching: true", f'model: "{model}"'):  # fmt: skip
        assert line in said


def test_flagscale_in_a_container_shows_both(metax: Path) -> None:
    model = metax / "nfs" / MODEL
    said = dry_run(
        metax, "--launcher", "docker", "--inside", "flagscale", "--image", CARD_IMAGE, "-m", model
    )
    run = command_of(said, "docker run")
    assert "flagscale Qwen2_5_VL_32B_Instruct" in run[-1]
    assert "use_fs_serve: false" in said


def test_a_dry_run_starts_and_writes_nothing(metax: Path) -> None:
    before = sorted(metax.rglob("*"))
    dry_run(metax, "--launcher", "flagscale", "-m", metax / "nfs" / MODEL)
    assert sorted(metax.rglob("*")) == before


def test_a_dry_run_says_what_it_would_choose(bin: Path, tmp_path: Path) -> None:
    assert "server: cpu, without flagscale, vLLM or --image" in dry_run(tmp_path)
    standins.put_server(bin, "flagscale", "standin_flagscale")
    said = dry_run(tmp_path, "-m", tmp_path)
    assert "server: cpu, and flagscale is here: --launcher flagscale" in said
    assert command_of(said, "flagscale serve")


@pytest.mark.parametrize("launcher", ["vllm", "docker", "flagscale"])
def test_secrets_are_not_shown(metax: Path, launcher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "sesame22")
    said = dry_run(
        metax, "--launcher", launcher, "--image", "x/y:1", "-m", metax, "--env", "HF_TOKEN"
    )
    assert "sesame22" not in said


def test_a_variable_that_is_handed_on_has_its_value_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "sesame22")
    assert serving.variables(("HF_TOKEN", "A=b=c")) == {"HF_TOKEN": "sesame22", "A": "b=c"}


def test_a_variable_that_is_handed_on_and_not_there_is_an_error(tmp_path: Path) -> None:
    said = flagos_eval(
        tmp_path, "-t", "shapes", "--dry-run", "--launcher", "vllm", "-m", tmp_path,
        "--env", "sk-no-variable", code=2,
    )  # fmt: skip
    assert "takes the value that the variable has here" in said and "sk-no" not in said


@pytest.mark.parametrize("launcher", ["vllm", "docker", "flagscale"])
def test_a_key_that_would_be_in_a_servers_command_line_is_refused(
    metax: Path, launcher: str
) -> None:
    (metax / "settings.toml").write_text('set = ["api-key=sesame22"]')
    said = flagos_eval(
        metax, "-t", "shapes", "--dry-run", "--launcher", launcher, "--image", "x/y:1",
        "-m", metax, "--config", "settings.toml", code=2,
    )  # fmt: skip
    assert "VLLM_API_KEY" in said and "sesame22" not in said


@pytest.mark.parametrize(
    "typed",
    [
        ("--env", "HF_TOKEN=sesame22"),
        ("--set", "api-key=sesame22"),
        ("--docker-arg", "--env=HF_TOKEN=sesame22"),
        ("--docker-arg", "-e", "--docker-arg", "https_proxy=http://me:sesame22@proxy"),
    ],
)
def test_a_secret_that_was_typed_is_refused_without_repeating_it(
    tmp_path: Path, typed: tuple[str, ...]
) -> None:
    said = flagos_eval(tmp_path, "-t", "shapes", "--dry-run", *typed, code=2)
    assert f"{typed[0]} holds a secret" in said and "sesame22" not in said


# --- How long -------------------------------------------------------------------------------------


def test_hours_at_a_rate_that_was_named(tmp_path: Path, bin: Path) -> None:
    said = dry_run(tmp_path, "--base-url", "http://h:1/v1", "--rate", "0.05")
    assert "400 requests; about 2.2 h at 0.05 requests a second (--rate)" in said


def test_hours_are_not_made_up(tmp_path: Path, bin: Path) -> None:
    said = dry_run(tmp_path, "--base-url", "http://h:1/v1")
    assert "400 requests; hours not known" in said and "--rate" in said


def test_hours_from_an_earlier_run_name_it(tmp_path: Path, bin: Path) -> None:
    with ProtocolServer(delay=0.05) as server:
        flagos_eval(
            tmp_path, "-t", "shapes", "-L", 20, "--concurrency", 2, "--base-url", server.url,
            "-q", "-o", "earlier.json",
        )  # fmt: skip
    said = dry_run(tmp_path, "--base-url", "http://h:1/v1", "-o", "next.json")
    assert "if it goes as fast as earlier.json, with up to 2 requests in flight (shapes " in said


def asked(*spans: tuple[int, float]) -> Any:
    """A run whose requests were sent at these seconds and took this long."""
    answers = [
        response(
            sample_id=str(i),
            attempts=(Attempt(started_at=f"2026-01-01T00:00:{second:02}Z", latency=latency),),
        )
        for i, (second, latency) in enumerate(spans)
    ]
    return run(["0"]).model_construct(responses=tuple(answers), tasks=run(["0"]).tasks, name="x")


@pytest.mark.parametrize(
    ("spans", "rate"),
    [
        ([(0, 2.0), (2, 2.0)], 0.5),
        ([(0, 4.0), (0, 4.0), (0, 4.0), (0, 4.0)], 1.0),
        ([(0, 2.0), (50, 2.0)], 0.5),
        ([(0, 4.0), (1, 1.0)], 0.5),
    ],
    ids=["one by one", "together", "with a pause", "one within another"],
)
def test_only_time_with_requests_in_flight_counts(
    spans: list[tuple[int, float]], rate: float
) -> None:
    found = estimate.measured(asked(*spans), "x")
    assert found is not None and found.overall == pytest.approx(rate)


def test_a_run_without_times_has_no_rate() -> None:
    assert estimate.measured(asked(), "x") is None

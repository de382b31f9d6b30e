"""Every launcher, against real processes: the server that was asked for, or a clear refusal, and
nothing left behind. vLLM, FlagScale and docker are stand-ins (``standin_*.py``)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flagos_eval.errors import ServerDied, ServerStartFailed
from flagos_eval.launchers import docker as docker_module
from flagos_eval.launchers import flagscale as flagscale_module
from flagos_eval.launchers.base import EngineSettings, ServerHandle
from flagos_eval.server import Server

from .conftest import DIGEST, IMAGE, Case, Machine, wait_until

pytestmark = pytest.mark.once

NESTED = '{"image":4,"video":0}'


def facts(handle: ServerHandle) -> dict[str, Any]:
    assert len({fact.name for fact in handle.facts}) == len(handle.facts)
    return {fact.name: fact.value for fact in handle.facts}


def flag(argv: list[str], name: str) -> str:
    return argv[argv.index(f"--{name}") + 1]


# --- The server that was asked for ----------------------------------------------------------------


def test_the_server_answers_while_it_is_needed_and_is_gone_afterwards(case: Case) -> None:
    with case.start() as handle:
        identity = Server(handle.urls[0]).identity()
        assert [model.id for model in identity.models] == [handle.model] == ["tiny"]
        assert len(case.machine.processes()) >= 2, "an engine process of its own, too"
        handle.check()
    assert case.machine.processes() == []


def test_arguments_reach_the_engine_whole(case: Case) -> None:
    engine = EngineSettings(tensor_parallel=2, max_model_len=4096, max_pixels=1003520)
    settings = {
        "limit-mm-per-prompt": NESTED,
        "gpu_memory_utilization": "0.9",
        "trust-remote-code": "",
        "override-generation-config": '{"text": "it\'s a \\"b\\" $HOME ${x} `id`"}',
    }
    with case.start(engine=engine, settings=settings):
        (call,) = case.machine.calls
    argv = call["argv"]
    assert flag(argv, "limit-mm-per-prompt") == NESTED
    assert flag(argv, "gpu-memory-utilization") == "0.9"
    assert "--trust-remote-code" in argv
    assert flag(argv, "tensor-parallel-size") == "2"
    assert flag(argv, "max-model-len") == "4096"
    assert flag(argv, "mm-processor-kwargs") == '{"max_pixels":1003520}'
    assert {"--no-enable-prefix-caching", "--enforce-eager"} <= set(argv)
    assert flag(argv, "seed") == "0"
    wanted = settings["override-generation-config"]
    assert flag(argv, "override-generation-config") == wanted


def test_variables_reach_the_engine_whatever_is_in_them(case: Case) -> None:
    odd = "a b'c\"d $HOME ; e"
    given = {"USE_FLAGGEMS": "1", "GEMS_VENDOR": "metax", "ODD": odd, "MY_TOKEN": "sesame1"}
    with case.start(environment=given) as handle:
        (call,) = case.machine.calls
        found = facts(handle)
    assert {name: call["env"].get(name) for name in given} == given
    assert "sesame1" not in json.dumps(found)
    assert found["server:environment"]["USE_FLAGGEMS"] == "1"
    written = "".join(p.read_text() for p in case.machine.results.rglob("*.yaml"))
    assert "sesame1" not in written


def test_the_clients_key_stays_here(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "hunter22")
    with case.start():
        assert "OPENAI_API_KEY" not in case.machine.calls[0]["env"]


def test_what_really_runs_is_on_record(case: Case) -> None:
    with case.start(environment={"USE_FLAGGEMS": "1"}) as handle:
        found = facts(handle)
        assert handle.log is not None and handle.log.name == "run.server.log"
        if handle.container is None:
            assert handle.pid is not None
    assert "--enforce-eager" in found["server:effective_command"]
    assert found["server:effective_environment"]["USE_FLAGGEMS"] == "1"
    assert "'enforce-eager'" in found["server:log_arguments"]
    assert "server:variables_lost" not in found
    assert found["server:log"] == "run.server.log"


def test_a_variable_that_gets_lost_on_the_way_is_on_record(case: Case) -> None:
    """As operator lists do when an engine process is spawned."""
    given = {"USE_FLAGGEMS": "1", "STANDIN_VLLM": "forget"}
    with case.start(environment=given) as handle:
        (lost,) = facts(handle)["server:variables_lost"].values()
    assert lost == ["USE_FLAGGEMS"]


def test_variables_that_cannot_be_seen_are_not_called_lost(case: Case) -> None:
    """Newer vLLM's workers give themselves titles, which are written over their variables."""
    with case.start(environment={"STANDIN_VLLM": "title"}) as handle:
        assert "server:variables_lost" not in facts(handle)


def test_each_start_gets_a_port_of_its_own(case: Case) -> None:
    with case.start(name="one") as one, case.start(name="two") as two:
        assert one.urls != two.urls
        assert Server(one.urls[0]).healthy() and Server(two.urls[0]).healthy()


# --- A start that fails ---------------------------------------------------------------------------


def refused(case: Case, wrong: str) -> ServerStartFailed:
    with (
        pytest.raises(ServerStartFailed) as caught,
        case.start(environment={"STANDIN_VLLM": wrong}),
    ):
        pytest.fail("it cannot have started")
    assert case.machine.processes() == []
    return caught.value


def test_a_failed_boot_is_reported_with_its_last_words(case: Case) -> None:
    error = refused(case, "boot")
    assert "ended with status 1" in error.message
    assert "ValueError: the model's architecture is not known" in error.message
    assert "run.server.log" in str(error.hint)


def test_too_little_memory_is_named_and_what_to_do(case: Case) -> None:
    error = refused(case, "oom")
    first = error.message.partition(" ends:")[0]
    assert "torch.OutOfMemoryError: CUDA out of memory" in first
    assert "to avoid out of memory" not in first, "that line is about what might happen"
    assert "--tensor-parallel" in str(error.hint)


def test_a_server_of_another_model_is_refused(case: Case) -> None:
    error = refused(case, "other")
    assert "serves somebody-elses-model, not 'tiny'" in error.message


def test_a_server_that_hangs_at_boot_is_given_up(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAGOS_EVAL_BOOT_STALL", "4")
    assert "said nothing for 4 s" in refused(case, "hang").message


def test_a_port_that_somebody_took_is_never_asked(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A healthy server of somebody else, on the port that was to be ours."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(case.module, "free_port", lambda: taken.getsockname()[1])
        with pytest.raises(ServerStartFailed) as caught, case.start():
            pytest.fail("it cannot have started")
    said = caught.value.message
    assert "another process took the port" in said or "Address already in use" in said
    assert case.machine.processes() == []


# --- A server that goes ---------------------------------------------------------------------------


def test_a_server_that_dies_on_the_way_is_noticed_with_its_last_words(case: Case) -> None:
    with case.start() as handle:
        child = case.machine.engine().children()[0]
        child.kill()  # the engine; the API server says so and ends
        with pytest.raises(ServerDied, match="EngineCore died unexpectedly") as caught:
            for _ in range(200):
                handle.check()
                time.sleep(0.1)
    assert "same command" in str(caught.value.hint)
    assert case.machine.processes() == []


def test_a_server_that_is_killed_is_noticed(case: Case) -> None:
    with case.start() as handle:
        case.machine.engine().kill()
        with pytest.raises(ServerDied):
            for _ in range(200):
                handle.check()
                time.sleep(0.1)
    assert case.machine.processes() == []


KILLED = """
import signal, sys, time
from pathlib import Path
# A shell ignores Ctrl-C for what it runs in the background, and whoever it starts inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
from flagos_eval.launchers import _process, {module}
from flagos_eval.launchers.base import LaunchRequest
_process._GUARD = Path({guard!r})
request = LaunchRequest(model={model!r}, folder=Path({folder!r}), name="run",
                        environment={environment!r}, **{always!r})
with {module}.LAUNCHER.start(request) as handle:
    print("started", flush=True)
    time.sleep(600)
"""


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_harness_that_is_killed_leaves_nothing(case: Case, number: int) -> None:
    from flagos_eval.launchers import _process

    request = case.request()
    code = KILLED.format(
        module=case.module.__name__.rpartition(".")[2],
        guard=str(_process._GUARD),
        model=request.model,
        folder=str(request.folder),
        environment=dict(request.environment),
        always=case.always,
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as harness:
        assert harness.stdout is not None and harness.stdout.readline() == "started\n"
        assert len(case.machine.processes()) >= 2
        os.kill(harness.pid, number)
        try:
            harness.wait(30)
        finally:
            harness.kill()
        wait_until(lambda: case.machine.processes() == [])
    if case.module is docker_module:
        wait_until(lambda: case.machine.containers() == [])  # type: ignore[attr-defined]


@pytest.mark.usefixtures("short_grace")
def test_a_server_that_does_not_listen_is_ended_all_the_same(case: Case) -> None:
    with case.start(environment={"STANDIN_VLLM": "deaf"}):
        assert len(case.machine.processes()) >= 2
    assert case.machine.processes() == []
    if case.module is docker_module:
        assert case.machine.containers() == []  # type: ignore[attr-defined]


def test_other_servers_of_the_machine_are_left_alone(case: Case) -> None:
    """FlagScale's own way to stop kills whatever looks like vLLM."""
    other = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)", "vllm serve", "run_inference_engine"]
    )
    try:
        with case.start():
            pass
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


# --- FlagScale ------------------------------------------------------------------------------------


def test_flagscale_serves_plain_vllm_from_a_folder_of_its_own(flagscale: Machine) -> None:
    import yaml

    folders = set()
    for _ in range(2):
        with flagscale_module.LAUNCHER.start(flagscale.request()) as handle:
            found = facts(handle)
        experiment = yaml.safe_load(found["server:flagscale_config"])["experiment"]
        assert experiment["deploy"] == experiment["runner"]["deploy"] == {"use_fs_serve": False}
        assert Path(experiment["exp_dir"]).is_absolute()
        folders.add(experiment["exp_dir"])
        assert "vllm_model" in found["server:flagscale_resolved"]
        command = found["server:command"]
        assert command[:3] == ["flagscale", "serve", "tiny"]
    assert len(folders) == 2


def test_an_older_flagscale_gets_its_file_without_a_flag(
    flagscale: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_FLAGSCALE", "old")
    with flagscale_module.LAUNCHER.start(flagscale.request()) as handle:
        assert handle.log is not None
        assert " -c " not in handle.log.read_text().partition("\n")[0]


def test_status_0_of_flagscale_is_not_believed(
    flagscale: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_FLAGSCALE", "nothing")
    with (
        pytest.raises(ServerStartFailed) as caught,
        flagscale_module.LAUNCHER.start(flagscale.request()),
    ):
        pass
    assert "ended with status 0 and started nothing" in caught.value.message
    assert "The yaml in the image does not exist" in caught.value.message


def test_the_engines_exit_code_is_taken_from_flagscales_log(flagscale: Machine) -> None:
    request = flagscale.request(environment={"STANDIN_VLLM": "boot"})
    with pytest.raises(ServerStartFailed) as caught, flagscale_module.LAUNCHER.start(request):
        pass
    assert "vllm serve exited with return code: 1" in caught.value.message
    assert "the engine ended with status 1" in caught.value.message


def test_what_is_flagscales_own_is_passed_on(flagscale: Machine) -> None:
    import yaml

    settings = {"runner.hostfile": "/nfs/hosts", "runner.ssh_port": "2222", "max-num-seqs": "8"}
    files = flagscale_module.configuration(flagscale.request(settings=settings), Path("/exp"), 1)
    experiment = yaml.safe_load(files["conf/serve.yaml"])["experiment"]
    assert experiment["runner"]["hostfile"] == "/nfs/hosts"
    assert experiment["runner"]["ssh_port"] == 2222
    (served,) = yaml.safe_load(files["conf/serve/model.yaml"])
    assert served["engine_args"]["max_num_seqs"] == 8
    assert "hostfile" not in served["engine_args"]


def follow(exp_dir: Path, flagscale: Path, path: Path) -> subprocess.CompletedProcess[str]:
    """The program that stays with the server, called by its path as in a container."""
    return subprocess.run(
        [sys.executable, "-I", str(flagscale_module.FOLLOW), str(exp_dir), str(flagscale),
         "tiny", str(path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str], Path]:
    """A ``flagscale serve`` that does what a line of shell does."""
    (tmp_path / "exp" / "serve_logs" / "pids").mkdir(parents=True)

    def put(line: str) -> Path:
        path = tmp_path / "flagscale"
        path.write_text(f'#!/bin/bash\n[ "$2" = --help ] && exit 0\ncd "{tmp_path}/exp"\n{line}\n')
        path.chmod(0o755)
        return path

    return put


PID = "serve_logs/pids/host_0_localhost.pid"
LOG = "serve_logs/host_0_localhost.output"


def test_a_stale_process_id_is_not_followed(tmp_path: Path, fake: Callable[[str], Path]) -> None:
    """It is somebody else's by now."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        (tmp_path / "exp" / PID).write_text(str(other.pid))
        done = follow(tmp_path / "exp", fake("true"), tmp_path / "x.yaml")
        assert done.returncode == 1
        assert "which an earlier start left" in done.stdout
        assert "started nothing" in done.stdout
        assert other.poll() is None
        other.kill()


def test_a_process_id_of_somebody_else_is_not_followed(
    tmp_path: Path, fake: Callable[[str], Path]
) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        done = follow(tmp_path / "exp", fake(f"echo {other.pid} > {PID}"), tmp_path / "x.yaml")
        assert done.returncode == 1
        assert f"process {other.pid}" in done.stdout and "was not started here" in done.stdout
        assert other.poll() is None
        other.kill()


def test_only_what_is_new_in_an_appended_log_counts(
    tmp_path: Path, fake: Callable[[str], Path]
) -> None:
    (tmp_path / "exp" / LOG).write_text("of last week: exited with return code: 7\n")
    line = f"(echo new; sleep 0.5; echo 'exited with return code: 3') >> {LOG} & echo $! > {PID}"
    done = follow(tmp_path / "exp", fake(line), tmp_path / "x.yaml")
    assert done.returncode == 3
    assert "new\n" in done.stdout and "last week" not in done.stdout


def test_a_server_that_ends_with_0_has_failed_all_the_same(
    tmp_path: Path, fake: Callable[[str], Path]
) -> None:
    line = f"(echo 'vllm serve exited with return code: 0') >> {LOG} & echo $! > {PID}"
    assert follow(tmp_path / "exp", fake(line), tmp_path / "x.yaml").returncode == 1


def test_a_server_that_is_gone_without_a_word_has_failed(
    tmp_path: Path, fake: Callable[[str], Path]
) -> None:
    line = f"(sleep 0.3; kill -9 $BASHPID) >> {LOG} & echo $! > {PID}"
    done = follow(tmp_path / "exp", fake(line), tmp_path / "x.yaml")
    assert done.returncode == 1
    assert "did not say how the engine ended" in done.stdout


def test_a_status_of_flagscale_itself_is_passed_on(
    tmp_path: Path, fake: Callable[[str], Path]
) -> None:
    assert follow(tmp_path / "exp", fake("exit 2"), tmp_path / "x.yaml").returncode == 2


def test_a_path_that_flagscales_scripts_cannot_handle_is_refused(flagscale: Machine) -> None:
    from flagos_eval.errors import UsageError

    request = flagscale.request(folder=flagscale.folder / "my results")
    with pytest.raises(UsageError, match="cannot handle the path"):
        flagscale_module.LAUNCHER.start(request).__enter__()


def test_a_machine_without_flagscale_is_told(machine: Machine) -> None:
    from flagos_eval.errors import UsageError

    with pytest.raises(UsageError, match="no flagscale on the path"):
        flagscale_module.LAUNCHER.start(machine.request()).__enter__()


def test_flagscale_is_found_beside_the_servers_interpreter(
    machine: Machine, tmp_path: Path
) -> None:
    import standins

    place = standins.put_server(tmp_path / "env", "flagscale", "standin_flagscale").parent
    standins.put_python(place)
    assert flagscale_module.executable(str(place / "python")) == str(place / "flagscale")
    request = machine.request(python=str(place / "python"))
    with flagscale_module.LAUNCHER.start(request) as handle:
        assert Server(handle.urls[0]).healthy()


# --- Docker ---------------------------------------------------------------------------------------


def test_a_tag_is_resolved_and_its_digest_is_what_runs(docker: Any) -> None:
    request = docker.request(image=IMAGE)
    with docker_module.LAUNCHER.start(request) as handle:
        found = facts(handle)
        assert docker.containers() == [handle.container]
    assert found["server:image"] == IMAGE
    assert found["server:image_digest"] == DIGEST
    (run,) = [call for call in docker.docker_calls("run") if "-v" in call]
    assert DIGEST in run and IMAGE not in run
    assert docker.containers() == []


def test_an_image_that_no_registry_has_runs_by_its_id(docker: Any) -> None:
    with docker_module.LAUNCHER.start(docker.request(image="mine:latest")) as handle:
        assert facts(handle)["server:image_digest"] == "sha256:" + "2" * 64


def test_an_image_that_is_not_here_is_pulled(docker: Any) -> None:
    with docker_module.LAUNCHER.start(docker.request(image="far.example/vl:1")) as handle:
        assert facts(handle)["server:image_digest"].startswith("far.example/vl@sha256:44")
    assert any("pulling far.example/vl:1" in text for text in docker.told)


def test_an_image_that_is_nowhere_is_named(docker: Any) -> None:
    with (
        pytest.raises(ServerStartFailed, match="cannot pull nowhere/vl:2") as caught,
        docker_module.LAUNCHER.start(docker.request(image="nowhere/vl:2")),
    ):
        pass
    assert "not found" in caught.value.message


def test_a_daemon_that_does_not_run_is_said_to(docker: Any) -> None:
    (docker.folder / "docker" / "docker.sock").unlink()
    with (
        pytest.raises(ServerStartFailed, match="Cannot connect to the Docker daemon"),
        docker_module.LAUNCHER.start(docker.request(image=IMAGE)),
    ):
        pass


def test_a_container_gets_the_devices_of_its_platform(docker: Any) -> None:
    with docker_module.LAUNCHER.start(docker.request(image=IMAGE)):
        (run,) = [call for call in docker.docker_calls("run") if "-v" in call]
    assert {"--device=/dev/mxcd", "--device=/dev/dri", "--privileged", "--init", "--rm"} <= set(run)
    assert "--gpus" not in run


def test_weights_are_mounted_read_only_with_what_their_links_lead_to(docker: Any) -> None:
    blobs = docker.folder / "cache" / "blobs"
    snapshot = docker.folder / "cache" / "snapshots" / "abc"
    for folder in (blobs, snapshot):
        folder.mkdir(parents=True)
    (blobs / "0001").write_text("weights")
    (snapshot / "model.safetensors").symlink_to(blobs / "0001")
    request = docker.request(image=IMAGE, model=str(snapshot), served_name="tiny")
    with docker_module.LAUNCHER.start(request):
        (run,) = [call for call in docker.docker_calls("run") if "-v" in call]
    assert f"{snapshot}:{snapshot}:ro" in run and f"{blobs}:{blobs}:ro" in run


def test_values_of_variables_are_not_on_the_command_line(docker: Any) -> None:
    request = docker.request(image=IMAGE, environment={"HF_TOKEN": "sesame22"})
    with docker_module.LAUNCHER.start(request) as handle:
        calls = json.dumps(docker.docker_calls("run"))
        assert docker.calls[0]["env"]["HF_TOKEN"] == "sesame22"
        assert "sesame22" not in json.dumps(facts(handle))
    assert "sesame22" not in calls


def test_further_arguments_of_docker_are_passed_on(docker: Any) -> None:
    request = docker.request(image=IMAGE, docker_arguments=("--device=/dev/infiniband",))
    with docker_module.LAUNCHER.start(request):
        (run,) = [call for call in docker.docker_calls("run") if "-v" in call]
    assert "--device=/dev/infiniband" in run


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("vllm/vllm-openai:v0.9.1", "vllm/vllm-openai"),
        ("host:5000/a/b", "host:5000/a/b"),
        ("host:5000/a/b:tag", "host:5000/a/b"),
        ("a/b@sha256:00", "a/b"),
        ("a", "a"),
    ],
)
def test_a_repository_is_an_image_without_its_tag(image: str, name: str) -> None:
    from flagos_eval.launchers import _docker

    assert _docker.repository(image) == name

"""`run --engine ray` on a real Ray of this machine. `make test-ray` makes the environment."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import protocol_server as ps
import pytest
from protocol_server import ProtocolServer, fail_matching
from test_run import N, Workplace, asked, judged, right_answer

from flagos_eval import store
from flagos_eval.launchers._process import free_port

INSTALLED = importlib.util.find_spec("ray") is not None
pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not INSTALLED, reason="Ray is not installed (make test-ray)"),
]
RAY = Path(sys.executable).with_name("ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two CPUs, which ends with the tests."""
    port = free_port()
    # A socket's path has at most 107 characters: pytest's folders are too deep.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        command = [
            *(str(RAY), "start", "--head", "--block", "--num-cpus", "2", "--port", str(port)),
            *("--node-ip-address", "127.0.0.1", "--temp-dir", folder),
            *("--include-dashboard", "false", "--disable-usage-stats"),
            *("--object-store-memory", str(100 * 2**20)),
        ]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(line)
                if "Ray runtime started" in line:
                    break
            else:
                pytest.fail("Ray did not start: " + "".join(said))
            yield f"127.0.0.1:{port}"
            process.terminate()
            process.communicate(timeout=60)


@pytest.fixture
def work(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    with ProtocolServer(answer=right_answer) as running:
        yield running


def on_ray(
    work: Workplace, server: ProtocolServer, cluster: str, *more: str
) -> subprocess.CompletedProcess[str]:
    command = work.command(server, "--engine", "ray", "--shards", "3", *more)
    environment = {**os.environ, "RAY_ADDRESS": cluster}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_no_cluster_is_one_sentence(work: Workplace, server: ProtocolServer) -> None:
    done = on_ray(work, server, "auto")
    if done.returncode == 0:
        pytest.skip("this machine has a cluster of its own")
    assert done.returncode == 74
    assert "there is no Ray cluster at auto" in done.stderr and "ray start" in done.stderr


def test_a_run_on_ray_is_the_run_in_one_piece(
    work: Workplace, server: ProtocolServer, cluster: str
) -> None:
    whole = work.run(server, name="whole", logprobs=1)
    before = asked(server)
    done = on_ray(work, server, cluster, "--logprobs", "1")
    assert done.returncode == 0, done.stderr
    assert asked(server) - before == dict.fromkeys(range(N), 1)
    run = store.load(work.output())
    assert judged(run) == judged(whole) and run.tasks == whole.tasks
    assert len(run.parents) == 3
    files = {str(p.relative_to(work.results)) for p in work.results.rglob("*") if p.is_file()}
    kept = {file.path for each in (run, whole) for file in each.files}
    assert files == {"run.json", "whole.json", *kept}, "the shards' own files are gone"


def test_what_failed_on_ray_is_asked_again_and_nothing_else(
    work: Workplace, server: ProtocolServer, cluster: str
) -> None:
    server.faults = fail_matching("Question 00", ps.Status(400))
    done = on_ray(work, server, cluster)
    assert done.returncode == 5 and "10 of 24 requests failed" in done.stdout
    first, server.faults = asked(server), None
    done = on_ray(work, server, cluster)
    assert done.returncode == 0, done.stderr
    assert asked(server) - first == dict.fromkeys(range(10), 1)
    assert store.load(work.output()).state == "complete"


def test_what_a_shards_run_raises_is_told_with_its_number(
    work: Workplace, server: ProtocolServer, cluster: str
) -> None:
    server.supports_images = False
    done = on_ray(work, server, cluster)
    assert done.returncode == 2
    assert re.search(r"shard \d/3: the model at .* takes no images", done.stderr)


def test_a_server_that_dies_leaves_what_was_answered_to_the_same_command(
    work: Workplace, server: ProtocolServer, cluster: str
) -> None:
    def stop(info: ps.RequestInfo) -> ps.Fault | None:
        # The door closes after twenty questions and the probes; /health does with it.
        return ps.Status(401) if sum(asked(server).values()) > 12 else None

    server.faults = stop
    done = on_ray(work, server, cluster)
    assert done.returncode == 2 and "does not accept the API key" in done.stderr
    server.faults = None
    done = on_ray(work, server, cluster)
    assert done.returncode == 0, done.stderr
    # Twelve were answered; those that met the closed door were asked again.
    assert sum(asked(server).values()) <= N + 3 * 2 + 1

"""A stand-in for ``vllm serve`` and vLLM's API server module: the protocol server behind its flags.

It reproduces what the launchers rely on: its flags, a second process for the engine in a session of
its own, the words of a failed start, and an end when the engine ends. ``STANDIN_VLLM`` chooses what
goes wrong. It writes how it was called to ``$STANDIN_RECORD``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from protocol_server import ProtocolServer, default_answer

OOM = """\
(EngineCore pid=4242) INFO 11-22 22:00:00 [gpu_worker.py:1] set VLLM_X to avoid out of memory
(EngineCore pid=4242) torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.02 GiB. GPU 0
"""
LATE = 30
"""An answer that is none of the probes any more: the engine is told of it."""
SWITCHES = ("enforce-eager", "enable-prefix-caching", "no-enable-prefix-caching")


def flags_of(arguments: list[str]) -> dict[str, str]:
    """``--name value``, ``--name`` before another flag or the end, and the model wherever it is."""
    found: dict[str, str] = {}
    words = list(arguments)
    if words[:1] == ["serve"]:
        found["model"] = words[1]
        words = words[2:]
    while words:
        name = words.pop(0)
        if not name.startswith("--"):
            sys.exit(f"vllm: error: unrecognized arguments: {name}")
        follows = words and not words[0].startswith("--")
        found[name[2:]] = words.pop(0) if follows and name[2:] not in SWITCHES else ""
    return found


def record(arguments: list[str]) -> None:
    """How this was called."""
    path = os.environ.get("STANDIN_RECORD")
    if path:
        with open(path, "a", encoding="utf-8") as out:
            call = {"argv": arguments, "pid": os.getpid(), "env": dict(os.environ)}
            out.write(json.dumps(call) + "\n")


def start_engine(environment: dict[str, str], *, deaf: bool) -> subprocess.Popen[str] | None:
    """The engine's process, once it is ready; None if it died before."""
    if "STANDIN_PACKAGES" in environment:
        command = [sys.executable, str(Path(__file__).with_name("standin_worker.py"))]
    else:
        ignore = "import signal; signal.signal(15, signal.SIG_IGN)\n" if deaf else ""
        program = f"import time\n{ignore}print('ready', flush=True)\ntime.sleep(600)"
        command = [sys.executable, "-c", program]
    engine = subprocess.Popen(
        command,
        start_new_session=True,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert engine.stdout is not None
    for line in engine.stdout:
        if line.strip() == "ready":
            return engine
        print(line, end="", flush=True)
    return None


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM, or go wrong."""
    record(arguments)
    flags = flags_of(arguments)
    wrong = os.environ.get("STANDIN_VLLM", "")
    print(f"INFO 11-22 22:00:00 [utils.py:1] non-default args: {flags}", flush=True)
    if wrong == "boot":
        print("ValueError: the model's architecture is not known", flush=True)
        return 1
    if wrong == "oom":
        print(OOM + "RuntimeError: Engine core initialization failed. See root cause above.")
        return 1
    if wrong == "hang":
        time.sleep(600)
    kept = {k: v for k, v in os.environ.items() if wrong != "forget" or k != "USE_FLAGGEMS"}
    if wrong == "title":
        kept = {"TITLE": "VLLM::EngineCore"}  # what the system shows of a process with a title
    if wrong == "lose-operators":
        kept.pop("FLAGOS_EVAL_OPERATORS", None)
    if wrong == "lose-blacklist":  # as FlagGems#4926 has it
        kept.pop("VLLM_FL_FLAGOS_BLACKLIST", None)
    engine = start_engine(kept, deaf=wrong == "deaf")
    if engine is None:
        print("RuntimeError: Engine core initialization failed. See root cause above.")
        return 1
    port = int(flags["port"])
    model = "somebody-elses-model" if wrong == "other" else flags["served-model-name"].split()[0]
    done = threading.Event()
    answered = [0]

    def answer(body: dict[str, object]) -> str:
        answered[0] += 1
        if answered[0] == LATE and engine.stdin is not None:
            engine.stdin.write("asked\n")
            engine.stdin.flush()
        if wrong.startswith("die-after-") and answered[0] > int(wrong.rpartition("-")[2]):
            print("RuntimeError: Triton Error [CUDA]: an illegal memory access", flush=True)
            os.kill(engine.pid, signal.SIGKILL)
            os._exit(1)
        return default_answer(body)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None if wrong == "deaf" else done.set())
    # The first version that does not heed image limits in requests is one of the release's.
    old = "0.7.2" if os.environ.get("STANDIN_OLD") else "0.20.2"
    server = ProtocolServer(
        answer=answer, model=model, root=flags["model"], port=port, version=old,
        honours_max_pixels=old != "0.7.2",
    )  # fmt: skip
    with server:
        print(f"INFO Started server process [{os.getpid()}]", flush=True)
        while not done.wait(0.1):
            if engine.poll() is not None:
                print("RuntimeError: EngineCore died unexpectedly", flush=True)
                return 1
    engine.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""flagos-eval beside other harnesses: whole commands, in interleaved rounds.

    tools/peers_env.sh .venv-peers
    python benchmarks/peers.py [--rounds N] [--results FILE] [--check]

`flagos-eval run`, lmms-eval (`async_openai`) and inspect_ai ask the same questions with the same
pictures (`peer_items.py`) of a null server (`null_server.py`, a process of its own), each command
with its defaults but for the server, the requests in flight, the sampling and what it shows.
Measured from outside: by the server, when questions come and how large they are; by the operating
system, the CPU time and the memory of a command. A command fails the benchmark unless it asked
every question exactly once.

With ``--results`` each measurement is added to a file, and tables are of all that is in it, so that
rounds can be run one by one (``--rounds 1``), and reported again (``--rounds 0``). Prints
Markdown tables of medians with their ranges; a ratio is of one round. ``--check`` exits with 1
if a ratio is worse than its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.peer_tables import OWN, Measured, print_limits, print_measured, store, stored
    from benchmarks.throughput import SETTINGS, null_server
else:  # as a script, beside it
    from peer_tables import OWN, Measured, print_limits, print_measured, store, stored
    from throughput import SETTINGS, null_server

ROOT = Path(__file__).resolve().parent.parent
MODEL = "null"
MAX_TOKENS = 4096
"""What flagos-eval asks of MathVision."""
LONGEST = 900
"""Seconds after which a command is ended, which fails the benchmark."""


@dataclass(frozen=True)
class Harness:
    """How one is called."""

    name: str
    package: str
    python: Path
    command: Callable[[Path, Path, str, int], list[str]]
    """Of the folder of items, an empty folder for what it writes, the address and the number of
    requests in flight: the arguments after its Python."""


def harnesses(environments: Path) -> tuple[Harness, ...]:
    """Ours and the peers, whose environments `tools/peers_env.sh` made."""
    return (
        Harness(OWN, "flagos-eval", Path(sys.executable), _own),
        Harness("inspect_ai", "inspect_ai", environments / "inspect" / "bin" / "python", _inspect),
        Harness("lmms-eval", "lmms_eval", environments / "lmms" / "bin" / "python", _lmms),
    )


def _own(items: Path, output: Path, url: str, in_flight: int) -> list[str]:
    asked = ["--tasks", str(items / "mathvision.py"), "--data-dir", str(items)]
    server = ["--base-url", url, "--concurrency", str(in_flight)]
    return ["-m", "flagos_eval", "run", *asked, *server, "-o", str(output / "run.json"), "--quiet"]


def _inspect(items: Path, output: Path, url: str, in_flight: int) -> list[str]:
    asked = ["inspect_task.py", "-T", f"items={items / 'items.jsonl'}"]
    server = ["--model", f"openai-api/{MODEL}/{MODEL}", "--model-base-url", url]
    sampling = ["--max-tokens", str(MAX_TOKENS), "--temperature", "0"]
    return [
        *("-m", "inspect_ai", "eval", *asked, *server, *sampling),
        *("--max-connections", str(in_flight), "--log-dir", str(output), "--display", "none"),
    ]


def _lmms(items: Path, output: Path, url: str, in_flight: int) -> list[str]:
    server = f"model_version={MODEL},base_url={url},api_key=EMPTY,num_cpus={in_flight}"
    return [
        *("-m", "lmms_eval", "--model", "async_openai", "--model_args", server),
        *("--tasks", "peers", "--include_path", str(items / "lmms"), "--batch_size", "1"),
        *("--output_path", str(output), "--log_samples"),
    ]


# --- Rounds ---------------------------------------------------------------------------------------


def measure(
    harness: Harness, items: Path, setting: tuple[int, int], number: int, version: str
) -> Measured:
    """One command against a server of its own."""
    delay, in_flight = setting
    pictures = [path.stat().st_size for path in (items / "mathvision" / "images").iterdir()]
    with null_server(delay, "--questions") as url, tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        command = [str(harness.python), *harness.command(items, output / "out", url, in_flight)]
        (output / "out").mkdir()
        started = time.time()
        variables = environment(harness, output)
        usage = _finish(command, items, variables, output / "log")
        whole = time.time() - started
        stats, questions = _get(url, "stats"), _get(url, "questions")
        asked = sorted(question["number"] for question in questions)
        if asked != list(range(len(pictures))):
            shown = _tail(output / "log")
            raise SystemExit(f"{harness.name} asked {len(asked)} questions, not each once\n{shown}")
    first = min(question["received"] for question in questions)
    return Measured(
        harness=harness.name,
        version=version,
        delay=delay,
        in_flight=in_flight,
        round=number,
        ended=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        load=round(os.getloadavg()[0], 2),
        questions=len(questions),
        other_requests=stats["requests"] - len(questions),
        most_in_flight=stats["most_in_flight"],
        first_request=stats["first_request"] - started,
        first_question=first - started,
        asking=max(question["answered"] for question in questions) - first,
        whole=whole,
        cpu=usage.ru_utime + usage.ru_stime,
        memory_mb=usage.ru_maxrss / 1024,
        body_bytes=sum(question["body_bytes"] for question in questions),
        picture_bytes=sum(question["picture_bytes"] for question in questions),
        file_bytes=sum(pictures),
    )


def environment(harness: Harness, folder: Path) -> dict[str, str]:
    """Nothing cached from an earlier command, nothing asked of the network; the code beside this
    file for ours alone."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    places = ("HF_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
    return {
        **inherited,
        **({"PYTHONPATH": str(ROOT)} if harness.name == OWN else {}),
        **{name: str(folder / "home") for name in places},
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "OPENAI_API_KEY": "EMPTY",
        f"{MODEL.upper()}_API_KEY": "EMPTY",
    }


def _finish(command: list[str], folder: Path, environment: Mapping[str, str], log: Path) -> Any:
    """What the command used; its descendants count as far as it waited for them."""
    with log.open("wb") as shown:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=shown, stderr=subprocess.STDOUT
        )
        timer = threading.Timer(LONGEST, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode} of {' '.join(command)}\n{_tail(log)}")
    return usage


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-3000:]


def _get(url: str, page: str) -> Any:
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/{page}") as answer:
        return json.load(answer)


def version_of(harness: Harness) -> str:
    """What is installed for it."""
    if not harness.python.is_file():
        raise SystemExit(f"there is no {harness.python}: tools/peers_env.sh makes it")
    code = f"from importlib.metadata import version; print(version({harness.package!r}))"
    command = [str(harness.python), "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def measure_all(
    chosen: Sequence[Harness], rounds: int, n: int, kept: list[Measured], results: Path | None
) -> list[Measured]:
    """Those that are kept, and every harness at every setting, in turn, round after round."""
    found = list(kept)
    versions = {harness.name: version_of(harness) for harness in chosen} if rounds else {}
    with tempfile.TemporaryDirectory() as folder:
        if rounds:
            # In another process: a child's memory counts from that of this one.
            writer = [sys.executable, str(Path(__file__).with_name("peer_items.py"))]
            here = {**os.environ, "PYTHONPATH": str(ROOT)}
            subprocess.run([*writer, folder, f"--items={n}"], check=True, env=here)
        first = max((measured.round for measured in kept), default=0) + 1
        for number in range(first, first + rounds):
            for setting in SETTINGS:
                for harness in chosen:
                    version = versions[harness.name]
                    found.append(measure(harness, Path(folder), setting, number, version))
                    if results:
                        store(results, found)
    return found


def main() -> int:
    """Measure and print; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--environments", type=Path, default=ROOT / ".venv-peers")
    parser.add_argument("--results", type=Path, help="JSON file that measurements are added to")
    parser.add_argument("--check", action="store_true", help="exit with 1 beyond a limit")
    options = parser.parse_args()
    kept = stored(options.results)
    chosen = harnesses(options.environments.absolute())
    found = measure_all(chosen, options.rounds, options.items, kept, options.results)
    if not found:
        raise SystemExit("nothing was measured: --rounds 1, or --results with a file that has some")
    print_measured(found)
    failed = print_limits(found)
    loads = [measured.load for measured in found]
    print(f"\nLoad of the machine: {min(loads):.1f} to {max(loads):.1f}.")
    return int(options.check and failed > 0)


if __name__ == "__main__":
    sys.exit(main())

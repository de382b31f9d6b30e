"""No key in a file, a log, a report, a message or the process list: every command, end to end.

Servers that repeat what they were sent, in errors and in replies that are none, and one that prints
its variables. All is started as a user starts it, and every byte that is left behind is searched,
in packs and compressed files too."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import protocol_server as ps
import psutil
import pytest
import standins
from judged_task import verdict
from protocol_server import ProtocolServer, RequestInfo

pytestmark = pytest.mark.once

TESTS = Path(__file__).resolve().parent
KEYS = {
    "OPENAI_API_KEY": "sk-model-hunter22",
    "FLAGOS_EVAL_JUDGE_API_KEY": "sk-judge-hunter22",
    "HF_TOKEN": "hf_hunter22hunter22",
    "HUGGING_FACE_HUB_TOKEN": "hf_older_hunter22",
    "MY_SECRET": "handed-on-hunter22",
    # Not a secret's name: the secret is within.
    "FLAGOS_EVAL_ENV": "STANDIN_RECORD OWN_PASSWORD=typed-hunter22 MY_SECRET",
}
MARK = b"hunter22"
"""What every key has in it, and nothing else."""
TASK_FILE = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from judged_task import TASK
"""
BROKEN = """
import logging, os
logging.getLogger("a.library").warning("retrying with %s", os.environ["OPENAI_API_KEY"])
raise RuntimeError("broken by " + os.environ["OPENAI_API_KEY"] + "\\x1b[2J")
"""
PYTHON = f"""
import os, sys
if sys.argv[1:3] == ["-m", "vllm.entrypoints.openai.api_server"]:
    sys.path.insert(0, {str(TESTS)!r})
    import psutil
    above = [" ".join(p.cmdline()) for p in psutil.Process().parents()]
    with open(os.environ["STANDIN_RECORD"] + ".processes", "a") as out:
        print(*above, *sys.argv, sep="\\n", file=out)
    names = ("HF_TOKEN", "MY_SECRET", "OWN_PASSWORD")
    print("ERROR my variables:", *(os.environ[name] for name in names), flush=True)
    import standin_vllm
    sys.exit(standin_vllm.main(sys.argv[3:]))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def secrets_in(data: bytes, name: str) -> Iterator[str]:
    """Where a key is in a file's bytes, in what is packed or compressed in them too."""
    if MARK in data:
        at = data.index(MARK)
        yield f"{name}: {data[max(0, at - 60) : at + 20]!r}"
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as pack:
            for member in pack.namelist():
                yield from secrets_in(pack.read(member), f"{name}/{member}")
    if data.startswith(b"\x1f\x8b"):
        yield from secrets_in(gzip.decompress(data), f"{name} (unpacked)")


@dataclass
class Story:
    """What the commands said and left behind, one after the other."""

    folder: Path
    said: dict[str, str] = field(default_factory=dict)
    left: dict[str, list[str]] = field(default_factory=dict)
    """After each command, where in its files a key was."""
    processes: list[str] = field(default_factory=list)
    """Command lines of our processes while a server was being asked."""
    written: set[str] = field(default_factory=set)

    @property
    def place(self) -> Path:
        """Where the commands run and write."""
        return self.folder / "place"

    def tell(self, name: str, *arguments: object, code: int, **more: str) -> None:
        """One command, as it is typed."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("FLAGOS_", "OPENAI_"))}
        environment = {
            **clean, **KEYS, "STANDIN_RECORD": str(self.folder / "record.jsonl"),
            "HF_HOME": str(self.place / "hub"), **more,
        }  # fmt: skip
        with subprocess.Popen(
            [sys.executable, "-m", "flagos_eval", *map(str, arguments)],
            cwd=self.place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            self.running = process
            out, _ = process.communicate(timeout=180)
        self.said[name] = out.decode("utf-8", "replace")
        assert process.returncode == code, f"{name}: {self.said[name]}"
        files = [path for path in self.place.rglob("*") if path.is_file()]
        self.written |= {path.name for path in files}
        self.left[name] = [
            place for path in files for place in secrets_in(path.read_bytes(), path.name)
        ]

    def look(self, info: RequestInfo) -> None:
        """The process list, as anybody on the machine has it."""
        mine = psutil.Process(self.running.pid)
        self.processes += [" ".join(p.cmdline()) for p in (mine, *mine.children(recursive=True))]


class Echoes:
    """A server's faults: each repeats the key that it was sent."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.kind = ""

    def __call__(self, info: RequestInfo) -> ps.Fault | None:
        self.story.look(info)
        sent = str(info.headers.get("authorization"))
        asked = ps.prompt_text(info.body)
        first = "iddle" in asked or "Grade" in asked
        if self.kind == "stop" and "Riddle 5?" in asked:
            self.story.running.send_signal(signal.SIGINT)
        if self.kind == "401":
            body = ps.error_body(401, f"Incorrect API key provided: {sent}", "invalid_api_key")
            return ps.Status(401, body=body)
        if self.kind == "500" and first:
            return ps.Status(500, body=f"<p>{'no ' * 20}{sent}</p>".encode())
        if self.kind == "probe":
            return ps.Status(503, body=ps.error_body(503, f"busy with {sent}", "Busy"))
        if self.kind == "garbage" and first:
            # As long as what is quoted of it: the key is where the quotation ends.
            return ps.Garbage(b'{"echo": "' + b"." * 40 + sent.encode() + b'"}')
        return None


def answer(body: Mapping[str, Any]) -> str:
    return "right" if "Riddle 1" in ps.prompt_text(dict(body)) else "wrong"


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    story = Story(tmp_path_factory.mktemp("secrets"))
    for name in ("tasks", "weights/tiny", "bin"):
        (story.folder / name).mkdir(parents=True)
    story.place.mkdir()
    (story.folder / "tasks" / "riddles.py").write_text(TASK_FILE)
    (story.folder / "weights" / "tiny" / "config.json").write_text('{"model_type": "tiny"}')
    standins.put(story.folder / "bin", "python", PYTHON)
    echoes, judging = Echoes(story), Echoes(story)
    model = ProtocolServer(answer=answer, api_key=KEYS["OPENAI_API_KEY"], faults=echoes)
    judge = ProtocolServer(
        answer=verdict, model="judge-1", api_key=KEYS["FLAGOS_EVAL_JUDGE_API_KEY"], faults=judging
    )
    with model, judge:
        _asked(story, model, echoes)
        _judged(story, judge, judging)
        _compared(story, model)
        _launched(story)
        _refused(story)
    assert model.errors == judge.errors == []
    yield story


def _asked(story: Story, model: ProtocolServer, echoes: Echoes) -> None:
    """Every way that a run ends."""
    tasks = ("-t", "riddles", "--tasks-dir", story.folder / "tasks")
    run = ("run", *tasks, "--base-url", model.url, "--plain", "--max-retries", 0)
    one = (*run, "--concurrency", 1)
    story.tell("dry run", *run, "--dry-run", code=0)
    for kind, code in (("401", 2), ("probe", 74), ("500", 5), ("garbage", 5)):
        echoes.kind = kind
        story.tell(f"a run that ends with {kind}", *one, "-o", "a.json", code=code)
    echoes.kind = "stop"
    story.tell("an interrupted run", *one, "-o", "a.json", "--fresh", code=130)
    echoes.kind = ""
    story.tell("a resumed run", *one, "-o", "a.json", code=0)
    story.tell("another run", *run, "-o", "b.json", code=0)


def _judged(story: Story, judge: ProtocolServer, echoes: Echoes) -> None:
    score = (
        *("score", "a.json", "--tasks-dir", story.folder / "tasks", "--judge-model", "judge-1"),
        *("--judge-base-url", judge.url),
    )
    for kind, code in (("401", 2), ("500", 74), ("", 0)):
        echoes.kind = kind
        story.tell(f"a judge that says {kind or 'grades'}", *score, "-o", "j.json", code=code)


def _compared(story: Story, model: ProtocolServer) -> None:
    tasks = ("--tasks-dir", story.folder / "tasks")
    story.tell("compare", "compare", "a.json", "b.json", *tasks, code=3)
    for suffix in ("html", "md", "json", "xml"):
        story.tell(suffix, "report", "a.json", "b.json", *tasks, "-o", f"r.{suffix}", code=3)
    story.tell("pack", "pack", "a.json", *tasks, "--images", code=0)
    story.tell("verify", "verify", "a.zip", *tasks, code=0)
    story.tell("show", "show", "a.json", code=0)
    story.tell("reproduce", "show", "a.json", "--reproduce", code=0)
    story.tell("sign", "sign", "r.json", "--by", "me", "--decision", "hold", code=0)
    story.tell("facts", "facts", "--base-url", model.url, "-o", "facts.json", code=0)
    story.tell("doctor", "doctor", "-t", "riddles", *tasks, "--base-url", model.url, code=0)
    story.tell("spot-check", "spot-check", "a.json", "--base-url", model.url, *tasks, code=0)
    mirror = model.url.replace("http://", "http://me:mirror-hunter22@")
    story.tell("fetch", "fetch", "-t", "mmmu", code=74, HF_ENDPOINT=mirror)
    (story.folder / "arms.toml").write_text(
        f'tasks = ["riddles"]\ntasks-dir = "{story.folder / "tasks"}"\n'
        f'env = ["ARMS_TOKEN=arms-hunter22"]\n'
        f'[arms.one]\nbase-url = ["{model.url}"]\n[arms.two]\nbase-url = ["{model.url}/"]\n'
    )
    story.tell("arms", "arms", story.folder / "arms.toml", "-o", "arms", "--plain", code=3)


def _launched(story: Story) -> None:
    run = (
        *("run", "-t", "riddles", "--tasks-dir", story.folder / "tasks", "--plain"),
        *("--launcher", "vllm", "--server-python", story.folder / "bin" / "python"),
        *("-m", story.folder / "weights" / "tiny"),
    )
    story.tell("a server that is started", *run, "-o", "l.json", code=0)
    story.tell("one that dies", *run, "-o", "d.json", code=74, STANDIN_VLLM="boot")


def _refused(story: Story) -> None:
    (story.folder / "broken").mkdir()
    (story.folder / "broken" / "broken.py").write_text(BROKEN)
    run = ("run", "-t", "broken", "--tasks-dir", story.folder / "broken")
    story.tell("a broken task", "--debug", *run, "--base-url", "http://127.0.0.1:9/v1", code=2)


# --- What must hold -------------------------------------------------------------------------------


def test_no_command_leaves_a_key_in_a_file(story: Story) -> None:
    assert {name: found for name, found in story.left.items() if found} == {}


def test_no_command_prints_a_key(story: Story) -> None:
    assert {name: text for name, text in story.said.items() if MARK.decode() in text} == {}


def test_no_process_of_ours_shows_a_key(story: Story) -> None:
    seen = story.processes + (story.folder / "record.jsonl.processes").read_text().splitlines()
    assert any("api_server" in line for line in seen) and any("_guard" in line for line in seen)
    assert [line for line in seen if MARK.decode() in line] == []


def test_no_message_acts_on_a_terminal(story: Story) -> None:
    assert {name: text for name, text in story.said.items() if "\x1b" in text} == {}


# --- That the above could fail --------------------------------------------------------------------


def test_the_servers_were_sent_their_keys_and_repeated_them(story: Story) -> None:
    assert "(hidden)" in story.said["a run that ends with probe"]
    assert "(hidden)" in story.said["a judge that says 401"]


def test_the_started_server_printed_its_variables_and_its_log_was_cleaned(story: Story) -> None:
    log = (story.place / "l.server.log").read_text()
    assert "my variables: (hidden) (hidden) (hidden)" in log
    assert "my variables: (hidden) (hidden) (hidden)" in story.said["one that dies"]


def test_a_started_server_gets_what_it_was_promised_and_no_key_of_another(story: Story) -> None:
    call = json.loads((story.folder / "record.jsonl").read_text().splitlines()[0])
    assert call["env"]["MY_SECRET"] == KEYS["MY_SECRET"]
    assert call["env"]["OWN_PASSWORD"] == "typed-hunter22"
    assert call["env"].keys().isdisjoint({"OPENAI_API_KEY", "FLAGOS_EVAL_JUDGE_API_KEY"})


def test_every_kind_of_file_was_searched(story: Story) -> None:
    assert story.written >= {
        *("a.json", "a.journal.jsonl", "a.zip", "r.html", "r.md", "r.json", "r.xml"),
        *("facts.json", "r.signed.json", "l.server.log", "one-vs-two.json"),
    }


def test_a_key_in_a_pack_within_a_compressed_file_is_found() -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as pack:
        pack.writestr("samples/x", b"a " + MARK)
    found = list(secrets_in(gzip.compress(inner.getvalue()), "x.gz"))
    assert any("samples/x" in place for place in found)

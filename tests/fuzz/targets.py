"""The parsers of what strangers write: valid inputs of each, and how it is called.

`TARGETS` is also the table of ``docs/security.md``."""

from __future__ import annotations

import gzip
import http.server
import json
import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import factories
import standins
import test_hostile_answers as hostile
import test_importers as foreign

from flagos_eval import (
    answers,
    arms_file,
    comparison_file,
    config,
    facts,
    hub,
    images,
    judge_cache,
    logprobs,
    mmmu_rows,
    pack,
    policy,
    reply,
    samples,
    signing,
    store,
    weights,
)
from flagos_eval import server as servers
from flagos_eval.cards import files as cards
from flagos_eval.catalog import load_module, load_task
from flagos_eval.compare_files import compare_files
from flagos_eval.dataset import Source, load
from flagos_eval.importers import flagevalmm, lmms_eval
from flagos_eval.journal import open_journal
from flagos_eval.launchers import _docker, _log
from flagos_eval.operators import _hook, evidence, folder, installed
from flagos_eval.platforms import _software, others
from flagos_eval.records import Grade, Run, StoredFile, sha256_hex
from flagos_eval.scoring import math
from flagos_eval.task import HubDataset

_BEGAN = "2026-01-02T03:04:05Z"


@dataclass(frozen=True)
class Target:
    """One parser."""

    name: str
    input: str
    parser: str
    """The function that is called, as ``module.function`` below ``flagos_eval``."""
    writer: str
    """Who can write the input."""
    limits: str
    beyond: str
    """What happens beyond the limits, and with what is no such input."""
    seeds: Callable[[Path], Sequence[bytes]]
    """Valid inputs; the folder is empty."""
    parse: Callable[[bytes, Path], object]
    """Reads one input; the folder is its own."""
    shape: Literal["json", "lines", "text", "bytes"]
    raises: tuple[type[Exception], ...] = ()
    """What it may raise beside the project's own errors, by its documentation."""


# --- Valid inputs ---------------------------------------------------------------------------------


_ANSWERED = ("0", "wrong", factories.Failed, factories.NotAsked)


def _runs(folder: Path) -> list[bytes]:
    """Run files of one and of two tasks, with failures, repeats and questions not asked."""
    again = {"0": ["0", "1"], "1": ["1", factories.Failed], "2": ["2", "2"]}
    paths = [
        factories.saved(
            folder, ("0", "wrong", factories.Failed, factories.NotAsked), path="a.json"
        ),
        factories.saved(folder, again, path="b.json", epochs=(factories.epoch(),)),
    ]
    return [path.read_bytes() for path in paths]


def _pack(folder: Path) -> list[bytes]:
    path = factories.saved(folder, ("0", "1"))
    out = folder / "run.zip"
    pack.write(store.load(path), path, out, images={sha256_hex(b"x"): b"x"})
    return [out.read_bytes()]


def _unpacked(folder: Path, kind: str) -> list[bytes]:
    path = factories.saved(folder, ("0", "1", "2"))
    stored = next(f for f in store.load(path).files if f.kind == kind)
    return [gzip.decompress(samples.read_stored(path, stored))]


def _traces(folder: Path) -> list[bytes]:
    lines = [{"tokens": [["a", -0.5, [["a", -0.5], ["b", -1]]], ["b", -1.5, []]]}] * 3
    return [b"".join(json.dumps(line).encode() + b"\n" for line in lines)]


def _comparison(folder: Path) -> list[bytes]:
    one = factories.saved(folder, ("0", "1", "x"), path="a.json")
    other = factories.saved(folder, ("0", "2", "x"), path="b.json")
    found, sides = compare_files(
        str(one), str(other), policy_name="default", load_task=lambda name: factories.task()
    )
    return [load_module("reports", "json", "format").render(found, sides).encode()]


def _signature(folder: Path) -> list[bytes]:
    path = folder / "c.json"
    path.write_bytes(_comparison(folder)[0])
    decided = signing.Decision(by="Li Na", decision="hold", note="why")
    return [signing.sign(path, decided, at="2026-01-01T00:00:00Z")[1].read_bytes()]


def _facts_file(folder: Path) -> list[bytes]:
    from flagos_eval.platforms.cpu import PLATFORM

    return [facts.dump(facts.collect(PLATFORM)).encode()]


def _journal(folder: Path) -> list[bytes]:
    """The events of a journal, without their checksums."""
    path = folder / "j.jsonl"
    with open_journal(path, {"tasks": ["x"]}, run_id="r", started_at=_BEGAN) as made:
        made.epoch(factories.epoch())
        made.response(factories.response(text="A"), [["A", -0.1, []]])
        made.response(factories.response(sample_id="2", text=None, error=factories.failure()))
    lines = path.read_bytes().split(b"\n")[:-1]
    return [b"".join(line[9:] + b"\n" for line in lines)]


def _cache(folder: Path) -> list[bytes]:
    path = folder / "judge.jsonl"
    grade = Grade(text="grade 1", question="0" * 64)
    with judge_cache.open_cache(path) as made:
        made.keep("judge", grade)
        made.keep("judge", grade, anchor="good")
    return [path.read_bytes()]


_REQUEST = {
    **{"selection": "only:mm", "how": "vllm", "enable": "only", "names": ["mm"], "workers": 1},
    **{"allowed": ["mm"], "version": "5.0", "functions": ["mm", "softmax"]},
}
_EVENTS = [
    {"event": "switched", "version": "5.0", "vendor": "metax", "registered": ["mm"]},
    {"event": "worker"},
    {"event": "operator", "module": "m", "name": "mm", "direct": True},
    {"event": "count", "module": "m", "name": "mm", "direct": True, "count": 3},
    {"event": "last", "names": ["mm"]},
]


def _evidence(folder: Path) -> list[bytes]:
    start = {"start": 1, "event": "start", "request": _REQUEST, "epochs": [0], "fallbacks": []}
    lines = [start, *({"start": 1, "process": 7, **event} for event in _EVENTS)]
    return [b"".join(json.dumps(line).encode() + b"\n" for line in lines)]


def _counts(folder: Path) -> list[bytes]:
    path = folder / "7.counts"
    made = _hook.Counts(path)
    for name in ("mm", "softmax"):
        slot = made.slot(json.dumps(["m", name, True]))
        assert slot is not None
        made.add(slot)
    return [path.read_bytes()[: 8 + 2 * _hook.RECENT + 4 * _hook.SLOT]]


def _json(*values: Any) -> Callable[[Path], list[bytes]]:
    return lambda folder: [json.dumps(value, ensure_ascii=False).encode() for value in values]


def _lines(values: Sequence[Any]) -> Callable[[Path], list[bytes]]:
    data = b"".join(json.dumps(value).encode() + b"\n" for value in values)
    return lambda folder: [data]


def _texts(*values: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: [value.encode() for value in values]


CHAT = {
    **{"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "tiny"},
    "choices": [
        {
            **{"index": 0, "finish_reason": "stop", "logprobs": None},
            "message": {"role": "assistant", "content": "B", "reasoning_content": "hm"},
        }
    ],
    "usage": {
        **{"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 13},
        "prompt_tokens_details": {"cached_tokens": 0},
    },
}
_TOP = [{"token": "B", "logprob": -0.1}]
TOLD = {
    **CHAT,
    "choices": [
        {
            **{"message": {"content": [{"type": "text", "text": "B"}]}, "finish_reason": "length"},
            "logprobs": {"content": [{"token": "B", "logprob": -0.1, "top_logprobs": _TOP}]},
        }
    ],
}
PAGES = {
    "/v1/models": json.dumps(
        {"object": "list", "data": [{"id": "tiny", "root": "/w", "max_model_len": 4096}]}
    ),
    "/version": '{"version": "0.8.5"}',
    "/metrics": (
        "# HELP vllm:request_success_total x\n"
        'vllm:request_success_total{finished_reason="stop",model_name="tiny"} 12.0\n'
        'vllm:prompt_tokens_total{model_name="tiny"} 1.2e+03\n'
        "process_start_time_seconds 1.7e+09\n"
    ),
}
CARD = """\
# A release

| Metrics | CUDA | MetaX |
|---|---:|:---:|
| mmmu_val | 54.1 | **53.9** |
| blink_val | 60.00% | [61.2](x) |
"""
_LOG = """\
INFO 11-22 22:00:00 [utils.py:1] non-default args: {'model': 'x', 'seed': 0}
INFO Initializing a V1 LLM engine (v0.8.5) with config: model='x', Using FLASH_ATTN backend.
flag_gems: RuntimeError fallback to torch
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.02 GiB. GPU 0
"""
_ANSWERS = (
    "The answer is (B).",
    "\\boxed{\\frac{1}{2}}",
    "Let x = 3.5\\times 10^{-2}, so the answer is 12,345 cm.",
    "答案是A。因此选择 B 和 C",
    '{"extracted_answer": "A", "score": 1}',
    '```json\n{"T1": {"score": 1}, "T2": {"score": 0}}\n```',
    "0.5",
)


# --- Calls ----------------------------------------------------------------------------------------


def _put(data: bytes, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _beside(kind: str, data: bytes, folder: Path) -> tuple[Run, Path]:
    """A run beside which there is such a file, with the right hash."""
    place = factories.saved(folder, ("0", "1", "2"))
    run = store.load(place)
    (folder / "it.gz").write_bytes(data)
    stored = StoredFile.model_validate(
        {"kind": kind, "path": "it.gz", "sha256": sha256_hex(data), "task": "sums"}
    )
    responses = tuple(
        r.model_copy(update={"logprobs_line": i}) for i, r in enumerate(run.responses)
    )
    return factories.rebuilt(run, responses=responses, files=(stored,)), place


def _samples(data: bytes, folder: Path) -> object:
    return samples.read(*_beside("samples", gzip.compress(data, 1), folder), "sums")


def _samples_packed(data: bytes, folder: Path) -> object:
    return samples.read(*_beside("samples", data, folder), "sums")


def _logprobs(data: bytes, folder: Path) -> object:
    return logprobs.read(*_beside("logprobs", gzip.compress(data, 1), folder), "sums")


def _compared(data: bytes, folder: Path) -> object:
    """A stranger's run against one of ours, as every report shows it."""
    one = factories.saved(
        folder, ("0", "wrong", factories.Failed, factories.NotAsked), path="o.json"
    )
    other = _put(data, folder / "theirs.json")
    found, sides = compare_files(
        str(one), str(other), policy_name="default", load_task=lambda name: factories.task()
    )
    return [
        load_module("reports", name, "format").render(found, sides).encode("utf-8", "replace")
        for name in ("terminal", "markdown", "html", "card", "json", "junit", "items")
    ]


def _resumed(data: bytes, folder: Path) -> object:
    lines = [line for line in data.split(b"\n") if line]
    path = _put(b"".join(b"%08x %s\n" % (zlib.crc32(x), x) for x in lines), folder / "j.jsonl")
    with open_journal(path, {"tasks": ["x"]}, run_id="r", started_at=_BEGAN) as opened:
        return list(opened.logprobs()) if opened.kept.responses else None


def _stated(data: bytes, folder: Path) -> object:
    """A file of facts under the right hash, where one can be computed at all."""
    try:
        file = facts.FactsFile.model_validate(json.loads(data))
        data = facts.dump(facts._signed(file)).encode()
    except (ValueError, RecursionError):
        return facts.load(_put(data, folder / "facts.json"))
    return facts.load(_put(data, folder / "facts.json"))


def _cached(data: bytes, folder: Path) -> object:
    with judge_cache.open_cache(_put(data, folder / "judge.jsonl")) as opened:
        return opened.replies("judge", "0" * 64)


def _operators(name: str) -> Callable[[bytes, Path], object]:
    def parse(data: bytes, place: Path) -> object:
        started = place / "1"
        _put(json.dumps(_REQUEST).encode(), started / "request.json")
        _put(b"".join(json.dumps(e).encode() + b"\n" for e in _EVENTS), started / "7.jsonl")
        _put(data, started / name)
        folder.last_operators(started)
        return evidence.of_folder(started)

    return parse


class _Page(http.server.BaseHTTPRequestHandler):
    data: dict[str, bytes]
    disable_nagle_algorithm = True  # head and body are written one after the other
    wbufsize = -1

    def do_GET(self) -> None:
        body = type(self).data.get(self.path, b"")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is said."""


@cache
def _pages() -> tuple[type[_Page], str]:
    """A server whose pages are whatever is put there; one for all examples."""
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    return _Page, f"http://127.0.0.1:{serving.server_address[1]}/v1"


def _page(path: str) -> Callable[[bytes, Path], object]:
    def parse(data: bytes, folder: Path) -> object:
        handler, url = _pages()
        handler.data = {name: page.encode() for name, page in PAGES.items()} | {path: data}
        asked = servers.Server(url)
        identity = asked.identity()
        found = (asked.metrics(), asked.reading(), identity.model("tiny", url))
        json.dumps([identity.version, found[0], found[2].max_model_len], allow_nan=False)
        return found

    return parse


@cache
def _rules() -> tuple[Any, ...]:
    return tuple(case.values for case in hostile.CASES)


def _scored(data: bytes, folder: Path) -> object:
    text = (
        data.decode("utf-8", "surrogatepass") if _is_text(data) else data.decode("utf-8", "replace")
    )
    return [hostile.judged(sample, scorer, text) for sample, scorer in _rules()]


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _math(data: bytes, folder: Path) -> object:
    left, _, right = data.decode("utf-8", "replace").partition("|")
    return math.equal(left, right), math.evaluate(left)


def _picture(data: bytes, folder: Path) -> object:
    bank = images.ImageBank()
    part = bank.add(lambda: data, where="row 1")
    return part, samples._thumbnail(part, bank)


def _pictures(folder: Path) -> list[bytes]:
    import io

    from PIL import Image

    found = []
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"):
        out = io.BytesIO()
        Image.new("RGB", (9, 7), (200, 40, 40)).save(out, kind)
        found.append(out.getvalue())
    return found


def _data(task: str, name: str) -> Callable[[bytes, Path], object]:
    def parse(data: bytes, folder: Path) -> object:
        _put(data, folder / name)
        whole = load_task(task)
        assert isinstance(whole.dataset, HubDataset)
        # However many items there are: otherwise the number would be all that is looked at.
        anyhow = replace(whole.dataset, n=dict.fromkeys(whole.dataset.n))
        source = Source(data_dir=folder, absent_images=True)
        return load(replace(whole, dataset=anyhow), source)

    return parse


def _weights(name: str) -> Callable[[bytes, Path], object]:
    def parse(data: bytes, folder: Path) -> object:
        _put(b"{}", folder / "config.json")
        _put(data, folder / name)
        weights.fingerprint(weights.fetch(str(folder), lambda text: None))
        return weights.problems(folder)

    return parse


def _tool(data: bytes, place: Path) -> object:
    """A vendor's tool: what it prints goes through every platform's patterns."""
    from flagos_eval.platforms import _tool

    text = data.decode("utf-8", "replace")
    known = others.PLATFORMS
    singles = [_tool._first_group(p, text) for one in known for p in (one.driver, one.sdk)]
    return singles, [_tool._groups(one.device, text) for one in known]


def _inspected(data: bytes, folder: Path) -> object:
    import subprocess

    text = data.decode("utf-8", "replace")
    return _docker.described(subprocess.CompletedProcess([], 0, text, ""), "image x")


def _logged(data: bytes, place: Path) -> object:
    log = _put(data, place / "x.server.log")
    return _log.cause(log), _log.facts(log), folder.fallbacks(log)


def _settings(data: bytes, folder: Path) -> object:
    return config.combine({"file": config.read_file(_put(data, folder / "x.toml"))}).settings()


def _flagevalmm(name: str) -> Callable[[bytes, Path], object]:
    def parse(data: bytes, folder: Path) -> object:
        root = foreign.results(folder / "fe", foreign.THREE)
        _put(data, root / "math_vision_test" / name)
        return flagevalmm.read([root])

    return parse


def _lmms(name: str) -> Callable[[bytes, Path], object]:
    def parse(data: bytes, folder: Path) -> object:
        path = foreign.logged(folder, foreign.LINES)
        _put(data, folder / name)
        return lmms_eval.read([path])

    return parse


_SAMPLES = "20260102_030405_samples_mathvision_test.jsonl"
_RESULTS = "20260102_030405_results.json"
_CONFIG = {
    **{"model_name": "x", "date": "2026", "config": {"model": "vllm", "model_args": "a=b"}},
    "results": {"mathvision_test": {"mathvision_standard_eval,none": 66.7}},
}
_POLICY = """\
policy = 1
name = "x"
alpha = 0.05
max_error_rate = 0.005
[tasks.shapes]
margin = 5.0
tier = "critical"
[[waiver]]
task = "shapes"
accepts = "NUMERICS_CHANGED"
who = "Li Na"
why = "known"
until = 2026-12-31
"""
_ARMS = """\
tasks = ["shapes"]
baseline = "one"
compare = [["one", "two"]]
[arms.one]
base-url = ["http://h:1/v1"]
[arms.two]
launcher = "vllm"
env = ["A=1"]
"""
_SETTINGS = """\
tasks = ["mmmu", "blink"]
temperature = 0.5
max-tokens = 512
env = ["A=1"]
eager = true
"""


# --- The table ------------------------------------------------------------------------------------

_HEAD = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
_TENSORS = len(_HEAD).to_bytes(8, "little") + _HEAD + b"\0\0\0\0"
_TRAVELS = "whoever sends a run"
_PEER = "the server that is asked"
_CORRUPT = "`CorruptFile` (74), with the line"

TARGETS = (
    Target(
        "run file", "a run as JSON", "store.parse", _TRAVELS,
        "2 GiB; numbers of 4300 digits; nesting as Python's own", "`CorruptFile` (74), "
        "`UsageError` (2) if it is no run, `InvalidRun` (4) if it contradicts itself",
        _runs, lambda data, folder: store.parse(data, folder / "x.json"), "json",
    ),
    Target(
        "run file, compared", "the same, through pairing and every report",
        "compare_files.compare_files", _TRAVELS, "as above",
        "as above, or `NotComparable` (4)", _runs, _compared, "json",
    ),
    Target(
        "pack", "a zip of a run and what belongs to it", "archive.read_run", _TRAVELS,
        "2 GiB a member; each name once and in SHA256SUMS; nothing is unpacked to the disk",
        "`CorruptFile` (74), with the member", _pack,
        lambda data, folder: store.load(_put(data, folder / "x.zip")), "bytes",
    ),
    Target(
        "samples", "questions beside a run, as packed JSON lines", "samples.read", _TRAVELS,
        "2 GiB unpacked; inside the run's folder, links followed; the run's hashes", _CORRUPT,
        lambda folder: _unpacked(folder, "samples"), _samples, "lines",
    ),
    Target(
        "samples, packed", "the same, as compressed bytes", "samples.read", _TRAVELS,
        "as above", "`CorruptFile` (74)",
        lambda folder: [gzip.compress(_unpacked(folder, "samples")[0])], _samples_packed, "bytes",
    ),
    Target(
        "log-probabilities", "answers token by token beside a run", "logprobs.read", _TRAVELS,
        "8 GiB unpacked, read line by line", _CORRUPT, _traces, _logprobs, "lines",
    ),
    Target(
        "comparison", "the JSON of `report`", "comparison_file.parse", _TRAVELS, "256 MiB",
        "`CorruptFile` (74), `UsageError` (2), `InvalidRun` (4)", _comparison,
        lambda data, folder: comparison_file.parse(data, folder / "x.json"), "json",
    ),
    Target(
        "signature", "the JSON of `sign`", "signing.parse", _TRAVELS, "1 MiB",
        "`CorruptFile` (74), `InvalidRun` (4)", _signature,
        lambda data, folder: signing.parse(data, folder / "x.signed.json"), "json",
    ),
    Target(
        "facts", "what `facts` wrote elsewhere", "facts.load", "who runs the server", "64 MiB",
        "`CorruptFile` (74), `UsageError` (2)", _facts_file,
        _stated, "json",
    ),
    Target(
        "journal", "answers of a run in progress", "journal.open_journal",
        "who can write to the output's folder", "a checksum a line; a torn last line is cut off",
        _CORRUPT, _journal, _resumed, "lines",
    ),
    Target(
        "judge's cache", "replies of judges", "judge_cache.open_cache",
        "who can write to the output's folder", "a torn last line is cut off", _CORRUPT,
        _cache, _cached, "lines",
    ),
    Target(
        "policy", "tiers and margins as TOML", "policy.load", "who declares the policy", "1 MiB",
        "`FileError` (74), `UsageError` (2)", _texts(_POLICY),
        lambda data, folder: policy.load(str(_put(data, folder / "x.toml"))), "text",
    ),
    Target(
        "settings", "`--config` as TOML", "config.read_file", "the user", "1 MiB",
        "`FileError` (74), `UsageError` (2)", _texts(_SETTINGS), _settings, "text",
    ),
    Target(
        "arms", "several servers as TOML", "arms_file.read", "the user", "1 MiB",
        "`FileError` (74), `UsageError` (2)", _texts(_ARMS),
        lambda data, folder: arms_file.read(_put(data, folder / "x.toml")), "text",
    ),
    Target(
        "release card", "a table in Markdown or CSV", "cards.files.compare_tables",
        "whoever publishes a card", "1 MiB, 200 rows, 12 columns, 200 characters a cell",
        "`FileError`, `CorruptFile` (74), `UsageError` (2)",
        _texts(CARD, "Metrics;CUDA;MetaX\nmmmu;54,1;53.9\nblink;60;61\n", "a,b,c\nx,1,2\n"),
        lambda data, folder: cards.compare_tables(
            [str(_put(data, folder / "card.md"))], policy_name="default", tasks=()
        ),
        "text",
    ),
    Target(
        "answers", "`score --responses`, JSON lines", "answers.read_responses",
        "whoever made the answers", "2 GiB; 10,000 passes", "`FileError` (74), `UsageError` (2)",
        _lines([{"id": "1", "text": "A", "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
                {"id": 2, "error": "timeout", "repeat": 1, "finish_reason": "stop"}]),
        lambda data, folder: answers.read_responses(_put(data, folder / "x.jsonl")), "lines",
    ),
    Target(
        "FlagEvalMM's answers", "a folder of its results", "importers.flagevalmm.read",
        "whoever ran it", "2 GiB a file", "`CorruptFile` (74), `UsageError` (2)",
        _json(foreign.THREE, [foreign.entry(1, {"inference_0": "1", "inference_1": "2"})]),
        _flagevalmm("math_vision_test.json"), "json",
    ),
    Target(
        "FlagEvalMM's settings", "`task_info.json`", "importers.flagevalmm.read",
        "whoever ran it", "2 GiB", "`CorruptFile` (74)",
        _json({"model_name": "x", "execute_cmd": "a --b c", "extra_args": ["-x"], "stream": True}),
        _flagevalmm("task_info.json"), "json",
    ),
    Target(
        "FlagEvalMM's verdicts", "`TASK_evaluated.json`", "importers.flagevalmm.read",
        "whoever ran it", "2 GiB", "`CorruptFile` (74)",
        _json([{"question_id": "1", "raw_answer": "x", "answer": "1", "correct": True}]),
        _flagevalmm("math_vision_test_evaluated.json"), "json",
    ),
    Target(
        "lmms-eval's samples", "its JSON lines", "importers.lmms_eval.read", "whoever ran it",
        "2 GiB a file", _CORRUPT, _lines(foreign.LINES), _lmms(_SAMPLES), "lines",
    ),
    Target(
        "lmms-eval's results", "`DATE_results.json`", "importers.lmms_eval.read",
        "whoever ran it", "2 GiB", "`CorruptFile` (74)", _json(_CONFIG), _lmms(_RESULTS), "json",
    ),
    Target(
        "chat completion", "a server's reply to a question", "reply.parse_reply", _PEER,
        "32 MiB; counts up to 2^53", "a failed attempt of kind `invalid_reply`, on record",
        _json(CHAT, TOLD), lambda data, folder: reply.parse_reply(data), "json",
        (reply.InvalidReply,),
    ),
    *(
        Target(
            f"server's {path}", "a page that describes a server", "server.Server.identity", _PEER,
            "8 MiB; a time for the whole page", "`ServerUnreachable` (74), `ServerRefused` (2), or "
            "not known", _texts(PAGES[path]), _page(path),
            "text" if path == "/metrics" else "json",
        )
        for path in PAGES
    ),
    Target(
        "answer", "a model's text, through every scorer and a judge's reply through every reader",
        "scoring", "the model", "linear rules; mathematics: 2000 tokens, depth 40, 400 digits",
        "unparsed, or wrong: nothing is raised", _texts(*_ANSWERS), _scored, "text",
    ),
    Target(
        "formula", "two formulas that may be equal", "scoring.math.equal", "the model",
        "2000 tokens, depth 40, 400 digits, 8192 bits", "not equal: nothing is raised",
        _texts("\\frac{1}{2}|0.5", "2^{10}|1024", "\\sqrt{2}\\pi, 3|3, x", "5!\\binom{4}{2}|9"),
        _math, "text",
    ),
    Target(
        "picture", "an image of a dataset", "images.ImageBank.add", "who made the dataset",
        "64 MiB; 89 million pixels; PNG, JPEG, WebP, GIF, BMP, TIFF",
        "`DatasetError` (74), with the row", _pictures, _picture, "bytes",
    ),
    Target(
        "rows", "a benchmark's own JSON (here: OCRBench)", "dataset.load", "who made the dataset",
        "the number of items; paths inside the data folder", "`DatasetError` (74), with the row",
        _json([{"dataset_name": "IIIT5K", "question": "q?", "type": "Regular", "answers": ["A"],
                "image_path": "a.png"}]),
        _data("ocrlite", "OCRBench.json"), "json",
    ),
    Target(
        "rows, by line", "a benchmark's JSON lines (here: MathVision)", "dataset.load",
        "who made the dataset", "as above", "`DatasetError` (74), with the row",
        _lines(foreign.ROWS), _data("mathvision", "data/test.jsonl"), "lines",
    ),
    Target(
        "options", "a Python list in a field of MMMU", "mmmu_rows.parse_options",
        "who made the dataset", "20,000 characters; a literal, never run",
        "`DatasetError` (74), with the row", _texts("['a', 'b']", "[['a'], 'b', 1.5]"),
        lambda data, folder: mmmu_rows.parse_options(data.decode("utf-8", "replace")), "text",
        (ValueError,),
    ),
    Target(
        "copy's note", "`fetched.json` of a folder of data", "hub.fetched_revision",
        "who made the copy", "-", "not known", _json({"revision": "a" * 40, "dataset": "x/y"}),
        lambda data, folder: hub.fetched_revision(_put(data, folder / hub.FETCHED).parent), "json",
    ),
    *(
        Target(
            f"weights: {name}", "what says which files a model has", "weights.problems",
            "who made the weights", "100 MB of a head", "told as incomplete", seeds,
            _weights(name), shape,
        )
        for name, seeds, shape in (
            ("model.safetensors.index.json",
             _json({"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}), "json"),
            ("model.safetensors", lambda folder: [_TENSORS], "bytes"),
            ("config.json", _json({"model_type": "x", "n": [1, 2.5]}), "json"),
        )
    ),
    Target(
        "operators: counts", "a server's counts, mapped into memory",
        "operators.evidence.of_folder", _PEER, "1024 operators",
        "an event `damaged`, which makes the run invalid", _counts, _operators("7.counts"), "bytes",
    ),
    Target(
        "operators: events", "what a server's process wrote down", "operators.evidence.of_folder",
        _PEER, "-", "`CorruptFile` (74), or an event `damaged`", _lines(_EVENTS),
        _operators("8.jsonl"), "lines",
    ),
    Target(
        "operators: request", "what was asked of a server", "operators.evidence.of_folder", _PEER,
        "-", "`CorruptFile` (74)", _json(_REQUEST), _operators("request.json"), "json",
    ),
    Target(
        "operators: record", "the file beside a run", "operators.evidence.read", _TRAVELS,
        "the run's hash", "`CorruptFile` (74)", _evidence,
        lambda data, folder: evidence.read(data, "x.jsonl", (0,)), "lines",
    ),
    Target(
        "server's log", "what a started server printed", "launchers._log.cause", _PEER,
        "its last 4 MiB", "not known", _texts(_LOG), _logged, "text",
    ),
    Target(
        "vendor's tool", "what `nvidia-smi` and the like print", "platforms._tool.ToolPlatform",
        "the machine's vendor", "5 s", "not known",
        _texts(standins.NVIDIA_SMI, standins.MX_SMI, standins.NPU_SMI), _tool, "text",
    ),
    Target(
        "docker's words", "`docker inspect`", "launchers._docker.described", "who made the image",
        "120 s", "`ServerStartFailed` (74)", _json([{"Id": "sha256:1", "RepoDigests": ["a@b"]}]),
        _inspected, "json",
    ),
    Target(
        "versions", "what an interpreter says it has", "platforms._software.parse",
        "who made the server's image", "60 s", "not known",
        _texts('hello\nFLAGOS_EVAL {"torch": "2.5", "vllm": "0.8"}\n'),
        lambda data, folder: _software.parse(data.decode("utf-8", "replace")), "text",
    ),
    Target(
        "operators there", "what an interpreter says of FlagGems", "operators.installed.parse",
        "who made the server's image", "60 s", "not known",
        _texts(installed.MARK + '{"version": "5.0", "operators": [["mm", "mm"]], "plugin": null, '
               '"left_out": {"metax": ["exp"]}}\n'),
        lambda data, folder: installed.parse(data.decode("utf-8", "replace")), "text",
    ),
)  # fmt: skip

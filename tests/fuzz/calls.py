"""How every parser of what strangers write is called on one input."""

from __future__ import annotations

import gzip
import http.server
import json
import threading
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import factories
import test_hostile_answers as hostile
import test_importers as foreign

from flagos_eval import (
    config,
    facts,
    images,
    judge_cache,
    logprobs,
    samples,
    store,
    weights,
)
from flagos_eval import server as servers
from flagos_eval.catalog import load_module, load_task
from flagos_eval.compare_files import compare_files
from flagos_eval.dataset import Source, load
from flagos_eval.importers import flagevalmm, lmms_eval
from flagos_eval.journal import open_journal
from flagos_eval.launchers import _docker, _log
from flagos_eval.operators import evidence, folder
from flagos_eval.platforms import others
from flagos_eval.records import Run, StoredFile, sha256_hex
from flagos_eval.scoring import math
from flagos_eval.task import HubDataset

from .seeds import BEGAN, EVENTS, PAGES, REQUEST


def put(data: bytes, path: Path) -> Path:
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


def read_samples(data: bytes, folder: Path) -> object:
    return samples.read(*_beside("samples", gzip.compress(data, 1), folder), "sums")


def read_samples_packed(data: bytes, folder: Path) -> object:
    return samples.read(*_beside("samples", data, folder), "sums")


def read_logprobs(data: bytes, folder: Path) -> object:
    return logprobs.read(*_beside("logprobs", gzip.compress(data, 1), folder), "sums")


def read_compared(data: bytes, folder: Path) -> object:
    """A stranger's run against one of ours, as every report shows it."""
    one = factories.saved(
        folder, ("0", "wrong", factories.Failed, factories.NotAsked), path="o.json"
    )
    other = put(data, folder / "theirs.json")
    found, sides = compare_files(
        str(one), str(other), policy_name="default", load_task=lambda name: factories.task()
    )
    return [
        load_module("reports", name, "format").render(found, sides).encode("utf-8", "replace")
        for name in ("terminal", "markdown", "html", "card", "json", "junit", "items")
    ]


def read_resumed(data: bytes, folder: Path) -> object:
    lines = [line for line in data.split(b"\n") if line]
    path = put(b"".join(b"%08x %s\n" % (zlib.crc32(x), x) for x in lines), folder / "j.jsonl")
    with open_journal(path, {"tasks": ["x"]}, run_id="r", started_at=BEGAN) as opened:
        return list(opened.logprobs()) if opened.kept.responses else None


def read_stated(data: bytes, folder: Path) -> object:
    """A file of facts under the right hash, where one can be computed at all."""
    try:
        file = facts.FactsFile.model_validate(json.loads(data))
        data = facts.dump(facts._signed(file)).encode()
    except (ValueError, RecursionError):
        return facts.load(put(data, folder / "facts.json"))
    return facts.load(put(data, folder / "facts.json"))


def read_cached(data: bytes, folder: Path) -> object:
    with judge_cache.open_cache(put(data, folder / "judge.jsonl")) as opened:
        return opened.replies("judge", "0" * 64)


def read_operators(name: str) -> Callable[[bytes, Path], object]:
    def parse(data: bytes, place: Path) -> object:
        started = place / "1"
        put(json.dumps(REQUEST).encode(), started / "request.json")
        put(b"".join(json.dumps(e).encode() + b"\n" for e in EVENTS), started / "7.jsonl")
        put(data, started / name)
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


def read_page(path: str) -> Callable[[bytes, Path], object]:
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


def read_scored(data: bytes, folder: Path) -> object:
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


def read_math(data: bytes, folder: Path) -> object:
    left, _, right = data.decode("utf-8", "replace").partition("|")
    return math.equal(left, right), math.evaluate(left)


def read_picture(data: bytes, folder: Path) -> object:
    bank = images.ImageBank()
    part = bank.add(lambda: data, where="row 1")
    return part, samples._thumbnail(part, bank)


def read_pictures(folder: Path) -> list[bytes]:
    import io

    from PIL import Image

    found = []
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"):
        out = io.BytesIO()
        Image.new("RGB", (9, 7), (200, 40, 40)).save(out, kind)
        found.append(out.getvalue())
    return found


def read_data(task: str, name: str) -> Callable[[bytes, Path], object]:
    def parse(data: bytes, folder: Path) -> object:
        put(data, folder / name)
        whole = load_task(task)
        assert isinstance(whole.dataset, HubDataset)
        # However many items there are: otherwise the number would be all that is looked at.
        anyhow = replace(whole.dataset, n=dict.fromkeys(whole.dataset.n))
        source = Source(data_dir=folder, absent_images=True)
        return load(replace(whole, dataset=anyhow), source)

    return parse


def read_weights(name: str) -> Callable[[bytes, Path], object]:
    def parse(data: bytes, folder: Path) -> object:
        put(b"{}", folder / "config.json")
        put(data, folder / name)
        weights.fingerprint(weights.fetch(str(folder), lambda text: None))
        return weights.problems(folder)

    return parse


def read_tool(data: bytes, place: Path) -> object:
    """A vendor's tool: what it prints goes through every platform's patterns."""
    from flagos_eval.platforms import _tool

    text = data.decode("utf-8", "replace")
    known = others.PLATFORMS
    singles = [_tool._first_group(p, text) for one in known for p in (one.driver, one.sdk)]
    return singles, [_tool._groups(one.device, text) for one in known]


def read_inspected(data: bytes, folder: Path) -> object:
    import subprocess

    text = data.decode("utf-8", "replace")
    return _docker.described(subprocess.CompletedProcess([], 0, text, ""), "image x")


def read_logged(data: bytes, place: Path) -> object:
    log = put(data, place / "x.server.log")
    return _log.cause(log), _log.facts(log), folder.fallbacks(log)


def read_settings(data: bytes, folder: Path) -> object:
    return config.combine({"file": config.read_file(put(data, folder / "x.toml"))}).settings()


def read_flagevalmm(name: str) -> Callable[[bytes, Path], object]:
    def parse(data: bytes, folder: Path) -> object:
        root = foreign.results(folder / "fe", foreign.THREE)
        put(data, root / "math_vision_test" / name)
        return flagevalmm.read([root])

    return parse


def read_lmms(name: str) -> Callable[[bytes, Path], object]:
    def parse(data: bytes, folder: Path) -> object:
        path = foreign.logged(folder, foreign.LINES)
        put(data, folder / name)
        return lmms_eval.read([path])

    return parse

"""The benchmark beside other harnesses: the same questions for all, each asked once."""

from __future__ import annotations

import base64
import importlib
import io
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from flagos_eval import config, plan, prompt

ROOT = Path(__file__).resolve().parents[1]
DATA = (
    Path(os.environ.get("FLAGOS_EVAL_TEST_DATA") or ROOT.parent / "shared" / "data") / "mathvision"
)
N = 12


@pytest.fixture
def load(monkeypatch):
    """A module of the benchmarks, which find each other as scripts do."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(ROOT / "benchmarks") in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def peer_items(load) -> ModuleType:
    return load("peer_items")


@pytest.fixture
def folder(peer_items, tmp_path) -> Path:
    if not (DATA / "images").is_dir():
        pytest.skip(f"no MathVision with images in {DATA} (set FLAGOS_EVAL_TEST_DATA)")
    peer_items.write(tmp_path / "items", N)
    return tmp_path / "items"


def items(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]


def picture(data: bytes) -> bytes:
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()


def test_other_harnesses_get_the_prompts_that_flagos_eval_sends(peer_items, folder):
    made = plan.make(config.combine({"flag": peer_items.settings(folder)}).config)
    sent = [prompt.body(request, "null", made.read_image) for request in made.requests()]

    def content(item: dict[str, str]) -> list[dict[str, object]]:
        encoded = base64.b64encode(Path(item["image"]).read_bytes()).decode()
        image = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{encoded}"}}
        texts = [{"type": "text", "text": item[place]} for place in ("before", "after")]
        return [part for part in (texts[0], image, texts[1]) if part.get("text") != ""]

    assert [content(item) for item in items(folder)] == [
        body["messages"][0]["content"] for body in sent
    ]


def test_every_item_has_its_number_in_its_question(folder):
    assert all(
        f"[item {number}]" in item["before"] + item["after"]
        for number, item in enumerate(items(folder))
    )


def test_no_two_items_have_the_same_picture_file(peer_items, folder):
    one_more_than_there_are = list(peer_items.records(305))
    assert len({data for _, data in one_more_than_there_are}) == 305


def test_the_pictures_are_mathvisions(folder):
    records = [json.loads(line) for line in (DATA / "testmini.jsonl").read_text().splitlines()]
    for item, record in zip(items(folder), records, strict=False):
        original = (DATA / record["image"]).read_bytes()
        assert picture(Path(item["image"]).read_bytes()) == picture(original)


def test_what_is_no_jpeg_gets_no_comment(peer_items):
    with pytest.raises(ValueError, match="not a JPEG"):
        peer_items.commented(b"\x89PNG", "item 1")


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (r"so \boxed{B}.", True),
        (r"\boxed{A}, no, \boxed{B}", True),
        (r"\boxed{A}", False),
        ("B", False),
    ],
)
def test_other_harnesses_score_the_last_box(peer_items, answer, right):
    found: dict[str, object] = {}
    exec(peer_items.RIGHT, found)
    assert found["right"](answer, "B") is right


def test_the_server_knows_a_question_by_its_number(load):
    body = b'{"url":"data:image/png;base64,QUJD"},{"text":"[item 17] What?"}'
    asked = load("null_server").question(body)
    assert (asked.number, asked.picture_bytes, asked.body_bytes) == (17, 4, len(body))


def test_a_probe_is_no_question_for_the_server(load):
    assert load("null_server").question(b'{"text":"Describe the picture."}') is None


def test_flagos_eval_asks_everything_once_and_sends_files_as_they_are(load, folder):
    peers = load("peers")
    own = peers.harnesses(Path("none"))[0]
    measured = peers.measure(own, folder, (0, 4), 1, "here")
    assert measured.questions == N
    assert 4 / 3 <= measured.picture_ratio < 1.34


def test_a_harness_that_asks_too_little_is_not_measured(load, folder):
    peers = load("peers")
    own = peers.harnesses(Path("none"))[0]

    def all_but_one(*given):
        return [*own.command(*given), "--limit", str(N - 1)]

    with pytest.raises(SystemExit, match=f"asked {N - 1} questions, not each once"):
        peers.measure(replace(own, command=all_but_one), folder, (0, 4), 1, "here")


def test_a_failing_command_shows_what_it_said(load, folder):
    peers = load("peers")
    own = peers.harnesses(Path("none"))[0]
    wrong = replace(own, command=lambda *_: ["-c", "raise SystemExit('no such thing')"])
    with pytest.raises(SystemExit, match=r"exit code 1 of (.|\n)*no such thing"):
        peers.measure(wrong, folder, (0, 4), 1, "here")


# --- Report ---------------------------------------------------------------------------------------


@pytest.fixture
def measured(load):
    """Of flagos-eval, twenty times as fast as the others in everything."""
    tables = load("peer_tables")
    own = tables.Measured(
        harness="flagos-eval",
        version="1",
        delay=0,
        in_flight=32,
        round=1,
        ended="2026-11-29T00:00:00+00:00",
        load=1.0,
        questions=1000,
        other_requests=24,
        most_in_flight=32,
        first_request=1.0,
        first_question=2.0,
        asking=1.0,
        whole=4.0,
        cpu=3.0,
        memory_mb=100.0,
        body_bytes=1400,
        picture_bytes=1333,
        file_bytes=1000,
    )
    slow = replace(own, asking=20.0, whole=80.0, cpu=60.0)
    others = [replace(slow, harness=name) for name in ("inspect_ai", "lmms-eval")]
    return tables, [own, *others]


def test_measurements_are_kept_as_they_are(measured, tmp_path):
    tables, found = measured
    tables.store(tmp_path / "results.json", found)
    assert tables.stored(tmp_path / "results.json") == found


def test_twenty_times_as_fast_is_within_every_limit(measured):
    tables, found = measured
    assert tables.print_limits(found) == 0


@pytest.mark.parametrize("field", ["asking", "whole", "cpu"])
def test_as_slow_as_one_of_the_others_is_beyond_a_limit(measured, field):
    tables, (own, inspect, lmms) = measured
    as_slow = replace(lmms, **{field: getattr(own, field)})
    assert tables.print_limits([own, inspect, as_slow]) == 1


def test_pictures_that_grow_on_the_wire_are_beyond_the_limit(measured):
    tables, (own, *others) = measured
    assert tables.print_limits([replace(own, picture_bytes=1341), *others]) == 1


def test_ratios_need_a_round_that_has_both(measured):
    tables, (own, *others) = measured
    with pytest.raises(SystemExit, match="no round has both"):
        tables.print_limits([replace(own, round=2), *others])

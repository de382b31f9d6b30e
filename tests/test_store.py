"""Run files: what is read is what was written, and anything else is an error that says what."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from factories import TEXTS, Failed, NotAsked, joined, rebuilt, run, task
from hypothesis import given, settings
from hypothesis import strategies as st

from flagos_eval import store
from flagos_eval.errors import (
    EXIT_IO,
    EXIT_NOT_COMPARABLE,
    EXIT_USAGE,
    CorruptFile,
    FileError,
    InvalidRun,
    UsageError,
)
from flagos_eval.records import Fact, Run

ANSWERS = st.lists(TEXTS | st.sampled_from([Failed, NotAsked]), min_size=1, max_size=6)


def round_trip(record: Run) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.json")
        store.save(record, path)
        return store.load(path)


def with_facts(record: Run, value: Any) -> Run:
    fact = Fact(name="server", value=value, source="server", verified=True)
    return rebuilt(record, facts=(fact,), reason="why \u2028 not")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.json"


@pytest.fixture
def content(path: Path) -> dict[str, Any]:
    store.save(run(), path)
    loaded: dict[str, Any] = json.loads(path.read_bytes())
    return loaded


# --- Writing --------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(ANSWERS, TEXTS)
def test_a_run_is_read_back_as_it_was_written(answers: list[Any], name: str) -> None:
    record = run(answers, name=name)
    assert round_trip(record) == record


@settings(max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | TEXTS | st.floats(allow_nan=False, width=64),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=6,
    ).filter(lambda value: "inf" not in repr(value))
)
def test_a_fact_is_read_back_as_it_was_written(value: Any) -> None:
    record = with_facts(run(["0"]), value)
    assert round_trip(record) == record


def test_lone_surrogates_survive_in_every_place() -> None:
    strange = "\udcff\ud800 x"
    record = joined(run([strange], of=task(strange), name=strange), run(["0"], of=task("t")))
    record = with_facts(record, {strange: [strange]})
    assert round_trip(record) == record


def test_a_run_has_one_record_a_line(path: Path) -> None:
    store.save(run(["first\nanswer", "second\u2028answer", "third"]), path)
    lines = path.read_bytes().split(b"\n")
    for text in (b"first", b"second", b"third"):
        assert sum(text in line and b'"request_hash"' in line for line in lines) == 1
    assert sum(b'"request_hash"' in line for line in lines) == 3
    assert sum(b'"scorer_version"' in line and b'"sample_id"' in line for line in lines) == 3
    assert sum(b'"content_hash"' in line for line in lines) == 3


def test_equal_runs_have_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        store.save(run(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_reading_and_writing_again_changes_no_byte(tmp_path: Path, path: Path) -> None:
    store.save(with_facts(run(["0", Failed]), {"a": [1, 0.1]}), path)
    store.save(store.load(path), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_saving_makes_the_folder(tmp_path: Path) -> None:
    store.save(run(), tmp_path / "a" / "b" / "run.json")
    assert store.load(tmp_path / "a" / "b" / "run.json") == run()


def test_a_large_run_is_read_back(path: Path) -> None:
    record = run([str(i) for i in range(20_000)])
    store.save(record, path)
    assert store.load(path).results == record.results


# --- Whole or not at all --------------------------------------------------------------------------


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(path: Path) -> None:
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), store.atomic_write(path) as out:
        out.write(b"new")
        raise RuntimeError
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == {"run.json": b"old"}


def test_a_file_appears_only_when_it_is_complete(path: Path) -> None:
    with store.atomic_write(path) as out:
        out.write(b"new")
        out.flush()
        assert not path.exists()
    assert path.read_bytes() == b"new"


def test_a_killed_write_leaves_the_old_file(path: Path) -> None:
    path.write_bytes(b"old")
    code = (
        "import os, pathlib, sys\n"
        "from flagos_eval.store import atomic_write\n"
        "with atomic_write(pathlib.Path(sys.argv[1])) as out:\n"
        "    out.write(b'new'); out.flush(); os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    assert path.read_bytes() == b"old"


def test_a_full_disk_leaves_the_old_file_and_says_so(path: Path) -> None:
    store.save(run(), path)
    before, allowed = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, allowed[1]))
    try:
        with pytest.raises(FileError) as caught:
            store.save(run(["another"]), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.exit_code == EXIT_IO
    assert "free some space" in str(caught.value.hint)
    assert [p.read_bytes() for p in path.parent.iterdir()] == [before]


def test_a_run_file_can_be_read_by_others(path: Path) -> None:
    store.save(run(), path)
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot write") as caught:
        store.save(run(), tmp_path / "file" / "run.json")
    assert caught.value.exit_code == EXIT_IO


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(FileError, match="cannot write"):
        store.save(run(), tmp_path / "run.json")
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


# --- Reading what is not a run --------------------------------------------------------------------


def test_a_file_cut_anywhere_is_damaged_and_named(path: Path) -> None:
    store.save(run(["0"]), path)
    whole = path.read_bytes()
    for cut in range(0, len(whole) - 2, 7):
        path.write_bytes(whole[:cut])
        with pytest.raises(CorruptFile) as caught:
            store.load(path)
        assert str(path) in caught.value.message
        assert caught.value.exit_code == EXIT_IO


def test_damaged_json_names_the_line(path: Path) -> None:
    path.write_bytes(b'{\n"schema_version": 1,\n"id": oops\n}\n')
    with pytest.raises(CorruptFile, match=r"run.json line 3: not valid JSON"):
        store.load(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"\0" * 100,
        b"[" * 200_000,
        b"1" * 5000,
        b"\x1f\x8b\x08\0",
        b"\xef\xbb\xbf{}",
    ],
    ids=["empty", "binary", "zeros", "deep", "huge number", "gzip", "byte order mark"],
)
def test_what_is_no_json_is_damaged(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(CorruptFile, match="not valid JSON"):
        store.load(path)


@pytest.mark.parametrize("data", [b"[]", b"{}", b"1", b"null", b'"x"', b'{"schema_version": 1}'])
def test_other_json_is_not_a_run_file(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(UsageError, match="is not a run file") as caught:
        store.load(path)
    assert caught.value.exit_code == EXIT_USAGE


def test_a_newer_file_asks_for_an_upgrade(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content | {"schema_version": 2}))
    with pytest.raises(UsageError, match="schema version 2") as caught:
        store.load(path)
    assert caught.value.exit_code == EXIT_USAGE
    assert caught.value.hint == "upgrade flagos-eval"


@pytest.mark.parametrize("version", [0, -1, "1", None, [1], {"a": 1}, "\x1b[31m" * 99])
def test_an_unknown_version_is_not_read(
    path: Path, content: dict[str, Any], version: object
) -> None:
    path.write_text(json.dumps(content | {"schema_version": version}))
    with pytest.raises(UsageError, match="schema version") as caught:
        store.load(path)
    assert caught.value.hint == "it was not written by flagos-eval"
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500


def test_a_missing_file_is_also_looked_for_in_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store.save(run(), Path("results", "cuda.json"))
    assert store.load("cuda.json") == run()


def test_a_file_that_is_nowhere_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=r"no file cuda\.json \(nor results/cuda\.json\)") as caught:
        store.load("cuda.json")
    assert caught.value.exit_code == EXIT_IO


def test_a_file_in_the_folder_goes_before_one_in_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store.save(run(name="far"), Path("results", "cuda.json"))
    store.save(run(name="near"), Path("cuda.json"))
    assert store.load("cuda.json").name == "near"


# --- Reading a run that was changed ---------------------------------------------------------------


def edit(content: Any, place: tuple[str | int, ...], value: object) -> None:
    for key in place[:-1]:
        content = content[key]
    assert content[place[-1]] != value
    content[place[-1]] = value


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("results", 0, "n"), 4),
        (("results", 0, "counts", "scored"), 2),
        (("results", 0, "metrics", 0, "value"), 99.0),
        (("results", 0, "metrics", 0, "high"), float("nan")),
        (("scores", 0, "value"), None),
        (("scores", 0, "value"), 2),
        (("scores", 0, "status"), "error"),
        (("scores", 0, "status"), "unparsed"),
        (("scores", 0, "sample_id"), "2"),
        (("responses", 0, "request_hash"), "f" * 64),
        (("responses", 0, "text"), None),
        (("responses", 0, "latency"), -1),
        (("responses", 0), 5),
        (("responses",), {}),
        (("tasks", 0, "repeats"), 2),
        (("tasks", 0, "expected"), []),
        (("state",), "finished"),
        (("results",), []),
    ],
    ids=str,
)
def test_an_edited_number_is_an_invalid_run(
    path: Path, content: dict[str, Any], place: tuple[str | int, ...], value: object
) -> None:
    edit(content, place, value)
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidRun) as caught:
        store.load(path)
    assert caught.value.exit_code == EXIT_NOT_COMPARABLE
    assert str(path) in caught.value.message


def test_a_removed_answer_is_an_invalid_run(path: Path, content: dict[str, Any]) -> None:
    del content["responses"][1]
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidRun, match="1 requests have no response"):
        store.load(path)


def test_an_unknown_field_is_an_invalid_run(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content | {"verdict": "fine"}))
    with pytest.raises(InvalidRun, match="verdict: Extra inputs"):
        store.load(path)


@pytest.mark.parametrize("name", ["\x1b]0;owned\x07", "x" * 10**6], ids=["escape", "long"])
def test_a_message_that_quotes_a_file_is_short_and_inert(
    path: Path, content: dict[str, Any], name: str
) -> None:
    content["responses"][0]["sample_id"] = name
    path.write_text(json.dumps(content | {name: 1}))
    with pytest.raises(InvalidRun) as caught:
        store.load(path)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 700


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_edit_of_one_byte_is_more_than_an_error(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.json")
        store.save(run(["0", Failed]), path)
        changed = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place] = data.draw(st.integers(0, 255))
        path.write_bytes(changed)
        try:
            store.load(path)
        except (CorruptFile, UsageError, InvalidRun) as error:
            assert str(path) in error.message

"""The journal keeps every answer through every way of dying, and says so if it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from factories import LATER, TEXTS, WHEN, epoch, failure, response
from hypothesis import given, settings
from hypothesis import strategies as st

from flagos_eval.errors import (
    EXIT_IO,
    EXIT_USAGE,
    CorruptFile,
    FileError,
    JournalLocked,
    SettingsChanged,
    UsageError,
)
from flagos_eval.journal import Journal, open_journal
from flagos_eval.records import Response

SETTINGS: dict[str, Any] = {"tasks": ["sums"], "temperature": 0.0, "limit": None}
ANSWERS = tuple(response(sample_id=str(i), text=f"answer {i} é\n", order=i) for i in range(3))


def opened(path: Path, identity: dict[str, Any] | None = None, **fields: Any) -> Journal:
    chosen = SETTINGS if identity is None else identity
    return open_journal(path, chosen, **({"run_id": "r1", "started_at": WHEN} | fields))


def written(path: Path, responses: tuple[Response, ...] = ANSWERS) -> bytes:
    with opened(path) as journal:
        for one in responses:
            journal.response(one)
    return path.read_bytes()


def kept(path: Path) -> tuple[Response, ...]:
    with opened(path) as journal:
        return tuple(journal.kept.responses.values())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "run.journal.jsonl"


# --- Keeping --------------------------------------------------------------------------------------


def test_what_was_appended_is_there_after_reopening(path: Path) -> None:
    written(path)
    assert kept(path) == ANSWERS


@settings(max_examples=50)
@given(st.lists(st.builds(lambda text, i: response(text=text, order=i), TEXTS, st.integers(0))))
def test_any_text_is_kept_as_it_was(responses: list[Response]) -> None:
    unique = tuple(
        r.model_copy(update={"sample_id": f"{i}\udcff"}) for i, r in enumerate(responses)
    )
    with tempfile.TemporaryDirectory() as folder:
        written(Path(folder, "j"), unique)
        assert kept(Path(folder, "j")) == unique


def test_a_failure_is_kept_until_a_later_answer_replaces_it(path: Path) -> None:
    failed, answered = response(error=failure()), response(text="2")
    written(path, (failed,))
    assert kept(path) == (failed,)
    written(path, (answered,))
    assert kept(path) == (answered,)


def test_starts_of_the_server_are_kept(path: Path) -> None:
    with opened(path) as journal:
        journal.epoch(epoch())
        journal.response(ANSWERS[0])
        journal.epoch(epoch(index=1))
    with opened(path) as journal:
        assert journal.kept.epochs == (epoch(), epoch(index=1))


def test_the_run_keeps_its_first_id_and_start(path: Path) -> None:
    written(path)
    with opened(path, run_id="r2", started_at=LATER) as journal:
        assert (journal.kept.run_id, journal.kept.started_at) == ("r1", WHEN)


def test_logprobs_are_read_back_with_their_request(path: Path) -> None:
    with opened(path) as journal:
        journal.response(ANSWERS[0], [["a", -0.5, []]])
        journal.response(ANSWERS[1])
        journal.response(ANSWERS[2], [])
        assert list(journal.logprobs()) == [
            (ANSWERS[0].key, [["a", -0.5, []]]),
            (ANSWERS[2].key, []),
        ]


def test_an_answer_reaches_the_file_before_the_call_returns(path: Path) -> None:
    with opened(path) as journal:
        before = path.stat().st_size
        journal.response(ANSWERS[0])
        assert path.stat().st_size > before


def test_removing_a_journal_leaves_nothing(path: Path) -> None:
    with opened(path) as journal:
        journal.response(ANSWERS[0])
        journal.sync()
        journal.remove()
    assert list(path.parent.iterdir()) == []


# --- Dying in the middle of a line ----------------------------------------------------------------


def test_a_journal_cut_at_any_byte_resumes_with_every_complete_line(path: Path) -> None:
    whole = written(path)
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    extra = response(sample_id="extra")
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        complete = ANSWERS[: max(0, sum(end <= cut for end in ends) - 1)]  # less the header
        with opened(path) as journal:
            assert tuple(journal.kept.responses.values()) == complete, cut
            assert journal.kept.torn == (cut not in (0, *ends)), cut
            journal.response(extra)
        assert kept(path) == (*complete, extra), cut


@pytest.mark.parametrize("tail", [b"x", b"0" * 8 + b" {}", b"\0" * 4096])
def test_what_follows_the_last_line_end_is_cut_off(path: Path, tail: bytes) -> None:
    path.parent.mkdir()
    whole = written(path)
    path.write_bytes(whole + tail)
    assert kept(path) == ANSWERS
    assert path.read_bytes() == whole


def test_a_flipped_byte_is_an_error_that_names_the_line(path: Path) -> None:
    whole = written(path)
    for place in range(len(whole) - 1):
        changed = bytearray(whole)
        changed[place] ^= 1 + place % 255
        path.write_bytes(changed)
        with pytest.raises(CorruptFile) as caught:
            opened(path)
        line = whole[:place].count(b"\n") + 1
        assert f"{path} line {line} is damaged" in caught.value.message, place
        assert path.read_bytes() == changed, place


def test_no_other_spelling_of_a_checksum_passes(path: Path) -> None:
    whole = written(path)
    place = whole.index(b"\n") + 1
    for other in set(range(256)) - {whole[place]}:
        path.write_bytes(whole[:place] + bytes([other]) + whole[place + 1 :])
        with pytest.raises(CorruptFile, match="line 2"):
            opened(path)


def test_damage_is_an_error_of_the_disk_with_a_way_on(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(written(path).replace(b"answer 1", b"answer 7"))
    with pytest.raises(CorruptFile) as caught:
        opened(path)
    assert caught.value.exit_code == EXIT_IO
    assert "--fresh" in str(caught.value.hint)


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"00000000 {}\n", b"not a journal\n"])
def test_a_strange_file_is_refused_and_left_alone(path: Path, line: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(line)
    with pytest.raises((CorruptFile, UsageError)):
        opened(path)
    assert path.read_bytes() == line


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (2, "begun by a newer version of flagos-eval"),
        (0, "not a journal that this version can continue"),
    ],
)
def test_a_journal_of_another_version_is_refused(path: Path, version: int, said: str) -> None:
    import zlib

    path.parent.mkdir()
    data = b'{"journal":%d,"run_id":"r","started_at":"","identity":{}}' % version
    path.write_bytes(b"%08x %s\n" % (zlib.crc32(data), data))
    with pytest.raises(UsageError, match=said):
        opened(path)


# --- Settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"temperature": 0.5}, "temperature was 0.0, is 0.5"),
        ({"tasks": ["sums", "x"]}, 'tasks was ["sums"], is ["sums", "x"]'),
        ({"limit": 3}, "limit was null, is 3"),
        ({"new": True}, "new was null, is true"),
    ],
)
def test_a_changed_setting_is_named_with_both_values(
    path: Path, changes: dict[str, Any], said: str
) -> None:
    whole = written(path)
    with pytest.raises(SettingsChanged) as caught:
        opened(path, SETTINGS | changes)
    assert said in caught.value.message
    assert caught.value.exit_code == EXIT_USAGE
    assert path.read_bytes() == whole


def test_several_changed_settings_are_all_named(path: Path) -> None:
    written(path)
    with pytest.raises(SettingsChanged, match=r"limit was .*; temperature was "):
        opened(path, SETTINGS | {"temperature": 1, "limit": 1})


def test_tuples_and_lists_are_the_same_setting(path: Path) -> None:
    written(path)
    opened(path, SETTINGS | {"tasks": ("sums",)}).close()


def test_settings_may_change_while_there_is_no_answer(path: Path) -> None:
    written(path, ())
    opened(path, {"temperature": 1}, run_id="r2").close()
    with opened(path, {"temperature": 1}) as journal:
        assert journal.kept.responses == {}


def test_fresh_drops_the_answers_and_takes_the_new_settings(path: Path) -> None:
    written(path)
    with opened(path, {"temperature": 1}, fresh=True, run_id="r2", started_at=LATER) as journal:
        assert (journal.kept.responses, journal.kept.run_id) == ({}, "r2")
    opened(path, {"temperature": 1}).close()


def test_fresh_drops_a_damaged_journal(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"damaged\n")
    opened(path, fresh=True).close()
    assert kept(path) == ()


# --- One writer -----------------------------------------------------------------------------------


def test_a_journal_that_is_open_is_locked(path: Path) -> None:
    with opened(path) as journal:
        journal.response(ANSWERS[0])
        with pytest.raises(JournalLocked) as caught:
            opened(path)
    assert caught.value.exit_code == EXIT_IO


def test_fresh_does_not_touch_a_journal_that_is_open(path: Path) -> None:
    with opened(path) as journal:
        journal.response(ANSWERS[0])
        with pytest.raises(JournalLocked):
            opened(path, fresh=True)
    assert kept(path) == ANSWERS[:1]


def test_another_process_is_kept_out(path: Path) -> None:
    code = (
        "import pathlib, sys\n"
        "from flagos_eval.journal import open_journal\n"
        "from flagos_eval.errors import JournalLocked\n"
        "try:\n"
        "    open_journal(pathlib.Path(sys.argv[1]), {}, run_id='x', started_at='x')\n"
        "except JournalLocked:\n"
        "    sys.exit(9)\n"
    )
    with opened(path):
        done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == 9


def test_a_killed_process_leaves_no_lock_and_all_its_answers(path: Path) -> None:
    code = (
        "import os, pathlib, sys\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "import test_journal as t\n"
        "journal = t.opened(pathlib.Path(sys.argv[1]))\n"
        "for one in t.ANSWERS: journal.response(one)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", code, str(path), here], check=False)
    assert done.returncode == -9
    assert kept(path) == ANSWERS


def test_a_closed_journal_can_be_opened_again_and_closed_twice(path: Path) -> None:
    journal = opened(path)
    journal.close()
    journal.close()
    opened(path).close()


# --- A disk that does not take it -----------------------------------------------------------------

FULL = """
import pathlib, resource, signal, sys
sys.path.insert(0, sys.argv[2])
import test_journal as t
from flagos_eval.errors import FileError
path = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = t.opened(path)
journal.response(t.ANSWERS[0])
limit = path.stat().st_size + int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    journal.response(t.ANSWERS[1])
except FileError as error:
    print(error.exit_code, error.message)
    print(error.hint)
"""


def test_a_disk_that_is_full_within_a_line_loses_nothing_else(path: Path) -> None:
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", FULL, str(path), here, "40"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"74 cannot write {path}" in done.stdout
    assert "free some space" in done.stdout
    with opened(path) as journal:
        assert tuple(journal.kept.responses.values()) == ANSWERS[:1]
        assert not journal.kept.torn
        journal.response(ANSWERS[1])
    assert kept(path) == ANSWERS[:2]


def test_a_disk_that_takes_no_byte_loses_nothing_else(path: Path) -> None:
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", FULL, str(path), here, "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"74 cannot write {path}" in done.stdout
    assert kept(path) == ANSWERS[:1]


def test_a_full_device_is_reported() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    descriptor = os.open("/dev/full", os.O_WRONLY)
    journal = Journal(Path("/dev/full"), descriptor, None)  # type: ignore[arg-type]
    with journal, pytest.raises(FileError, match="No space left"):
        journal.response(ANSWERS[0])


def test_a_journal_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot write"):
        opened(tmp_path / "file" / "journal")


# --- What is known later --------------------------------------------------------------------------


def test_what_was_known_later_must_be_the_same_too(path: Path) -> None:
    with opened(path) as journal:
        journal.identify({"sums items": "abc"})
        journal.response(ANSWERS[0])
    with opened(path) as journal:
        journal.identify({"sums items": "abc"})
    with opened(path) as journal, pytest.raises(SettingsChanged, match='sums items was "abc"'):
        journal.identify({"sums items": "def"})


def test_it_is_known_in_the_same_start_as_well(path: Path) -> None:
    with opened(path) as journal:
        journal.identify({"sums items": "abc"})
        with pytest.raises(SettingsChanged):
            journal.identify({"sums items": "def"})


def test_it_is_written_once(path: Path) -> None:
    with opened(path) as journal:
        journal.identify({"sums items": "abc"})
        journal.response(ANSWERS[0])
    before = path.read_bytes()
    with opened(path) as journal:
        journal.identify({"sums items": "abc"})
    assert path.read_bytes() == before


def test_items_in_the_first_line_count_as_those_that_follow(path: Path) -> None:
    """Where earlier versions, which loaded everything first, wrote them."""
    with opened(path, {**SETTINGS, "sums items": "abc"}) as journal:
        journal.response(ANSWERS[0])
    with opened(path) as journal, pytest.raises(SettingsChanged, match='sums items was "abc"'):
        journal.identify({"sums items": "def"})


def test_a_setting_that_only_one_side_has_is_a_change(path: Path) -> None:
    with opened(path, {**SETTINGS, "seed": 0}) as journal:
        journal.response(ANSWERS[0])
    with pytest.raises(SettingsChanged, match="seed was 0, is null"):
        opened(path)

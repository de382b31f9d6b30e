"""Reports: the same numbers in every format, and nothing foreign that acts."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from factories import Failed, NotAsked, joined, run, task
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from wcwidth import wcswidth

from flagos_eval.compare import compare
from flagos_eval.records import Comparison, Run, Sampling
from flagos_eval.reports import json as json_report
from flagos_eval.reports import markdown, terminal
from flagos_eval.reports._rows import inert

FORMATS = [json_report, markdown, terminal]
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!-- hidden",
    "&lt;b&gt; &#60;",
    "[text](http://example.org)",
    "![image](http://example.org)",
    "<http://example.org>",
    "http://example.org/ www.example.org",
    "**bold** *em* __bold__ _em_ ~~gone~~ `code`",
    "# heading",
    "- item",
    "+ item",
    "1. item",
    "=====",
    "-----",
    "    code",
    "> quote",
    "a | b | c",
    "a \\| b \\",
    "```\ncode",
    "two\nlines\r\nthree",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "\x9b31m \x85 \u2028 \u202e",
    "\ud800",
    "\0",
    "",
]
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
ALLOWED = {
    *("heading_open", "heading_close", "paragraph_open", "paragraph_close", "inline"),
    *("table_open", "table_close", "thead_open", "thead_close", "tbody_open", "tbody_close"),
    *("tr_open", "tr_close", "th_open", "th_close", "td_open", "td_close"),
    *("bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"),
}


def named(name: str, **fields: Any) -> Comparison:
    """A comparison in which everything that has a name has this one."""
    one = run(["0", "1", Failed], of=task(name), name=name, phase="preview", id="1")
    alone = run(["0"], of=task(f"{name} alone"))
    other = run(["x", "1", NotAsked], of=task(name), name=name, id="2", reason=name, **fields)
    return compare(joined(one, alone), other)


def widths(text: str) -> list[int]:
    return [wcswidth(line) for line in text.splitlines()]


def plain() -> tuple[Run, Run]:
    return run(["0", "1", "2"], name="cuda", id="1"), run(["0", "x", Failed], name="metax", id="2")


# --- What is said ---------------------------------------------------------------------------------


@pytest.mark.parametrize("report", [markdown, terminal])
def test_it_says_that_there_is_no_verdict(report: Any) -> None:
    assert report.render(compare(*plain())).rstrip().splitlines()[-1].startswith("No verdict")


def test_a_program_reads_that_there_is_no_verdict() -> None:
    assert json.loads(json_report.render(compare(*plain())))["verdict"] is None


@pytest.mark.parametrize("report", [markdown, terminal])
def test_a_table_has_the_card_and_what_it_hides(report: Any) -> None:
    # 3 of 3 and 1 of 2; of the two pairs one is lost.
    lines = report.render(compare(*plain())).splitlines()
    row = next(line for line in lines if "sums" in line and "100.00" in line)
    assert row.replace("|", " ").split() == [
        *("sums", "100.00", "50.00", "3", "2", "-50.00", "1", "0", "0", "/", "1")
    ]


@pytest.mark.parametrize("report", [markdown, terminal])
def test_runs_that_are_not_comparable_show_no_numbers(report: Any) -> None:
    other = run(["0", "1", "2"], sampling=Sampling(seed=1), name="metax")
    text = report.render(compare(plain()[0], other))
    assert "NOT COMPARABLE" in text
    assert "sums: sampling differ" in text
    assert "100.00" not in text


@pytest.mark.parametrize("report", [markdown, terminal])
def test_what_was_not_measured_is_no_zero(report: Any) -> None:
    found = report.render(compare(run([Failed]), run(["0"])))
    assert "0.00" not in found.replace("100.00", "")


@pytest.mark.parametrize("report", [markdown, terminal])
def test_two_runs_of_one_name_are_told_apart(report: Any) -> None:
    text = report.render(compare(run(["0"], id="1"), run(["0"], id="2")))
    assert "run (1)" in text
    assert "run (2)" in text


def test_markdown_counts_every_status_of_both_sides() -> None:
    lines = [
        line.replace("|", " ").split() for line in markdown.render(compare(*plain())).split("\n")
    ]
    assert ["sums", "scored", "3", "2"] in lines
    assert ["sums", "error", "0", "1"] in lines


@pytest.mark.parametrize("report", [markdown, terminal])
def test_notes_are_shown(report: Any) -> None:
    assert "run is a preview" in report.render(compare(run(["0"], phase="preview"), run(["0"])))


def test_json_holds_the_whole_comparison() -> None:
    found = compare(*plain())
    assert Comparison.model_validate(json.loads(json_report.render(found))) == found


# --- Within 100 columns ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["x" * 300, "long-name-" * 20, "word " * 60, "很长的名字" * 30, "a" * 17, "e\u0301" * 60],
    ids=["one word", "dashes", "words", "Chinese", "short", "combining"],
)
@pytest.mark.parametrize("fields", [{}, {"sampling": Sampling(seed=1)}], ids=["equal", "differs"])
def test_a_terminal_line_has_at_most_100_columns(name: str, fields: dict[str, Any]) -> None:
    text = terminal.render(named(name, **fields))
    assert max(widths(text)) <= 100


def test_a_table_of_large_numbers_has_at_most_100_columns() -> None:
    found = named("x" * 300)
    counts = dict.fromkeys(found.differences[0].baseline_counts, 0) | {"error": 12345}
    wide = found.differences[0].model_copy(
        update={
            **{"n": 99999, "paired": 99999, "lost": 99999, "gained": 99999, "delta": -100.0},
            **{"baseline": 100.0, "candidate": 100.0},
            **{"baseline_counts": counts, "candidate_counts": counts},
        }
    )
    text = terminal.render(found.model_copy(update={"differences": (wide,)}))
    assert max(widths(text)) <= 100


def test_a_short_name_is_not_broken() -> None:
    header = terminal.render(compare(*plain())).splitlines()[2]
    assert header.split()[:3] == ["Metrics", "cuda", "metax"]


def test_a_long_name_keeps_both_ends() -> None:
    one, other = (run(["0"], name=f"qwen-{'x' * 80}-{chip}", id=chip) for chip in ("cuda", "metax"))
    text = terminal.render(compare(one, other)).split("\ndelta")[0]
    for end in ("qwen-", "cuda", "metax"):
        assert end in text


# --- Foreign text ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE, ids=[str(i) for i in range(len(HOSTILE))])
@pytest.mark.parametrize("report", FORMATS, ids=["json", "markdown", "terminal"])
def test_no_control_character_gets_through(report: Any, name: str) -> None:
    assert report.render(named(name)).replace("\n", "").isprintable()


@pytest.mark.parametrize("name", HOSTILE, ids=[str(i) for i in range(len(HOSTILE))])
def test_json_holds_names_as_they_are(name: str) -> None:
    assert json.loads(json_report.render(named(name)))["baseline"] == name


@pytest.mark.parametrize("fields", [{}, {"sampling": Sampling(seed=1)}], ids=["equal", "differs"])
@pytest.mark.parametrize("name", HOSTILE, ids=[str(i) for i in range(len(HOSTILE))])
def test_a_name_is_only_text_in_markdown(name: str, fields: dict[str, Any]) -> None:
    check_markdown(name, fields)


@settings(max_examples=100, deadline=None)
@given(st.text("ab1 \\`*_~#[]()|<>&!-+=.:/@\t\n{}$\"'^", max_size=12))
@example("_")
def test_no_name_is_markup_in_markdown(name: str) -> None:
    check_markdown(name, {})


def check_markdown(name: str, fields: dict[str, Any]) -> None:
    tokens = PARSER.parse(markdown.render(named(name, **fields)))
    assert {token.type for token in tokens} <= ALLOWED
    assert [t.tag for t in tokens if t.type == "heading_open"] == ["h1", "h2"]
    assert sum(t.type == "bullet_list_open" for t in tokens) == 1
    inline = [child for token in tokens for child in token.children or ()]
    assert {child.type for child in inline} <= {"text", "text_special"}
    title = "".join(child.content for child in tokens[1].children or ())
    shown = " ".join(inert(name).split())
    assert " ".join(title.split()) == f"{shown} and {shown}".strip()


def test_addresses_do_not_become_links() -> None:
    text = markdown.render(named("HTTPS://example.org www.example.org ftp://example.org"))
    assert not re.search(r"(?i)(https?|ftp)://|www\.", text)


@given(st.text())
def test_inert_text_is_printable_and_as_long(text: str) -> None:
    assert inert(text).isprintable()
    assert len(inert(text)) == len(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("héllo 你好", "héllo 你好"), ("你\u3000好\u00a0", "你 好 "), ("a\nb\x1b", "a�b�")],
)
def test_inert_text_is_still_readable(text: str, shown: str) -> None:
    assert inert(text) == shown

"""A stranger's run, every text of which is hostile, in every report and on the terminal.

Each text that a run file can hold is made hostile, but for those that only certain values fit
(hashes, times, verdicts); what refers to another text still does."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from factories import Failed, epoch, items, rebuilt, run, task

from flagos_eval import Run, samples, store
from flagos_eval.catalog import load_module
from flagos_eval.cli import cli
from flagos_eval.compare_files import compare_files
from flagos_eval.images import ImageBank
from flagos_eval.records import Capability, Fact, Usage

from .stored_runs import HOSTILE
from .test_html import Structure

FORMATS = ("html", "markdown", "card", "json", "junit", "terminal", "items")
_ESCAPES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
"""What acts on a terminal, or turns the order of what is read."""


def plain(name: str, folder: Path) -> Run:
    """A run of two tasks' worth of fields: facts, servers, failures, settings, groups."""
    asked = items(4, group="group", cluster="cluster", source_id="source")
    kept = samples.write(asked, ImageBank(), folder / "x.json")
    facts = (
        Fact(name="host:driver", value="1.2", source="client", verified=True),
        Fact(name="server:command", value=["vllm", "serve"], source="server", verified=True),
        Fact(name="server:environment", value={"A": "1"}, source="imported", verified=False),
    )
    made = run(
        ("0", "1", "wrong", Failed) if name == "one" else ("0", "x", "wrong", "3"),
        asked=asked,
        usage=Usage(prompt_tokens=9, completion_tokens=3),
        facts=facts,
        epochs=(epoch(),),
        capabilities=(Capability(name="seed", state="supported", detail="one seed"),),
        files=(kept,),
    )
    return rebuilt(made, name=name, id=name, arm="arm", reason=made.reason and "stopped")


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every text, the places in lists left out."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict):
        for key, held in value.items():
            yield from leaves(held, (*path, key))
    elif isinstance(value, list):
        for held in value:
            yield from leaves(held, (*path, "*"))


def changed(value: Any, path: tuple[str, ...], text: str) -> Any:
    """The value with `text` behind every text at a path."""
    if not path:
        return value + text if isinstance(value, str) else value
    if isinstance(value, dict) and path[0] in value:
        return {**value, path[0]: changed(value[path[0]], path[1:], text)}
    if isinstance(value, list) and path[0] == "*":
        return [changed(held, path[1:], text) for held in value]
    return value


def hostile(made: Run, text: str) -> tuple[Run, set[tuple[str, ...]]]:
    """The run with every text hostile that may be any text, and which these are."""
    content = made.model_dump(mode="json")
    named = {("tasks", "*", "name"), ("scores", "*", "task"), ("results", "*", "task")}
    named |= {("responses", "*", "task")}
    ids = {("tasks", "*", "expected", "*", "id"), ("scores", "*", "sample_id")}
    ids |= {("responses", "*", "sample_id")}
    done: set[tuple[str, ...]] = set()
    # What refers to another text is changed together with it, the rest one by one.
    for together in (ids, *({path} for path in sorted(set(leaves(content)) - named - ids))):
        if any(path[0] in ("files", "schema_version") for path in together):
            continue
        tried = copy.deepcopy(content)
        for path in together:
            tried = changed(tried, path, text)
        try:
            Run.model_validate(tried)
        except ValueError:
            continue
        content, done = tried, done | together
    return Run.model_validate(content), done


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two files of hostile runs."""
    folder = tmp_path_factory.mktemp("hostile")
    paths = folder / "one.json", folder / "two.json"
    for path in paths:
        store.save(hostile(plain(path.stem, folder), " ".join(HOSTILE.values()))[0], path)
    return paths


def rendered(pair: tuple[Path, Path], form: str) -> str:
    found, sides = compare_files(
        *map(str, pair), policy_name="default", load_task=lambda name: task()
    )
    text: str = load_module("reports", form, "format").render(found, sides)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def test_nearly_every_text_of_a_run_is_hostile(tmp_path: Path) -> None:
    done = {".".join(path) for path in hostile(plain("one", tmp_path), HOSTILE["script"])[1]}
    assert done >= {
        *("name", "id", "arm", "model", "epochs.*.version", "epochs.*.endpoint"),
        *("environment.python", "environment.packages.*", "environment.command.*"),
        *("responses.*.text", "responses.*.error.message", "responses.*.sample_id"),
        *("scores.*.answer", "tasks.*.expected.*.group", "tasks.*.dataset.id", "facts.*.value"),
        *("facts.*.name", "capabilities.*.detail"),
    }


@pytest.mark.parametrize("form", FORMATS)
def test_every_report_can_be_written(pair: tuple[Path, Path], form: str) -> None:
    assert rendered(pair, form)


def test_the_page_has_no_element_or_address_of_theirs(pair: tuple[Path, Path]) -> None:
    page = Structure(rendered(pair, "html"))
    names = [name for name, _ in page.elements]
    assert names.count("script") == 2 and names.count("style") == 1
    assert not {"img", "iframe", "object", "embed", "base", "form", "link"} & set(names)
    for element, name, value in page.values:
        assert not name.startswith("on") and name not in ("src", "srcset", "action", "style")
        assert name != "href" or value.startswith("#"), (element, value)


@pytest.mark.parametrize("form", ["markdown", "card"])
def test_markdown_has_no_markup_of_theirs(pair: tuple[Path, Path], form: str) -> None:
    text = rendered(pair, form)
    assert not re.search(r"<(?:script|img|style|!--)", text)
    assert not re.search(r"\]\(\s*(?:javascript|https?):[^)]*example\.org", text)


def test_junit_is_xml_that_parses(pair: tuple[Path, Path]) -> None:
    assert ElementTree.fromstring(rendered(pair, "junit")).tag == "testsuites"


@pytest.mark.parametrize("form", ["terminal", "markdown", "card", "junit"])
def test_a_text_report_acts_on_no_terminal(pair: tuple[Path, Path], form: str) -> None:
    assert _ESCAPES.findall(rendered(pair, form)) == []


def test_the_record_is_json_in_ascii(pair: tuple[Path, Path]) -> None:
    json.loads(rendered(pair, "json").encode("ascii"))


@pytest.mark.parametrize(
    "command",
    [
        *(
            ["show", "{one}"],
            ["show", "{one}", "--reproduce"],
            ["show", "{two}", "--flips", "{one}"],
        ),
        *(["compare", "{one}", "{two}"], ["verify", "{one}"], ["ls", "runs"]),
    ],
    ids=lambda words: words[0] + "".join(words[2:3]),
)
def test_no_command_lets_a_text_act_on_the_terminal(
    pair: tuple[Path, Path],
    command: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(pair[0].parent)
    words = [word.format(one=pair[0], two=pair[1]) for word in command]
    monkeypatch.setattr("sys.argv", ["flagos-eval", *words])
    from flagos_eval.cli import _guarded

    assert cli.name == "cli" and _guarded() != 70
    said = capsys.readouterr()
    assert _ESCAPES.findall(said.out + said.err) == []

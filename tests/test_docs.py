"""Documents that could drift are generated, or run."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from flagos_eval.catalog import load_task
from flagos_eval.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"<!-- output: flagos-eval (.*?) -->\n```\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(("command", "output"), SHOWN)
def test_the_readme_shows_what_the_command_prints(command, output):
    result = subprocess.run(
        [sys.executable, "-m", "flagos_eval", *shlex.split(command)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.stdout == output


def test_the_readme_shows_an_output():
    assert SHOWN


def test_the_readme_lists_the_exit_codes_of_the_help():
    from flagos_eval import errors

    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    assert listed == codes


def test_every_command_is_in_the_reference():
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"## flagos-eval {name}\n" in text


def test_relative_links_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_example_benchmark_loads_and_scores(tmp_path):
    text = (ROOT / "docs" / "add-a-benchmark.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    ast.parse(source)
    (tmp_path / "capitals.py").write_text(source, encoding="utf-8")
    task = load_task("capitals", tmp_path)
    assert task.scorers[0].name == "official"

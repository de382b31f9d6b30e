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


# --- docs/arms.md ---------------------------------------------------------------------------------

ARMS = (ROOT / "docs" / "arms.md").read_text(encoding="utf-8")
ARMS_FILES = re.findall(r"<!-- pairs: (.*?) -->\n```toml\n(.*?)```", ARMS, re.DOTALL)


def test_every_file_of_arms_in_the_documents_is_under_test():
    assert len(ARMS_FILES) == ARMS.count("```toml") > 0


@pytest.mark.parametrize(("pairs", "text"), ARMS_FILES)
def test_the_files_of_arms_in_the_documents_mean_what_is_said(tmp_path, pairs, text):
    from flagos_eval import arms_file, config

    path = tmp_path / "release.toml"
    path.write_text(text, encoding="utf-8")
    file = arms_file.read(path)
    assert [arms_file.VERSUS.join(pair) for pair in file.pairs] == pairs.split(", ")
    for arm in file.arms:
        config.combine({"file": file.settings(arm)})


def test_the_documents_name_every_key_of_a_file_of_arms():
    keys = re.findall(r"^\| `([a-z-]+) =", ARMS, re.MULTILINE)
    assert sorted(keys) == ["baseline", "compare", "reference", "reference-max-age", "repeat-of"]


def test_the_matrix_in_the_documents_is_the_examples():
    from flagos_eval.compare_files import compare_files
    from flagos_eval.reports._matrix import matrix

    example = ROOT / "results" / "example"
    found, _ = compare_files(
        str(example / "reference.json"),
        str(example / "candidate.json"),
        policy_name="demo",
        load_task=load_task,
        again=(f"reference={example / 'reference-again.json'}",),
    )
    (shown,) = re.findall(r"<!-- matrix -->\n```\n(.*?)```", ARMS, re.DOTALL)
    assert matrix({("reference", "candidate"): found}) == shown


def test_the_greatest_age_in_the_documents_is_the_default():
    from flagos_eval import kept_reference

    assert f"--reference-max-age DAYS` ({kept_reference.MAX_AGE:g})" in ARMS

"""What is in the folder exists; nothing is registered."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import flagos_eval
from flagos_eval import catalog
from flagos_eval.errors import EXIT_USAGE, UnknownName, UsageError
from flagos_eval.task import Task

FILE = """
from flagos_eval import GeneratedDataset, Judgement, Prompt, Sample, Scorer, Task, TextPart

def to_sample(row):
    return Sample.create(task="{name}", id=row["id"], input=[TextPart(text="?")], target="x")

TASK = Task(
    name="{name}",
    version=1,
    title="A file of this test",
    dataset=GeneratedDataset(id="test", n={{"test": 1}}, rows=lambda split: [{{"id": "0"}}]),
    to_sample=to_sample,
    prompts=(Prompt("plain", 1, lambda sample: sample.input, "this test"),),
    scorers=(Scorer("exact", 1, lambda sample, text: Judgement(text, 0.0), "this test"),),
)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("alpha", "beta"):
        (tmp_path / f"{name}.py").write_text(FILE.format(name=name))
    return tmp_path


# --- Tasks ----------------------------------------------------------------------------------------


def test_a_file_in_the_folder_is_a_task(folder: Path) -> None:
    (folder / "gamma.py").write_text(FILE.format(name="gamma"))
    assert catalog.task_names(folder) == ["alpha", "beta", "gamma"]
    assert catalog.load_task("gamma", folder).name == "gamma"


def test_a_file_that_begins_with_an_underscore_is_no_task(folder: Path) -> None:
    (folder / "_common.py").write_text("")
    (folder / "notes.txt").write_text("")
    assert catalog.task_names(folder) == ["alpha", "beta"]


def test_a_task_is_loaded_by_path(folder: Path) -> None:
    assert catalog.load_task(str(folder / "alpha.py")).name == "alpha"


def test_every_built_in_task_loads() -> None:
    names = catalog.task_names()
    assert {"mathvision", "shapes"} <= set(names)
    assert [task.name for task in catalog.load_tasks(names)] == names


def test_all_is_every_task(folder: Path) -> None:
    assert [task.name for task in catalog.load_tasks(["all"], folder)] == ["alpha", "beta"]


def test_tasks_come_in_the_order_they_are_named_in(folder: Path) -> None:
    assert [t.name for t in catalog.load_tasks(["beta", "alpha"], folder)] == ["beta", "alpha"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("alpa", "there is no task 'alpa'; did you mean 'alpha'?"),
        ("Beta", "there is no task 'Beta'; did you mean 'beta'?"),
        ("zzz", "there is no task 'zzz'; known: alpha, beta"),
        ("../alpha", "there is no task '../alpha'"),
        ("", "there is no task ''"),
    ],
)
def test_a_wrong_name_gets_the_nearest_one(folder: Path, name: str, said: str) -> None:
    with pytest.raises(UnknownName) as caught:
        catalog.load_task(name, folder)
    assert said in caught.value.message
    assert caught.value.exit_code == EXIT_USAGE
    assert caught.value.hint == "flagos-eval ls tasks"


def test_a_path_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(UnknownName, match=r"there is no task file .*none\.py"):
        catalog.load_task(str(folder / "none.py"))


def test_no_task_at_all_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="no task was named"):
        catalog.load_tasks([], folder)


@pytest.mark.parametrize("names", [["alpha", "alpha"], ["all", "beta"]])
def test_one_task_twice_is_refused(folder: Path, names: list[str]) -> None:
    with pytest.raises(UsageError, match="is named twice"):
        catalog.load_tasks(names, folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "declares no TASK"),
        ("TASK = 1", "declares no TASK"),
        (FILE.format(name="other"), "declares task 'other'; the file must have the task's name"),
        ("TASK = ", "cannot be loaded: SyntaxError"),
        ("import no_such_module", "cannot be loaded: ModuleNotFoundError: No module named"),
        ("TASK = undefined", "cannot be loaded: NameError: name 'undefined'"),
        ("raise RuntimeError('why')", "cannot be loaded: RuntimeError: why"),
        (FILE.format(name="broken").replace("prompts=(Pr", "prompts=() and (Pr"), "no prompts"),
        (FILE.format(name="broken").replace("scorers=(Sc", "scorers=() and (Sc"), "no scorers"),
    ],
    ids=[str(i) for i in range(9)],
)
def test_a_broken_file_is_named_with_what_is_wrong(folder: Path, text: str, said: str) -> None:
    path = folder / "broken.py"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        catalog.load_task("broken", folder)
    assert said in caught.value.message
    assert str(path) in caught.value.message


def test_a_broken_file_does_not_hide_the_others(folder: Path) -> None:
    (folder / "broken.py").write_text("TASK = ")
    assert isinstance(catalog.load_task("alpha", folder), Task)


# --- Launchers, platforms and reports -------------------------------------------------------------


def test_the_families_hold_what_is_in_their_folders() -> None:
    assert {"external", "vllm"} <= set(catalog.modules("launchers"))
    assert "cpu" in catalog.modules("platforms")
    assert {"json", "markdown", "terminal"} <= set(catalog.modules("reports"))


@pytest.mark.parametrize("family", ["launchers", "platforms", "reports"])
def test_an_interface_is_no_member_of_its_family(family: str) -> None:
    assert not any(name == "base" or name.startswith("_") for name in catalog.modules(family))


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("reports", "SUFFIXES = ('.x',)\ndef render(comparison): return 'dropped in'\n"),
        ("launchers", "LAUNCHER = 'dropped in'\n"),
        ("platforms", "PLATFORM = 'dropped in'\n"),
    ],
)
def test_a_file_dropped_into_a_family_is_found(tmp_path: Path, family: str, text: str) -> None:
    package = tmp_path / "flagos_eval"
    source = Path(flagos_eval.__file__).parent
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / family / "dropped.py").write_text(text)
    code = (
        "from flagos_eval import catalog\n"
        f"found = catalog.load_module({family!r}, 'dropped', 'thing')\n"
        "print(found.__file__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()) == package / family / "dropped.py"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A third party's package, as an installer would lay it out."""
    info = tmp_path / "thirdparty-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[flagos_eval.reports]\nslides = thirdparty_slides\njson = thirdparty_slides\n"
        "absent = no_such_module:thing\n"
    )
    (tmp_path / "thirdparty_slides.py").write_text("SUFFIXES = ('.odp',)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("installed")
def test_an_installed_plug_in_is_found() -> None:
    assert catalog.load_module("reports", "slides", "report format").SUFFIXES == (".odp",)


@pytest.mark.usefixtures("installed")
def test_a_plug_in_does_not_replace_what_is_built_in() -> None:
    assert catalog.modules("reports")["json"] == "flagos_eval.reports.json"


@pytest.mark.usefixtures("installed")
def test_a_plug_in_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(UsageError, match="report format 'absent' cannot be loaded"):
        catalog.load_module("reports", "absent", "report format")


def test_a_plug_in_of_one_family_is_not_in_another(installed: Path) -> None:
    assert "slides" not in catalog.modules("launchers")


def test_a_wrong_plug_in_gets_the_nearest_one() -> None:
    with pytest.raises(UnknownName, match="no report format 'markdwon'; did you mean 'markdown'"):
        catalog.load_module("reports", "markdwon", "report format")


def test_an_edit_of_the_same_length_in_the_same_second_counts(tmp_path: Path) -> None:
    source = (catalog.tasks_dir() / "mathvision.py").read_text(encoding="utf-8")
    file = tmp_path / "mathvision.py"
    titles = []
    for word in ("MathVision (", "NathVision ("):
        file.write_text(source.replace('title="MathVision (', f'title="{word}'), encoding="utf-8")
        os.utime(file, (1_700_000_000, 1_700_000_000))
        titles.append(catalog.load_task("mathvision", tmp_path).title)
    assert titles[0] != titles[1]
    assert not (tmp_path / "__pycache__").exists()

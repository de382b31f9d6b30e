"""The command line as a user meets it: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from protocol_server import ProtocolServer, fail_every
from protocol_server import Status as Fail

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "results" / "example"
REFERENCE, CANDIDATE = EXAMPLE / "reference.json", EXAMPLE / "candidate.json"


def flagos_eval(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("FLAGOS_EVAL_", "OPENAI_"))}
    return subprocess.run(
        [sys.executable, "-m", "flagos_eval", *map(str, arguments)],
        cwd=cwd,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def assert_says(result: subprocess.CompletedProcess[str], code: int, *fragments: str) -> None:
    """The exit code, one sentence with the fragments, and no traceback."""
    said = result.stdout + result.stderr
    assert result.returncode == code, said
    assert "Traceback" not in said
    for fragment in fragments:
        assert fragment in said


@pytest.fixture
def server():
    with ProtocolServer() as running:
        yield running


@pytest.fixture
def finished(server, tmp_path) -> Path:
    run = flagos_eval(
        "run", "-t", "shapes", "-L", 8, "--base-url", server.url, "-q", "-o", "a.json", cwd=tmp_path
    )
    assert_says(run, 0, "Saved a.json")
    return tmp_path / "a.json"


# --- Help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["run", "arms", "compare", "report", "show", "score", "import", "pack", "ls"]
)
def test_every_command_has_help_within_100_columns(command):
    result = flagos_eval(command, "--help", COLUMNS="100")
    assert_says(result, 0, "Usage: flagos-eval " + command)
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_help_states_the_exit_codes():
    assert_says(flagos_eval("--help"), 0, "Exit codes", "not comparable", "interrupted")


def test_compare_and_report_need_no_heavy_package(tmp_path):
    script = (
        "import sys; from flagos_eval.cli import _guarded; sys.argv[0] = 'flagos-eval'; _guarded();"
        "heavy = {'openai', 'datasets', 'torch', 'pandas', 'scipy.stats', 'PIL'};"
        "heavy &= set(sys.modules);"
        "print('HEAVY', sorted(heavy))"
    )
    for arguments in (
        ["compare", REFERENCE, CANDIDATE],
        ["report", REFERENCE, CANDIDATE, "-o", tmp_path / "x.md"],
        ["show", REFERENCE],
        ["ls"],
        ["--help"],
    ):
        result = subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "HEAVY []" in result.stdout, arguments


# --- The main job --------------------------------------------------------------------------------


def test_run_saves_what_compare_reads(server, finished, tmp_path):
    again = flagos_eval(
        "run",
        "--config-from",
        "a.json",
        "--base-url",
        server.url,
        "-q",
        "-o",
        "b.json",
        cwd=tmp_path,
    )
    assert_says(again, 0, "Saved b.json")
    compared = flagos_eval("compare", "a.json", "b.json", cwd=tmp_path)
    assert_says(compared, 3, "Metrics", "comparable", "INCONCLUSIVE")


def test_compare_also_looks_in_results(finished, tmp_path):
    (tmp_path / "results").mkdir()
    shutil.move(finished, tmp_path / "results" / "a.json")
    assert_says(flagos_eval("compare", "a.json", "a.json", cwd=tmp_path), 3, "the same run")


def test_the_default_output_is_named_after_the_endpoint(server, tmp_path):
    result = flagos_eval(
        "run", "-t", "shapes", "-L", 2, "--base-url", server.url, "-q", cwd=tmp_path
    )
    assert_says(result, 0, f"results/127.0.0.1-{server.port}.json")


def test_a_finished_run_is_never_overwritten(server, finished, tmp_path):
    before = finished.read_bytes()
    for extra in ((), ("--fresh",)):
        result = flagos_eval(
            "run", "-t", "shapes", "--base-url", server.url, "-o", "a.json", *extra, cwd=tmp_path
        )
        assert_says(result, 2, "finished run", "-o")
    assert finished.read_bytes() == before


def test_openai_base_url_is_honoured(server, tmp_path):
    result = flagos_eval(
        "run",
        "-t",
        "shapes",
        "-L",
        2,
        "-q",
        "-o",
        "x.json",
        cwd=tmp_path,
        OPENAI_BASE_URL=server.url,
    )
    assert_says(result, 0, "Saved x.json")


def test_precedence_is_flag_then_environment_then_file_then_default(server, tmp_path):
    (tmp_path / "c.toml").write_text('limit = 5\nseed = 7\nmax-tokens = 11\ntasks = ["shapes"]\n')
    result = flagos_eval(
        "run", "-C", "c.toml", "--limit", 3, "--base-url", server.url, "-q", "-o", "x.json",
        cwd=tmp_path, FLAGOS_EVAL_LIMIT="4", FLAGOS_EVAL_SEED="8",
    )  # fmt: skip
    assert_says(result, 0)
    settings = json.loads((tmp_path / "x.json").read_text())["settings"]
    assert settings["limit"] == {"value": 3, "source": "flag"}
    assert settings["seed"] == {"value": 8, "source": "environment"}
    assert settings["max_tokens"] == {"value": 11, "source": "file"}
    assert settings["top_p"] == {"value": 1.0, "source": "default"}


def test_more_failures_than_allowed_make_the_run_incomplete_and_resumable(tmp_path):
    with ProtocolServer(faults=fail_every(4, Fail(400))) as server:
        command = ("run", "-t", "shapes", "-L", 40, "--base-url", server.url, "-q", "-o", "x.json")
        assert_says(flagos_eval(*command, cwd=tmp_path), 5, "INCOMPLETE", "requests failed")
        server.faults = None
        assert_says(flagos_eval(*command, cwd=tmp_path), 0, "Saved x.json")


def test_dry_run_shows_the_first_request_and_asks_nothing(server, tmp_path):
    result = flagos_eval("run", "-t", "shapes", "--base-url", server.url, "--dry-run", cwd=tmp_path)
    assert_says(result, 0, "400 items", "image/png", "total: 400 requests")
    assert not server.requests
    assert not list(tmp_path.iterdir())


def test_dry_run_shows_the_launchers_command(tmp_path):
    result = flagos_eval(
        "run", "-t", "shapes", "--launcher", "vllm", "-m", "/w/Qwen", "--set", "max-model-len=4096",
        "--dry-run", cwd=tmp_path,
    )  # fmt: skip
    assert_says(result, 0, "--model /w/Qwen", "--max-model-len 4096", "--no-enable-prefix-caching")


def test_shards_are_run_and_merged(server, finished, tmp_path):
    for index in (1, 2):
        result = flagos_eval(
            "run", "-t", "shapes", "-L", 8, "--shard", f"{index}/2", "-q",
            "--base-url", server.url, cwd=tmp_path,
        )  # fmt: skip
        assert_says(result, 0, f"shard-{index}-of-2.json", f"shard {index}/2: merge it")
    paths = sorted((tmp_path / "results").glob("*.json"))
    assert_says(flagos_eval("merge", paths[0], "-o", "m.json", cwd=tmp_path), 5, "2/2 (4 of 8")
    assert_says(flagos_eval("compare", paths[0], "a.json", cwd=tmp_path), 4, "is shard 1/2")
    assert_says(flagos_eval("merge", *paths[::-1], "-o", "m.json", cwd=tmp_path), 0, "Saved m.json")
    assert_says(flagos_eval("verify", "m.json", cwd=tmp_path), 0)
    assert_says(flagos_eval("show", paths[1], cwd=tmp_path), 0, "preview, shard 2/2")
    assert_says(flagos_eval("show", "m.json", cwd=tmp_path), 0, "merged from 2 shards")
    assert_says(flagos_eval("ls", "runs", cwd=tmp_path), 0, "shard 1/2")
    whole, merged = (json.loads((tmp_path / f"{name}.json").read_text()) for name in "am")
    assert merged["results"] == whole["results"]


# --- Looking -------------------------------------------------------------------------------------


def test_show_one_answer(finished, tmp_path):
    sample = json.loads(finished.read_text())["responses"][0]["sample_id"]
    result = flagos_eval("show", "a.json", "shapes", sample, cwd=tmp_path)
    assert_says(result, 0, "target", "answer 1", "score 1")


def test_show_flips():
    result = flagos_eval("show", CANDIDATE, "--flips", REFERENCE)
    assert_says(result, 0, "lost", "gained", "->")


def test_score_again_changes_nothing(finished, tmp_path):
    assert_says(flagos_eval("score", "a.json", cwd=tmp_path), 0, "0 of 8 scores changed")


def test_a_pack_is_read_wherever_a_run_is(server, finished, tmp_path):
    assert_says(flagos_eval("pack", "a.json", "--images", cwd=tmp_path), 0, "Saved a.zip")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(tmp_path / "a.zip", elsewhere / "a.zip")
    assert_says(flagos_eval("show", "a.zip", cwd=elsewhere), 0, "shapes")
    assert_says(flagos_eval("score", "a.zip", cwd=elsewhere), 0, "0 of 8 scores changed")
    again = flagos_eval(
        "run",
        "--config-from",
        "a.zip",
        "--base-url",
        server.url,
        "-q",
        "-o",
        "b.json",
        cwd=elsewhere,
    )
    assert_says(again, 0, "Saved b.json")
    assert_says(flagos_eval("compare", "a.zip", "b.json", cwd=elsewhere), 3, "comparable")


def test_ls_lists_every_family(tmp_path):
    for kind, name in (
        ("tasks", "mathvision"),
        ("launchers", "vllm"),
        ("platforms", "cpu"),
        ("reports", "markdown"),
    ):
        assert_says(flagos_eval("ls", kind, cwd=tmp_path), 0, name)
    assert_says(flagos_eval("ls", "runs", cwd=tmp_path), 0, "no runs")


# --- Bad input -----------------------------------------------------------------------------------


def test_an_unknown_command_is_answered_with_the_nearest():
    assert_says(flagos_eval("comprae", "a", "b"), 2, "did you mean 'compare'")


def test_an_unknown_task_is_answered_with_the_nearest():
    assert_says(flagos_eval("run", "-t", "mathvison"), 2, "did you mean 'mathvision'")


def test_an_unknown_option_is_a_usage_error():
    assert_says(flagos_eval("run", "--tusks", "x"), 2, "--tusks")


def test_an_unknown_setting_in_a_config_file_is_named(tmp_path):
    (tmp_path / "c.toml").write_text("tusks = 1\n")
    assert_says(flagos_eval("run", "-C", "c.toml", cwd=tmp_path), 2, "'tusks'")


def test_a_config_file_that_is_not_toml_is_named(tmp_path):
    (tmp_path / "c.toml").write_text("= 1\n")
    assert_says(flagos_eval("run", "-C", "c.toml", cwd=tmp_path), 2, "c.toml is not TOML")


def test_no_task_is_a_usage_error(server):
    assert_says(flagos_eval("run", "--base-url", server.url), 2, "no task")


def test_no_server_names_the_ways_on(tmp_path):
    result = flagos_eval("run", "-t", "shapes", cwd=tmp_path)
    assert_says(result, 2, "--base-url", "--launcher")
    assert not (tmp_path / "results").exists()


def test_an_unreachable_server_is_named(tmp_path):
    result = flagos_eval(
        "run", "-t", "shapes", "--base-url", "http://127.0.0.1:9/v1", "-q", cwd=tmp_path
    )
    assert_says(result, 74, "http://127.0.0.1:9/v1")


def test_a_wrong_model_lists_the_ones_there_are(server, tmp_path):
    result = flagos_eval(
        "run", "-t", "shapes", "-m", "nope", "--base-url", server.url, "-q", cwd=tmp_path
    )
    assert_says(result, 2, "'nope'", "tiny")


def test_a_key_in_the_address_is_refused(tmp_path):
    result = flagos_eval(
        "run", "-t", "shapes", "--base-url", "http://me:secret@host/v1", "-q", cwd=tmp_path
    )
    assert_says(result, 2, "OPENAI_API_KEY")
    assert "secret" not in result.stdout + result.stderr


@pytest.mark.parametrize("command", ["show", "score", "pack"])
def test_a_missing_file_is_named(command, tmp_path):
    assert_says(flagos_eval(command, "gone.json", cwd=tmp_path), 74, "gone.json")


def test_a_cut_file_is_called_damaged(tmp_path):
    (tmp_path / "cut.json").write_bytes(REFERENCE.read_bytes()[:5000])
    assert_says(flagos_eval("show", "cut.json", cwd=tmp_path), 74, "cut.json", "damaged")


def test_a_newer_file_asks_for_an_upgrade(tmp_path):
    text = REFERENCE.read_text().replace('"schema_version": 1', '"schema_version": 2', 1)
    (tmp_path / "new.json").write_text(text)
    assert_says(flagos_eval("show", "new.json", cwd=tmp_path), 2, "schema version 2", "upgrade")


def test_some_other_json_is_no_run(tmp_path):
    (tmp_path / "other.json").write_text("[1, 2]")
    assert_says(flagos_eval("show", "other.json", cwd=tmp_path), 2, "not a run file")


def test_an_edited_score_is_an_invalid_run(tmp_path):
    text = REFERENCE.read_text().replace('"status":"scored"', '"status":"unparsed"', 1)
    (tmp_path / "edited.json").write_text(text)
    assert_says(flagos_eval("compare", "edited.json", CANDIDATE, cwd=tmp_path), 4, "edited.json")


def test_runs_of_different_tasks_are_not_comparable(server, finished, tmp_path):
    tasks = tmp_path / "mine"
    tasks.mkdir()
    source = (ROOT / "tasks" / "shapes.py").read_text().replace('"shapes"', '"forms"')
    (tasks / "forms.py").write_text(source)
    run = flagos_eval(
        "run", "-t", "forms", "--tasks-dir", tasks, "-L", 2, "--base-url", server.url, "-q",
        "-o", "f.json", cwd=tmp_path,
    )  # fmt: skip
    assert_says(run, 0)
    assert_says(flagos_eval("compare", "a.json", "f.json", cwd=tmp_path), 4, "no task in common")


def test_an_unwritable_folder_is_named(server, tmp_path):
    (tmp_path / "file").write_text("")
    result = flagos_eval(
        "run", "-t", "shapes", "--base-url", server.url, "-q", "-o", "file/x.json", cwd=tmp_path
    )
    assert_says(result, 74, "file/x")


def test_a_changed_setting_does_not_mix_with_an_unfinished_run(tmp_path):
    with ProtocolServer(faults=fail_every(2, Fail(400))) as server:
        command = ("run", "-t", "shapes", "-L", 6, "--base-url", server.url, "-q", "-o", "x.json")
        assert_says(flagos_eval(*command, cwd=tmp_path), 5)
        result = flagos_eval(*command, "--seed", 3, cwd=tmp_path)
        assert_says(result, 2, "seed was 0, is 3", "--fresh")


def test_an_unknown_report_suffix_lists_the_known(tmp_path):
    result = flagos_eval("report", REFERENCE, CANDIDATE, "-o", tmp_path / "x.docx")
    assert_says(result, 2, ".docx", ".md")


def test_a_crash_is_70_and_never_drift(tmp_path):
    script = (
        "import sys; from flagos_eval import cli, store\n"
        "def crash(name): raise ZeroDivisionError('planted')\n"
        "store.find = crash\n"
        "sys.argv = ['flagos-eval', 'compare', 'a', 'b']; sys.exit(cli._guarded())"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 70
    assert "internal error: ZeroDivisionError: planted" in result.stderr


def test_no_colour_code_reaches_a_pipe_or_a_no_color_terminal():
    result = flagos_eval("show", "gone.json", NO_COLOR="1", FORCE_COLOR="")
    assert "\x1b" not in result.stdout + result.stderr


def test_output_into_a_closed_pipe_ends_without_a_traceback():
    command = f"{sys.executable} -m flagos_eval show {REFERENCE} | true"
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in result.stderr
    assert "Exception" not in result.stderr

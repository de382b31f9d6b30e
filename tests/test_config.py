"""Where a setting comes from, what it may be, and what of it reaches a file."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from factories import run

from flagos_eval import config
from flagos_eval.config import ASKED, SERVED, RunConfig, combine, from_run, pairs, read_file
from flagos_eval.errors import EXIT_IO, EXIT_USAGE, FileError, UsageError
from flagos_eval.records import Sampling, Setting
from flagos_eval.redact import HIDDEN, is_secret, redact, redact_command, redact_variables

LAYERS: tuple[config.Source, ...] = ("default", "file", "run", "environment", "flag")


def toml(folder: Path, text: str | bytes) -> Path:
    path = folder / "settings.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


# --- Precedence -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("weaker", "stronger"), list(itertools.combinations(LAYERS[1:], 2)))
def test_the_stronger_source_decides(weaker: config.Source, stronger: config.Source) -> None:
    layers: dict[config.Source, dict[str, Any]] = {name: {} for name in LAYERS}
    layers[weaker], layers[stronger] = {"seed": 1}, {"seed": 2}
    found = combine(layers)
    assert (found.config.seed, found.sources["seed"]) == (2, stronger)


def test_each_setting_has_its_own_source() -> None:
    found = combine({"file": {"seed": 1, "top_k": 5}, "environment": {"seed": 2}})
    assert found.settings()["seed"] == Setting(value=2, source="environment")
    assert found.settings()["top_k"] == Setting(value=5, source="file")
    assert found.settings()["top_p"] == Setting(value=1.0, source="default")


def test_every_setting_is_on_record() -> None:
    assert set(combine({}).settings()) == set(RunConfig.model_fields)


def test_a_value_that_is_the_default_keeps_the_source_that_gave_it() -> None:
    assert combine({"flag": {"seed": 0}}).settings()["seed"].source == "flag"


def test_a_list_is_replaced_and_not_joined() -> None:
    found = combine({"file": {"tasks": ("a", "b")}, "flag": {"tasks": ("c",)}})
    assert found.config.tasks == ("c",)


def test_another_run_gives_what_was_asked_and_nothing_else() -> None:
    given = combine({"flag": {"seed": 7, "tasks": ("sums",), "concurrency": 3, "name": "x"}})
    taken = from_run(run(settings=given.settings()))
    assert set(taken) == {*ASKED, *SERVED}
    assert combine({"run": taken}).config == RunConfig(seed=7, tasks=("sums",))


def test_another_run_gives_how_it_was_served_but_not_on_how_many_devices() -> None:
    served = {"max_model_len": 8192, "prefix_caching": True, "eager": False, "tensor_parallel": 8}
    taken = from_run(run(settings=combine({"flag": served}).settings()))
    expected = RunConfig(max_model_len=8192, prefix_caching=True, eager=False)
    assert combine({"run": taken}).config == expected


def test_what_is_taken_from_a_run_is_not_altered_by_hiding_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", "mathvision")
    assert combine({"flag": {"tasks": ("mathvision",)}}).settings()["tasks"].value == ["mathvision"]


def test_the_defaults_are_those_of_a_request() -> None:
    assert {name: getattr(RunConfig(), name) for name in Sampling.model_fields} == (
        Sampling().model_dump() | {"max_tokens": None}
    )


def test_what_decides_the_questions_is_among_the_settings() -> None:
    assert set(ASKED) <= set(RunConfig.model_fields)
    assert set(Sampling.model_fields) <= set(ASKED)


# --- Refused --------------------------------------------------------------------------------------


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(UsageError, match="there is no setting 'temprature'") as caught:
        combine({"file": {"temprature": 0}})
    assert caught.value.exit_code == EXIT_USAGE


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tasks", "mathvision"),
        ("limit", 0),
        ("limit", "many"),
        ("limit", 1.5),
        ("repeat", 0),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", None),
        ("top_p", 0),
        ("top_p", 1.1),
        ("top_k", -2),
        ("min_p", 2),
        ("repetition_penalty", 0),
        ("max_tokens", 0),
        ("max_pixels", 0),
        ("min_pixels", -1),
        ("logprobs", 21),
        ("logprobs", -1),
        ("concurrency", 0),
        ("timeout", 0),
        ("max_retries", -1),
        ("max_error_rate", 1.01),
        ("model", {"name": "x"}),
        ("withhold_text", "perhaps"),
    ],
)
def test_a_wrong_value_is_named_with_its_source(name: str, value: object) -> None:
    with pytest.raises(UsageError) as caught:
        combine({"default": {}, "file": {name: value}})
    assert caught.value.message.startswith(f"{name} = {value!r} (file): ")


# --- Files ----------------------------------------------------------------------------------------


def test_a_file_has_the_names_of_the_long_flags(tmp_path: Path) -> None:
    path = toml(tmp_path, 'tasks = ["a", "b"]\nmax-tokens = 9\ntop_p = 0.5\nmodel = "m"\n')
    assert combine({"file": read_file(path)}).config == RunConfig(
        tasks=("a", "b"), max_tokens=9, top_p=0.5, model="m"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed = \n", "line 1"),
        ("seed = 1\nseed = 2\n", "line 2"),
        ("a b c", "line 1"),
        (b"model = '\xff'", "utf-8"),
        (b"\x1f\x8b\x08", "utf-8"),
    ],
)
def test_what_is_not_toml_is_named_with_its_place(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    path = toml(tmp_path, text)
    with pytest.raises(UsageError, match="is not TOML") as caught:
        read_file(path)
    assert str(path) in caught.value.message
    assert said in caught.value.message


def test_one_setting_in_two_spellings_is_refused(tmp_path: Path) -> None:
    path = toml(tmp_path, "top-p = 0.5\ntop_p = 0.9\n")
    with pytest.raises(UsageError, match="'top_p' is there twice"):
        read_file(path)


def test_a_table_is_no_setting(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no setting 'sampling'"):
        combine({"file": read_file(toml(tmp_path, "[sampling]\nseed = 1\n"))})


@pytest.mark.parametrize("name", ["none.toml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileError, match="cannot read") as caught:
        read_file(tmp_path / name)
    assert caught.value.exit_code == EXIT_IO


# --- NAME=VALUE -----------------------------------------------------------------------------------


def test_pairs_are_split_at_the_first_sign() -> None:
    assert pairs("env", ("A=1", "B=x=y", "C=")) == {"A": "1", "B": "x=y", "C": ""}


@pytest.mark.parametrize("value", ["A", "=1", ""])
def test_a_pair_without_name_or_value_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match=r"--env .*expected NAME=VALUE"):
        pairs("env", (value,))


# --- Secrets --------------------------------------------------------------------------------------

HIDDEN_NAMES = [
    *("OPENAI_API_KEY", "HF_TOKEN", "api-key", "apikey", "AWS_ACCESS_KEY_ID", "API_KEYS", "token"),
    *("DB_PASSWORD", "client_secret", "GOOGLE_CREDENTIALS", "HUGGING_FACE_HUB_TOKEN", "KEY_2"),
]
SHOWN_NAMES = [
    *("--max-tokens", "max_num_batched_tokens", "TOKENIZERS_PARALLELISM", "--tokenizer-mode"),
    *("VLLM_USE_V1", "HF_HOME", "KEYBOARD", "CUDA_VISIBLE_DEVICES"),
]


@pytest.mark.parametrize("name", HIDDEN_NAMES)
def test_a_secret_is_known_by_its_name(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", SHOWN_NAMES)
def test_what_can_decide_an_answer_is_no_secret(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["--env", "HF_TOKEN=sesame"], ["--env", "HF_TOKEN=(hidden)"]),
        (["--env=HF_TOKEN=sesame"], ["--env=HF_TOKEN=(hidden)"]),
        (["-eHF_TOKEN=ses=ame"], ["-eHF_TOKEN=(hidden)"]),
        (["--api-key", "sesame", "--port", "1"], ["--api-key", "(hidden)", "--port", "1"]),
        (["--api-key=sesame"], ["--api-key=(hidden)"]),
        (["--set", "api-key=sesame"], ["--set", "api-key=(hidden)"]),
        (["--base-url", "http://me:sesame@h:1/v1"], ["--base-url", "http://(hidden)@h:1/v1"]),
        (["http://h/v1?api_key=sesame"], ["http://h/v1?api_key=(hidden)"]),
        (["-lc", "exec v --api-key sesame -x"], ["-lc", "exec v --api-key (hidden) -x"]),
        (["-lc", "v --api-key 'ses ame'"], ["-lc", "v --api-key (hidden)"]),
        (["-lc", "it's --api-key sesame"], ["-lc", "it's --api-key (hidden)"]),
        (['--x={"api_key": "sesame", "n": 1}'], ['--x={"api_key": "(hidden)", "n": 1}']),
        (["-lc", "cd  '/a b' && v"], ["-lc", "cd  '/a b' && v"]),
        (["--max-tokens=512", "-t", "shapes"], ["--max-tokens=512", "-t", "shapes"]),
        (["--base-url", "http://h:1/v1"], ["--base-url", "http://h:1/v1"]),
    ],
)
def test_a_command_is_shown_without_secrets(command: list[str], shown: list[str]) -> None:
    assert redact_command(command) == tuple(shown)


def test_the_value_of_a_secret_variable_is_hidden_wherever_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "sesame")
    monkeypatch.setenv("SOME_API_KEY", "sesame-and-more")
    assert redact("a sesame, a sesame-and-more") == "a (hidden), a (hidden)"


def test_a_short_value_does_not_blank_out_ordinary_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "a")
    assert redact("banana") == "banana"


def test_a_password_with_an_at_sign_is_hidden_whole() -> None:
    assert redact("at http://me:ses@me@h:1/v1@x") == "at http://(hidden)@h:1/v1@x"


def test_a_bearer_token_is_hidden_whoever_has_it() -> None:
    assert redact("Authorization: Bearer abc.DEF-123") == "Authorization: Bearer (hidden)"


def test_a_key_is_hidden_before_a_text_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "sesame-and-more")
    assert redact("the key is sesame-and-more", 14) == "the key is (hi"


@pytest.mark.parametrize("value", ["HF_TOKEN sesame", "--api-key sesame"])
def test_a_pair_that_is_refused_is_not_repeated_if_it_may_hold_a_secret(value: str) -> None:
    with pytest.raises(UsageError, match=r"--env \(hidden\): expected NAME=VALUE"):
        pairs("env", (value,))


def test_a_setting_of_the_wrong_kind_is_not_repeated_if_it_holds_a_secret() -> None:
    with pytest.raises(UsageError, match=r"env = \(hidden\) \(file\)"):
        combine({"file": {"env": "HF_TOKEN=sesame"}})


def test_variables_are_shown_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "sesame")
    given = {"HF_TOKEN": "x", "B": "1 sesame", "A": "http://u:p@h", "C": "D=1 A_TOKEN=x"}
    assert redact_variables(given) == {
        "A": "http://(hidden)@h",
        "B": "1 (hidden)",
        "C": "D=1 A_TOKEN=(hidden)",
        "HF_TOKEN": "(hidden)",
    }


def test_no_setting_on_record_holds_a_secret() -> None:
    given = combine(
        {
            "flag": {
                "env": ("HF_TOKEN=sesame",),
                "set": ("api-key=sesame", "max-model-len=4096"),
                "base_url": ("http://me:sesame@h/v1",),
            }
        }
    )
    settings = given.settings()
    assert "sesame" not in repr(settings)
    assert settings["set"].value == ["api-key=(hidden)", "max-model-len=4096"]
    assert given.config.env == ("HF_TOKEN=sesame",)


@pytest.mark.parametrize(
    "text",
    [
        r'--set={"api_key": "ab\"cdefgh-secret"}',
        "Authorization: Basic dXNlcjpzZWNyZXQ=",
    ],
)
def test_a_secret_is_hidden_to_its_end(text: str) -> None:
    (shown,) = redact_command([redact(text)])
    assert "secret" not in shown and "dXNlcj" not in shown
    assert HIDDEN in shown

"""FlagGems' operators without a server: what is asked for, how it is switched, what is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import standin_packages
from hypothesis import given
from hypothesis import strategies as st

from flagos_eval.errors import CorruptFile, UnknownName, UsageError
from flagos_eval.operators import _hook, evidence, folder, installed
from flagos_eval.operators.installed import Installed
from flagos_eval.operators.selection import Selection, parse
from flagos_eval.operators.switch import switch, vendor
from flagos_eval.records import Dispatch, Operator

KEYS = tuple((key, name) for name, key in standin_packages.OPERATORS.items())
GEMS = Installed("5.0.2", frozenset(standin_packages.OPERATORS), KEYS)
PLUGIN = Installed(
    "5.0.2", GEMS.functions, KEYS, plugin="0.2.0", plugin_left_out=(("metax", ("exp", "tanh")),)
)

# --- A selection ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "selection"),
    [
        ("off", Selection("off")),
        ("all", Selection("all")),
        ("only:mm, softmax", Selection("only", ("mm", "softmax"))),
        ("not:addmm*", Selection("not", ("addmm*",))),
        ("only:mm,mm", Selection("only", ("mm",))),
    ],
)
def test_a_selection_is_read(text: str, selection: Selection) -> None:
    assert parse(text) == selection


@pytest.mark.parametrize("text", ["", "on", "only:", "only", "off:mm", "not:mm,", "only:a b", "mm"])
def test_what_is_no_selection_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no selection"):
        parse(text)


@given(st.text())
def test_any_text_is_a_selection_or_refused_in_a_sentence(text: str) -> None:
    try:
        found = parse(text)
    except UsageError as error:
        assert error.hint
    else:
        assert parse(str(found)) == found


def test_a_pattern_names_variants_too() -> None:
    assert parse("not:addmm*").names(GEMS.functions) == ["addmm", "addmm_out"]


def test_a_name_that_flag_gems_does_not_know_is_refused() -> None:
    with pytest.raises(UnknownName, match="'sofmax'") as caught:
        parse("only:mm,sofmax").names(GEMS.functions)
    assert caught.value.hint == "did you mean softmax?"


# --- How a server is told -------------------------------------------------------------------------


def environment(which: str, has: Installed, engine: Any = "vllm", platform: str = "metax") -> Any:
    """What is set; what is emptied, because it may come from elsewhere, is left out."""
    found = switch(parse(which), has, engine=engine, platform=platform).environment
    return {name: value for name, value in found.items() if value}


def test_plain_vllm_is_switched_by_our_plug_in_alone() -> None:
    found = switch(parse("only:mm"), GEMS, engine="vllm", platform="cuda")
    assert (found.how, found.enable, found.names, found.allowed) == (
        "vllm",
        "only",
        ("mm",),
        ("mm",),
    )
    assert found.environment == {"USE_FLAGGEMS": "0", "GEMS_VENDOR": "nvidia"}


def test_flagscale_is_switched_by_its_variable() -> None:
    on = switch(parse("all"), GEMS, engine="flagscale", platform="metax")
    assert (on.how, on.enable, on.allowed) == ("flagscale", None, None)
    assert on.environment == {"USE_FLAGGEMS": "1", "GEMS_VENDOR": "metax"}
    off = switch(parse("off"), Installed(), engine="flagscale", platform="metax")
    assert (off.environment, off.allowed) == ({"USE_FLAGGEMS": "0"}, ())


def test_the_plugin_is_strict_and_told_both_of_its_layers() -> None:
    assert environment("only:mm,rms_norm", PLUGIN) == {
        "VLLM_PLUGINS": "fl",
        "USE_FLAGGEMS": "1",
        "VLLM_FL_PREFER_ENABLED": "true",
        "VLLM_FL_STRICT": "1",
        "GEMS_VENDOR": "metax",
        "VLLM_FL_FLAGOS_WHITELIST": "mm",
        "VLLM_FL_OOT_WHITELIST": "rms_norm",
    }


def test_an_empty_list_is_none_at_all_to_the_plugin() -> None:
    found = environment("only:rms_norm", PLUGIN)
    assert found["USE_FLAGGEMS"] == "0" and "VLLM_FL_FLAGOS_WHITELIST" not in found
    assert environment("only:mm", PLUGIN)["VLLM_FL_OOT_ENABLED"] == "0"


def test_the_plugins_own_list_is_kept_when_ours_replaces_it() -> None:
    assert environment("not:mm", PLUGIN)["VLLM_FL_FLAGOS_BLACKLIST"] == "exp,mm,tanh"
    assert environment("not:mm", PLUGIN, platform="cuda")["VLLM_FL_FLAGOS_BLACKLIST"] == "mm"
    found = switch(parse("not:mm"), PLUGIN, engine="vllm", platform="metax")
    assert found.allowed is not None and not {"mm", "exp", "tanh"} & set(found.allowed)


@pytest.mark.parametrize("which", ["off", "all", "only:mm", "not:mm"])
def test_lists_that_an_image_or_a_shell_brings_are_emptied(which: str) -> None:
    found = switch(parse(which), PLUGIN, engine="vllm", platform="cuda").environment
    brought = {"VLLM_FL_CONFIG", "VLLM_FL_PER_OP", "VLLM_FL_FLAGOS_BLACKLIST_APPEND"}
    assert {found[name] for name in brought} == {""}
    assert bool(found["VLLM_FL_FLAGOS_BLACKLIST"]) is (which == "not:mm")


def test_the_plugin_off_says_what_of_it_stays() -> None:
    found = switch(parse("off"), PLUGIN, engine="vllm", platform="metax")
    assert environment("off", PLUGIN) == {"USE_FLAGGEMS": "0", "VLLM_FL_PREFER_ENABLED": "false"}
    assert "its attention" in found.notes[0]


def test_what_flag_gems_calls_a_platform() -> None:
    assert [vendor(name) for name in ("cuda", "metax", "cpu", None)] == [
        "nvidia",
        "metax",
        None,
        None,
    ]


def test_names_are_not_checked_before_the_start_where_flag_gems_is_elsewhere() -> None:
    found = switch(parse("only:mm"), Installed(), engine="vllm", platform="metax", strict=False)
    assert found.names == ("mm",)


# --- What an interpreter has ----------------------------------------------------------------------


def test_operators_are_read_without_importing_flag_gems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = standin_packages.put_plugin_fl(standin_packages.put_packages(tmp_path))
    broken = packages / "flag_gems" / "ops" / "__init__.py"
    broken.write_text("raise RuntimeError('no device')")
    monkeypatch.setenv("PYTHONPATH", str(packages))
    found = installed.of(None)
    assert (found.version, found.functions) == ("5.0.2", GEMS.functions)
    assert dict(found.keys)["_softmax"] == "softmax"
    assert (found.plugin, found.plugin_left_out) == ("0.2.0", (("metax", ("exp", "tanh")),))


def test_flag_gems_of_early_2025_registers_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "flag_gems"
    package.mkdir()
    (package / "__init__.py").write_text(
        "def enable(lib=aten_lib):\n"
        '    lib.impl("_softmax", softmax, "CUDA")\n'
        '    lib.impl("abs", abs, "CUDA")\n    # lib.impl("mm", mm, "CUDA")\n'
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = installed.of(None)
    assert (found.version, found.functions) == ("unknown", frozenset({"softmax", "abs"}))


def test_an_interpreter_without_them_has_nothing() -> None:
    assert installed.of("/nowhere/python") == Installed()
    assert installed.parse("Traceback (most recent call last):\n") is None


# --- Inside a server ------------------------------------------------------------------------------


def run(packages: Path, program: str, asked: dict[str, Any] | None, records: Path) -> str:
    """A program as a process of vLLM that has loaded its plug-ins; what it printed."""
    environment = {k: v for k, v in os.environ.items() if k != _hook.VARIABLE}
    paths = [packages]
    if asked is not None:
        records.mkdir(exist_ok=True)
        folder.write_plugin(records / folder.PLUGIN)
        (records / "request.json").write_text(json.dumps(asked))
        environment[_hook.VARIABLE] = str(records / "request.json")
        paths.insert(0, records / folder.PLUGIN)
    environment["PYTHONPATH"] = os.pathsep.join(map(str, paths))
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


WORKER = """
import vllm, vllm.plugins
vllm.plugins.load_general_plugins()
wrapper = vllm.WorkerWrapperBase(); wrapper.init_worker(); wrapper.init_device()
import sys
library = sys.modules["flag_gems"].library if "flag_gems" in sys.modules else {}
"""


def events(records: Path) -> list[dict[str, Any]]:
    return list(folder.start_lines(records, 1))


def test_the_entry_point_of_the_package_is_inert(tmp_path: Path) -> None:
    """vLLM calls it in every process of every server beside which flagos-eval is installed."""
    packages = standin_packages.put_packages(tmp_path / "packages")
    program = (
        "import sys\nbefore = set(sys.modules)\n"
        "from flagos_eval.operators._hook import load\nload()\n"
        "import logging\n"
        "print(sorted(m for m in set(sys.modules) - before if m.startswith(('vllm', 'flag_gems', "
        "'pydantic', 'pandas', 'openai'))), logging.getLogger('flag_gems').handlers)"
    )
    assert run(packages, program, None, tmp_path / "records").strip() == "[] []"
    assert not (tmp_path / "records").exists()


def test_the_package_names_its_entry_point() -> None:
    from importlib.metadata import entry_points

    (found,) = entry_points(group="vllm.general_plugins", name=folder.ENTRY_POINT)
    assert found.load() is _hook.load


def test_the_package_and_the_copy_count_once(tmp_path: Path) -> None:
    packages = standin_packages.put_packages(tmp_path / "packages")
    program = (
        "from flagos_eval.operators._hook import load\nload()\n" + WORKER + "library['mm']()\n"
    )
    run(packages, program, {"enable": "all", "names": []}, tmp_path / "records")
    counted = [e for e in events(tmp_path / "records") if e["event"] == "count"]
    assert [(e["name"], e["count"]) for e in counted] == [("mm", 1)]
    assert sum(e["event"] == "worker" for e in events(tmp_path / "records")) == 1


def test_every_call_is_counted_and_the_last_are_in_their_order(tmp_path: Path) -> None:
    packages = standin_packages.put_packages(tmp_path / "packages")
    program = WORKER + (
        "for _ in range(1000):\n    library['mm']()\n    library['_softmax']()\n"
        "library['rsqrt'](); library['mm']()\nimport os; os.kill(os.getpid(), 9)"
    )
    run(packages, program, {"enable": "all", "names": []}, tmp_path / "records")
    found = {(e["name"], e["direct"]): e["count"] for e in events(tmp_path / "records")
             if e["event"] == "count"}  # fmt: skip
    assert found == {
        ("mm", True): 1001, ("softmax", True): 1000, ("exp", False): 1000, ("rsqrt", True): 1,
    }  # fmt: skip
    assert folder.last_operators(tmp_path / "records") == ["softmax", "exp", "rsqrt", "mm"]


def test_a_helper_that_logs_is_the_operator_around_it_and_counts_once(tmp_path: Path) -> None:
    """In FlagGems 5.0.2, ``general_mm`` logs for ``mm``; ``mean_dim`` and its helper both do."""
    packages = standin_packages.put_packages(tmp_path / "packages")
    program = WORKER + "for _ in range(5):\n    library['mm']()\n    library['mean.dim']()\n"
    run(packages, program, {"enable": "all", "names": []}, tmp_path / "records")
    counted = [(e["name"], e["direct"], e["count"]) for e in events(tmp_path / "records")
               if e["event"] == "count"]  # fmt: skip
    assert counted == [("mm", True, 5), ("mean_dim", True, 5)]


def test_flag_gems_own_record_still_names_each_operator_once(tmp_path: Path) -> None:
    """As FlagScale and vllm-plugin-FL switch it on, with a file of its own."""
    packages = standin_packages.put_packages(tmp_path / "packages")
    own = tmp_path / "own.txt"
    program = (
        f"import logging\nhandler = logging.FileHandler({str(own)!r})\n"
        "logging.getLogger('flag_gems').addHandler(handler)\n"
        + WORKER
        + "for _ in range(9):\n    library['rsqrt']()\n    library['_softmax']()\n"
    )
    run(packages, program, {"enable": "all", "names": []}, tmp_path / "records")
    assert own.read_text().split("\n") == ["GEMS RSQRT", "GEMS SOFTMAX", "GEMS EXP", ""]
    counted = [e["count"] for e in events(tmp_path / "records") if e["event"] == "count"]
    assert counted == [9, 9, 9]


def test_a_forked_worker_has_files_of_its_own(tmp_path: Path) -> None:
    packages = standin_packages.put_packages(tmp_path / "packages")
    program = WORKER + (
        "import os\nlibrary['mm']()\nchild = os.fork()\nlibrary['mm']()\n"
        "if child:\n    os.waitpid(child, 0)"
    )
    run(packages, program, {"enable": "all", "names": []}, tmp_path / "records")
    counted = [(e["process"], e["count"]) for e in events(tmp_path / "records")
               if e["event"] == "count"]  # fmt: skip
    assert sorted(count for _, count in counted) == [1, 2]
    assert len({process for process, _ in counted}) == 2


def test_vllm_before_0_8_is_switched_too(tmp_path: Path) -> None:
    packages = standin_packages.put_packages(tmp_path / "packages", old=True)
    run(
        packages,
        WORKER + "library['mm']()",
        {"enable": "only", "names": ["mm"]},
        tmp_path / "records",
    )
    found = events(tmp_path / "records")
    assert [e["registered"] for e in found if e["event"] == "switched"] == [["mm"]]
    assert [e["count"] for e in found if e["event"] == "count"] == [1]


def test_what_flag_gems_leaves_out_by_itself_stays_out(tmp_path: Path) -> None:
    packages = standin_packages.put_packages(tmp_path / "packages")
    run(packages, WORKER, {"enable": "not", "names": ["mm"]}, tmp_path / "records")
    (switched,) = [e for e in events(tmp_path / "records") if e["event"] == "switched"]
    assert not {"mm", "tanh"} & set(switched["registered"])
    assert len(switched["registered"]) == len(standin_packages.OPERATORS) - 2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"enable": "only", "names": ["mm", "mmm"]}, "FlagGems 5.0.2 has no mmm"),
        ({"enable": "not", "names": ["_softmax"]}, "FlagGems 5.0.2 has no _softmax"),
    ],
)
def test_a_worker_ends_rather_than_go_on_without_an_operator(
    asked: dict[str, Any], said: str, tmp_path: Path
) -> None:
    packages = standin_packages.put_packages(tmp_path / "packages")
    assert f"RuntimeError: flagos-eval operators: {said}" in run(
        packages, WORKER, asked, tmp_path / "records"
    )


def test_another_vllm_ends_rather_than_go_on_without_operators(tmp_path: Path) -> None:
    packages = standin_packages.put_packages(tmp_path / "packages")
    (packages / "vllm" / "v1" / "worker" / "worker_base.py").write_text("WorkerWrapperBases = None")
    (packages / "vllm" / "__init__.py").write_text("")
    said = run(
        packages, "import vllm.plugins; vllm.plugins.load_general_plugins()",
        {"enable": "all"}, tmp_path / "records",
    )  # fmt: skip
    assert "has no WorkerWrapperBase" in said


def test_a_vllm_whose_worker_process_loads_plug_ins_late_is_switched_too(tmp_path: Path) -> None:
    """Workers of vLLM 0.7 load them when they get their worker, inside of `init_worker`."""
    packages = standin_packages.put_packages(tmp_path / "packages", old=True)
    program = WORKER.replace("vllm.plugins.load_general_plugins()", "") + "library['mm']()"
    run(packages, program, {"enable": "only", "names": ["mm"]}, tmp_path / "records")
    assert [e["count"] for e in events(tmp_path / "records") if e["event"] == "count"] == [1]


def test_an_old_vllm_imports_no_worker_where_there_is_none(tmp_path: Path) -> None:
    """FlagScale's model runner, which it would import, switches FlagGems on as it is imported."""
    packages = standin_packages.put_packages(tmp_path / "packages", old=True)
    program = (
        "import vllm.plugins; vllm.plugins.load_general_plugins()\n"
        "import sys; print('vllm.worker.worker' in sys.modules)"
    )
    assert "False" in run(packages, program, {"enable": "all"}, tmp_path / "records")


@pytest.mark.parametrize(
    ("enable", "said"),
    [("not", "cannot switch single operators"), ("only", "cannot switch single operators")],
)
def test_flag_gems_that_knows_all_or_none_says_so(tmp_path: Path, enable: str, said: str) -> None:
    """That of early 2025: ``enable(lib)``."""
    packages = standin_packages.put_packages(tmp_path / "packages")
    (packages / "flag_gems" / "__init__.py").write_text("def enable(lib=None):\n    pass\n")
    (packages / "flag_gems" / "config.py").unlink()
    asked = {"enable": enable, "names": ["mm"]}
    assert said in run(packages, WORKER, asked, tmp_path / "records")


def test_an_operator_that_logs_in_its_forward_is_known_by_its_function(tmp_path: Path) -> None:
    """FlagGems of early 2025: ``class Softmax(torch.autograd.Function)``."""
    packages = standin_packages.put_packages(tmp_path / "packages")
    (packages / "flag_gems" / "ops" / "softmax.py").write_text(
        "import logging\nclass Softmax:\n    @staticmethod\n    def forward():\n"
        "        logging.debug('GEMS SOFTMAX')\n\ndef softmax():\n    Softmax.forward()\n"
    )
    with (packages / "flag_gems" / "__init__.py").open("a") as out:
        out.write("\ndel FULL_CONFIG_BY_FUNC\n")
    program = WORKER + "library['_softmax']()"
    run(packages, program, {"enable": "all"}, tmp_path / "records")
    counted = [e for e in events(tmp_path / "records") if e["event"] == "count"]
    assert [(e["name"], e["direct"]) for e in counted] == [("softmax", True)]


def test_operators_of_flag_gems_without_loggers_are_seen(tmp_path: Path) -> None:
    """Of early 2025, in the first release's image: ``logging.debug("GEMS MM")``."""
    packages = standin_packages.put_packages(tmp_path / "packages")
    (packages / "flag_gems" / "ops" / "mm.py").write_text(
        'import logging\ndef mm():\n    logging.debug("GEMS MM")\n'
    )
    run(
        packages,
        WORKER + "library['mm'](); library['mm']()",
        {"enable": "all"},
        tmp_path / "records",
    )
    counted = [e for e in events(tmp_path / "records") if e["event"] == "count"]
    assert [(e["module"], e["name"], e["count"]) for e in counted] == [
        ("flag_gems.ops.mm", "mm", 2)
    ]


@given(st.lists(st.sampled_from("abcdefgh"), max_size=300))
def test_counts_are_read_as_they_were_written(tmp_path_factory: Any, calls: list[str]) -> None:
    path = tmp_path_factory.mktemp("counts") / "1.counts"
    counts, slots = _hook.Counts(path), {}
    for name in calls:
        if name not in slots:
            slots[name] = counts.slot(json.dumps(["m", name, True]))
        counts.add(slots[name])
    found, last = folder.read_counts(path)
    assert {key[1]: n for key, n in found} == {name: calls.count(name) for name in set(calls)}
    recent = calls[-_hook.RECENT :]
    assert last == sorted(
        set(recent), key=lambda name: max(i for i, n in enumerate(recent) if n == name)
    )


def test_more_operators_than_there_is_room_for_are_still_written_down(tmp_path: Path) -> None:
    watch = _hook.Watch(tmp_path)
    for number in range(_hook.SLOTS + 3):
        watch.ran(("flag_gems.ops", f"op{number}", True))
    lines = (tmp_path / f"{os.getpid()}.jsonl").read_text().splitlines()
    assert len(lines) == _hook.SLOTS + 3


# --- What a run says of it ------------------------------------------------------------------------


def start(selection: str, *, allowed: list[str] | None, epochs: list[int], **more: Any) -> Any:
    request = {
        "workers": more.pop("workers", 1),
        "selection": selection, "how": "vllm", "enable": None, "names": [], "allowed": allowed,
        "version": "5.0.2", "functions": sorted(GEMS.functions),
    }  # fmt: skip
    return {"start": more.pop("number", 1), "event": "start", "request": request,
            "epochs": epochs, "fallbacks": [], **more}  # fmt: skip


def worker(process: int = 7, number: int = 1) -> dict[str, Any]:
    return {"start": number, "process": process, "event": "worker", "pid": process, "rank": 0}


def operator(name: str, process: int = 7, direct: bool = True, number: int = 1) -> dict[str, Any]:
    return {"start": number, "process": process, "event": "operator",
            "module": f"flag_gems.ops.{name}", "name": name, "direct": direct}  # fmt: skip


def test_one_silent_worker_of_several_is_a_problem() -> None:
    lines = [start("all", allowed=None, epochs=[0]), worker(7), worker(8), operator("mm", 7)]
    assert evidence.judge(lines).problems == ("1 of 2 workers dispatched nothing of FlagGems",)


def test_operators_of_one_stage_of_a_pipeline_are_enough() -> None:
    lines = [start("only:mm", allowed=["mm"], epochs=[0], workers=2), worker(7), worker(8),
             operator("mm", 7)]  # fmt: skip
    assert evidence.judge(lines).problems == ()


@pytest.mark.parametrize("selection", ["off", "all"])
def test_workers_of_which_nothing_is_known_are_a_problem(selection: str) -> None:
    allowed = [] if selection == "off" else None
    ran = [] if selection == "off" else [operator("mm")]
    lines = [start(selection, allowed=allowed, epochs=[0], workers=8), worker(), *ran]
    assert evidence.judge(lines).problems == ("only 1 of 8 workers wrote down their operators",)


def test_a_call_that_was_only_counted_is_a_call() -> None:
    count = {**operator("mm"), "event": "count", "count": 5}
    lines = [start("off", allowed=[], epochs=[0]), worker(), count]
    assert evidence.judge(lines).problems == ("FlagGems was off, and dispatched mm",)


def test_a_record_that_a_full_disk_cut_off_costs_the_verdict_and_not_the_answers(
    tmp_path: Path,
) -> None:
    (tmp_path / "request.json").write_text(
        json.dumps(start("all", allowed=None, epochs=[])["request"])
    )
    (tmp_path / "7.jsonl").write_text('{"event": "worker", "pid": 7}\n{"event": "oper')
    (tmp_path / "7.counts").write_bytes(b"")
    problems = evidence.of_folder(tmp_path).problems
    assert problems[:2] == ("the record 7.counts is damaged", "the record 7.jsonl is damaged")


def test_a_start_that_never_answered_decides_nothing() -> None:
    lines = [
        start("off", allowed=[], epochs=[]), worker(), operator("mm"),
        start("off", allowed=[], epochs=[0], number=2), worker(number=2),
    ]  # fmt: skip
    found = evidence.judge(lines)
    assert (found.problems, found.operators) == ((), ())


def test_every_start_that_answered_must_hold() -> None:
    lines = [
        start("off", allowed=[], epochs=[0]), worker(), operator("mm"),
        start("off", allowed=[], epochs=[1], number=2), worker(number=2),
    ]  # fmt: skip
    assert evidence.judge(lines).problems == ("FlagGems was off, and dispatched mm",)


def test_a_function_that_cannot_be_switched_breaks_no_request() -> None:
    """As a wrapper of vLLM's own operators, which is none of those that FlagGems registers."""
    lines = [start("only:mm", allowed=["mm"], epochs=[0]), worker(), operator("mm"),
             operator("silu_and_mul")]  # fmt: skip
    assert evidence.judge(lines).problems == ()


def test_a_server_that_was_only_watched_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text('{"enable": null}')
    (tmp_path / "7.jsonl").write_text(
        "\n".join(json.dumps({k: v for k, v in line.items() if k not in ("start", "process")})
                  for line in (worker(), operator("mm")))
    )  # fmt: skip
    found = evidence.of_folder(tmp_path)
    assert (found.requested, [op.name for op in found.operators], found.problems) == (
        "watched", ["mm"], (),
    )  # fmt: skip


@given(st.binary(max_size=200))
def test_a_file_that_is_no_evidence_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptFile):
        evidence.read(data, "x.operators.jsonl")


@pytest.mark.parametrize(
    "text",
    [
        '{"event": "start"}',
        '{"event": "start", "start": 1, "request": {"selection": "all"}}',
        "[]",
        '{"start": 1}',
        '{"event": "operator", "start": 1}',
    ],
)
def test_evidence_that_was_made_up_is_refused(text: str) -> None:
    with pytest.raises(CorruptFile):
        evidence.read(text.encode(), "x.operators.jsonl")


def test_the_log_of_a_start_that_was_killed_is_read_before_the_next_replaces_it(
    tmp_path: Path,
) -> None:
    """A fallback that it tells of would be forgotten otherwise."""
    told = switch(parse("all"), GEMS, engine="flagscale", platform="cuda")
    place = folder.make(tmp_path / "a.operators", parse("all"), told, GEMS)
    folder.served(place, [0], None)  # then it was killed
    log = tmp_path / "a.server.log"
    log.write_text("WARNING Failed to enable 'flag_gems': no vendor. Falling back\n")
    folder.close_last(tmp_path / "a.operators", log)
    (first, *_) = folder.lines(tmp_path / "a.operators")
    assert first["fallbacks"] == ["Failed to enable 'flag_gems': no vendor. Falling back"]


def test_folders_of_an_earlier_run_prove_nothing(tmp_path: Path) -> None:
    output = tmp_path / "a.json"
    folder.make(folder.root(output), parse("off"), switch(parse("off"), GEMS, engine="vllm",
                platform="cuda"), GEMS)  # fmt: skip
    folder.remove(folder.root(output))
    assert evidence.keep(output) is None


# --- Several servers ------------------------------------------------------------------------------


def dispatched(**fields: Any) -> Dispatch:
    return Dispatch(requested="only:mm,exp", how="vllm", workers=1, **fields)


def ran(name: str, count: int) -> Operator:
    return Operator(name=name, module="flag_gems.ops", direct=True, count=count)


def test_operators_of_several_servers_are_counted_together() -> None:
    one = dispatched(operators=(ran("mm", 3),), idle=("exp",), problems=("a worker is silent",))
    other = dispatched(operators=(ran("exp", 5), ran("mm", 1)))
    found = evidence.together([one, other])
    assert found is not None
    assert [(op.name, op.count) for op in found.operators] == [("exp", 5), ("mm", 4)]
    assert (found.workers, found.idle, found.problems) == (2, (), ("a worker is silent",))


def test_one_server_together_is_itself_and_none_is_nothing() -> None:
    one = dispatched(operators=(ran("mm", 3), ran("add", 1)), idle=("exp",))
    assert evidence.together([one]) == one
    assert evidence.together([]) is None

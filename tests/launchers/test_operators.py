"""FlagGems' operators, from ``--flag-gems`` to what a server says that it ran.

vLLM, FlagScale, docker, FlagGems and the worker are stand-ins (``standin_*.py``); the plug-in, its
way into the server and what it writes are the real ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import standin_packages

from flagos_eval.errors import ServerStartFailed, UnknownName, UsageError
from flagos_eval.launchers import flagscale
from flagos_eval.launchers.base import EngineSettings, LaunchRequest, ServerHandle
from flagos_eval.operators import evidence, folder
from flagos_eval.operators.selection import parse
from flagos_eval.platforms import named
from flagos_eval.records import Dispatch

from .conftest import IMAGE, Case, Machine

pytestmark = pytest.mark.once

ALL = {"index", "pow_tensor_scalar", "mean_dim", "add", "rsqrt", "mul", "mm", "addmm"}
"""What the stand-in engine calls; softmax calls exp, too."""


@pytest.fixture
def gems(case: Case, monkeypatch: pytest.MonkeyPatch) -> Case:
    """FlagGems and vLLM are importable where the server runs, in a container's image too."""
    packages = standin_packages.put_packages(case.machine.folder / "packages")
    profile = case.machine.folder / "docker" / "home" / ".profile"
    if profile.exists():
        monkeypatch.delenv("PYTHONPATH", raising=False)
        with profile.open("a") as out:
            out.write(f"export PYTHONPATH={packages} STANDIN_PACKAGES=1 STANDIN_ROOT={packages}\n")
    else:
        monkeypatch.setenv("PYTHONPATH", str(packages))
        monkeypatch.setenv("STANDIN_PACKAGES", "1")
        monkeypatch.setenv("STANDIN_ROOT", str(packages))
    return case


def dispatch(handle: ServerHandle) -> Dispatch:
    """What a run that this server answered would say."""
    assert handle.operators is not None
    folder.served(handle.operators, [0], handle.log)
    return evidence.judge(list(folder.lines(handle.operators.parent)))


def ran(found: Dispatch, *, direct: bool = True) -> set[str]:
    return {operator.name for operator in found.operators if operator.direct is direct}


plain = pytest.mark.parametrize("case", ["vllm", "docker"], indirect=True)
"""Plain vLLM, where our plug-in switches single operators."""
docked = pytest.mark.parametrize("case", ["docker", "docker-flagscale"], indirect=True)
in_flagscale = pytest.mark.parametrize("case", ["flagscale", "docker-flagscale"], indirect=True)
"""FlagScale's vLLM, which switches all of them or none."""


# --- What was asked for is what ran ---------------------------------------------------------------


def test_nothing_is_done_and_nothing_written_down_unasked(gems: Case) -> None:
    with gems.start() as handle:
        assert handle.operators is None
        assert "FLAGOS_EVAL_OPERATORS" not in gems.machine.calls[0]["env"]
    assert list(gems.machine.results.glob("*.operators*")) == []


def test_off_is_shown_by_a_worker_that_watched_and_saw_none(gems: Case) -> None:
    with gems.start(flag_gems=parse("off")) as handle:
        found = dispatch(handle)
    assert (found.requested, found.workers, found.operators) == ("off", 1, ())
    assert found.problems == ()


def test_all_are_those_that_the_engine_called(gems: Case) -> None:
    with gems.start(flag_gems=parse("all")) as handle:
        found = dispatch(handle)
    assert ran(found) == ALL | {"softmax"}
    assert ran(found, direct=False) == {"exp"}, "another operator called it, not the engine"
    assert (found.version, found.problems) == ("5.0.2", ())
    assert all(operator.module.startswith("flag_gems.ops.") for operator in found.operators)


@in_flagscale
@pytest.mark.parametrize("which", ["only:mm,softmax", "not:mm"])
def test_flagscale_switches_no_single_operators(gems: Case, which: str) -> None:
    with (
        pytest.raises(UsageError, match="all of FlagGems' operators or none"),
        gems.start(flag_gems=parse(which)),
    ):
        pass
    assert gems.machine.calls == []


@plain
def test_single_operators_are_switched_on(gems: Case) -> None:
    with gems.start(flag_gems=parse("only:mm,softmax,addmm*")) as handle:
        found = dispatch(handle)
    assert ran(found) == {"mm", "softmax", "addmm"}
    assert found.idle == ("addmm_out",), "the model has no use for it"
    assert (found.vendor, found.problems) == ("nvidia", ())


@plain
def test_single_operators_are_left_out(gems: Case) -> None:
    with gems.start(flag_gems=parse("not:mm,softmax")) as handle:
        found = dispatch(handle)
    assert ran(found) == ALL - {"mm"}
    assert found.problems == ()


@pytest.mark.parametrize("version", ["old", "new"])
def test_the_search_path_that_a_server_has_is_kept(
    gems: Case, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FlagScale's scripts set it anew: those of early 2025 drop what was there before, later ones
    set the variables of the configuration last."""
    monkeypatch.setenv("STANDIN_FLAGSCALE", version)
    profile = gems.machine.folder / "docker" / "home" / ".profile"
    if profile.exists():
        with profile.open("a") as out:
            out.write(f"export STANDIN_FLAGSCALE={version}\n")
    with gems.start(flag_gems=parse("all")) as handle:
        (call,) = gems.machine.calls
        plugin, *rest = call["env"]["PYTHONPATH"].split(os.pathsep)
        assert dispatch(handle).problems == ()
    assert plugin == str(handle.operators / folder.PLUGIN)
    assert str(gems.machine.folder / "packages") in rest


def test_plug_ins_that_are_chosen_by_name_include_ours(gems: Case) -> None:
    given = {"VLLM_PLUGINS": "somebody"}
    with gems.start(flag_gems=parse("all"), environment=given) as handle:
        assert gems.machine.calls[0]["env"]["VLLM_PLUGINS"] == "somebody,flagos_eval"
        assert dispatch(handle).problems == ()


@docked
def test_an_images_list_of_plug_ins_gets_ours(gems: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the host's, which chooses the image's platform, stays outside."""
    monkeypatch.setenv("VLLM_PLUGINS", "hosts")
    with (gems.machine.folder / "docker" / "home" / ".profile").open("a") as out:
        out.write("export VLLM_PLUGINS=metax\n")
    with gems.start(flag_gems=parse("all")) as handle:
        assert gems.machine.calls[0]["env"]["VLLM_PLUGINS"] == "metax,flagos_eval"
        assert dispatch(handle).problems == ()


# --- vllm-plugin-FL -------------------------------------------------------------------------------


@pytest.fixture
def plugin(gems: Case) -> Case:
    """The plug-in is installed beside FlagGems, with a list of its own for metax."""
    standin_packages.put_plugin_fl(gems.machine.folder / "packages")
    return gems


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("off", set()),
        ("all", ALL | {"softmax"}),
        ("only:mm,rsqrt", {"mm", "rsqrt"}),
        ("not:mm,softmax", ALL - {"mm"}),
    ],
)
def test_the_plugin_is_switched_by_its_own_variables(
    plugin: Case, which: str, expected: set[str]
) -> None:
    with plugin.start(flag_gems=parse(which), platform=named("metax")) as handle:
        found = dispatch(handle)
    assert (found.how, ran(found), found.problems) == ("plugin", expected, ())


def test_a_list_that_gets_lost_on_the_way_to_the_engine_is_found(plugin: Case) -> None:
    """FlagGems#4926: "dropped at EngineCore spawn"."""
    (said,) = problems(plugin, "not:mm", STANDIN_VLLM="lose-blacklist")
    assert said == "dispatched though not asked for: mm"


def test_a_list_from_a_shell_does_not_reach_the_plugin(
    plugin: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_FL_FLAGOS_BLACKLIST", "mm,add")
    with plugin.start(flag_gems=parse("all"), platform=named("metax")) as handle:
        assert {"mm", "add"} <= ran(dispatch(handle))


# --- What contradicts the request -----------------------------------------------------------------


def problems(case: Case, which: str, **environment: str) -> tuple[str, ...]:
    with case.start(flag_gems=parse(which), environment=environment) as handle:
        return dispatch(handle).problems


def test_operators_that_run_though_they_are_off(gems: Case) -> None:
    (said,) = problems(gems, "off", STANDIN_GEMS="leak")
    assert said.startswith("FlagGems was off, and dispatched add, addmm, exp")


def test_a_variable_that_does_not_reach_the_worker(gems: Case) -> None:
    (said,) = problems(gems, "all", STANDIN_VLLM="lose-operators")
    assert said.startswith("no worker of the server wrote down its operators")


@in_flagscale
def test_a_silent_fallback(gems: Case) -> None:
    first, second = problems(gems, "all", STANDIN_GEMS="fallback")
    assert "Failed to enable 'flag_gems'" in first
    assert second == "FlagGems was asked for (all), and dispatched nothing"


@plain
def test_an_operator_that_flag_gems_could_not_register(gems: Case) -> None:
    (said,) = problems(gems, "only:mm,rsqrt", STANDIN_GEMS_BROKEN="mm")
    assert said == "asked for and not registered by FlagGems: mm"


@plain
def test_more_than_was_asked_for(gems: Case) -> None:
    """Something else switched them on, too."""
    (said,) = problems(gems, "only:mm", STANDIN_GEMS="leak")
    assert said.startswith("dispatched though not asked for: add, addmm, index")
    assert "exp" not in said, "softmax called it"


@plain
def test_operators_that_the_model_never_uses(gems: Case) -> None:
    (said,) = problems(gems, "only:tanh")
    assert said == "FlagGems was asked for (only:tanh), and dispatched nothing"


def test_a_crash_names_the_operators_that_ran_last(gems: Case) -> None:
    """As FlagGems 5.0.2 with all its operators does on an H200, while vLLM measures memory."""
    with (
        pytest.raises(ServerStartFailed) as caught,
        gems.start(flag_gems=parse("all"), environment={"STANDIN_GEMS": "crash"}),
    ):
        pass
    said = caught.value.message
    assert "an illegal memory access" in said
    assert "index, pow_tensor_scalar, mean_dim, add, rsqrt, mul (errors of" in said
    single = gems.machine.results / "run.operators" / "1"
    assert caught.value.hint is not None
    assert ("not:mul" in caught.value.hint) is folder.is_single(single)
    assert (gems.machine.results / "run.server.log").exists()
    assert gems.machine.processes() == []


# --- What cannot be done is said before anything starts -------------------------------------------


def test_every_worker_that_was_asked_for_has_to_write(gems: Case) -> None:
    with gems.start(flag_gems=parse("off"), engine=EngineSettings(tensor_parallel=2)) as handle:
        (said,) = dispatch(handle).problems
    assert said == "only 1 of 2 workers wrote down their operators"


@plain
def test_an_unknown_name_is_refused(gems: Case) -> None:
    """FlagGems would ignore it."""
    with (
        pytest.raises(UnknownName, match="no operator 'rsqr'") as caught,
        gems.start(flag_gems=parse("only:rsqr")),
    ):
        pass
    assert caught.value.hint == "did you mean rsqrt?"
    with pytest.raises(UnknownName) as caught, gems.start(flag_gems=parse("not:_softmax")):
        pass
    assert caught.value.hint == "that is torch's name; FlagGems' function is softmax"
    assert gems.machine.calls == []


def test_flag_gems_that_is_not_there_is_refused(case: Case) -> None:
    with pytest.raises(UsageError, match="needs FlagGems"), case.start(flag_gems=parse("all")):
        pass
    assert case.machine.calls == []


def test_a_folder_that_no_search_path_can_hold_is_refused(gems: Case) -> None:
    with (
        pytest.raises(UsageError, match="has ':' in it"),
        gems.start(flag_gems=parse("all"), folder=gems.machine.folder / "a:b"),
    ):
        pass


def test_two_switches_are_refused(gems: Case) -> None:
    with (
        pytest.raises(UsageError, match="USE_FLAGGEMS"),
        gems.start(flag_gems=parse("off"), environment={"USE_FLAGGEMS": "1"}),
    ):
        pass


def test_a_later_start_has_a_folder_of_its_own(gems: Case) -> None:
    for number in ("1", "2"):
        with gems.start(flag_gems=parse("all")) as handle:
            assert handle.operators is not None and handle.operators.name == number


# --- Before anything is started -------------------------------------------------------------------


def test_a_plan_shows_the_variables_of_the_release_on_metax(flagscale: Machine) -> None:
    request = flagscale.request(flag_gems=parse("all"), platform=named("metax"))
    plan = flagscale_plan(request)
    assert '    USE_FLAGGEMS: "1"' in plan and '    GEMS_VENDOR: "metax"' in plan
    assert not list(flagscale.results.glob("*")), "nothing is written"


def flagscale_plan(request: LaunchRequest) -> str:
    return "\n".join(flagscale.LAUNCHER.plan(request).files.values())


def test_a_plan_of_a_container_hands_the_variables_over_and_mounts_the_records(
    docker: Machine,
) -> None:
    request = docker.request(
        flag_gems=parse("only:mm"), platform=named("metax"), image=IMAGE, inside="vllm"
    )
    plan = docker_plan(request)
    command = plan.commands[-1]
    records = str((docker.results / "run.operators" / "1").absolute())
    assert f"{records}:{records}" in command and f"{records}/plugin:{records}/plugin:ro" in command
    assert "FLAGOS_EVAL_OPERATORS" in command and "GEMS_VENDOR" in command
    assert plan.environment["GEMS_VENDOR"] == "metax"
    assert any("checked at the start" in note for note in plan.notes)


def docker_plan(request: LaunchRequest) -> Any:
    from flagos_eval.launchers.docker import LAUNCHER

    return LAUNCHER.plan(request)


def test_the_plugin_can_be_found_by_its_metadata(tmp_path: Path) -> None:
    from importlib.metadata import distributions

    folder.write_plugin(tmp_path)
    (found,) = distributions(path=[str(tmp_path)])
    (entry,) = found.entry_points
    assert (entry.group, entry.name) == ("vllm.general_plugins", "flagos_eval")

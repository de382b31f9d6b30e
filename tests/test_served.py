"""Which model and which machine answered is told and compared, and forbids nothing."""

from __future__ import annotations

from typing import Any

import pytest
from factories import epoch, run

from flagos_eval import served
from flagos_eval.records import (
    Check,
    Dispatch,
    Fact,
    Operator,
    Run,
    Weights,
    canonical_json,
    sha256_hex,
)


def fact(name: str, value: Any) -> Fact:
    return Fact(name=name, value=value, source="client", verified=True)


METAX = (
    fact("host:platform", "metax"),
    fact("host:devices", ["MetaX C550"] * 8),
    fact("host:driver", "3.8.30"),
    fact("host:sdk", "MACA 3.7.1.5"),
)
H100 = (fact("host:platform", "cuda"), fact("host:devices", ["NVIDIA H100", "NVIDIA H100"]))
FILES = {
    "config.json": "1" * 64,
    "tokenizer.json": "2" * 64,
    **{f"model-{i}.safetensors (sampled)": "3" * 64 for i in range(5)},
}


def files(**changed: str | None) -> Weights:
    """Weights with some files changed, or missing where the value is None."""
    given = {**FILES, **{k.replace("_", ".", 1): v for k, v in changed.items()}}
    kept = {name: value for name, value in given.items() if value is not None}
    return Weights(source="a/b", fingerprint=sha256_hex(canonical_json(kept)), files=kept)


def side(name: str = "one", launcher: str = "vllm", **fields: Any) -> Run:
    return run(["0"], name=name, id=name, epochs=(epoch(launcher=launcher),), **fields)


def check(name: str, baseline: Run, candidate: Run) -> Check | None:
    return next((c for c in served.checks(baseline, candidate) if c.name == name), None)


# --- What answers say of themselves ---------------------------------------------------------------


def test_answers_of_another_model_or_with_one_id_are_told() -> None:
    made = run(["0", "0", "0"])
    assert list(served.oddities(made)) == []
    odd = [
        r.model_copy(update={"server_model": "other", "server_id": "same"}) for r in made.responses
    ]
    said = list(served.oddities(made.model_copy(update={"responses": tuple(odd)})))
    assert said == [
        f"3 of 3 answers name another model than {made.model}: 'other'",
        "2 of 3 answers have the id of another answer",
    ]


# --- Weights --------------------------------------------------------------------------------------


def test_the_same_files_are_equal() -> None:
    found = check("weights", side(weights=files()), side("two", weights=files()))
    assert found is not None and (found.state, found.blocking) == ("equal", False)


def test_other_files_are_named_by_kind_and_do_not_forbid_the_comparison() -> None:
    """A port may serve quantised or converted weights."""
    changed = {name: "4" * 64 for name in FILES if name.startswith("model-")}
    other = Weights(source="c/d", fingerprint="5" * 64, files={**FILES, **changed})
    baseline, candidate = side(weights=files()), side("two", weights=other)
    found = check("weights", baseline, candidate)
    assert found is not None and (found.state, found.blocking) == ("differs", False)
    assert found.detail == "weights: 5 files"
    assert list(served.notes(baseline, candidate)) == [
        "the sides do not serve the same files: weights: 5 files"
    ]


def test_a_changed_tokenizer_is_told_apart_from_changed_weights() -> None:
    found = check(
        "weights", side(weights=files()), side("two", weights=files(tokenizer_json="9" * 64))
    )
    assert found is not None and found.detail == "tokenizer: tokenizer.json"


def test_a_file_that_one_side_lacks_differs() -> None:
    found = check("weights", side(weights=files()), side("two", weights=files(tokenizer_json=None)))
    assert found is not None and found.detail == "tokenizer: tokenizer.json"


def test_weights_that_one_side_knows_are_not_verified() -> None:
    found = check("weights", side(weights=files()), side("two"))
    assert found is not None and found.state == "not_verified"


def test_weights_that_nobody_knows_are_not_mentioned() -> None:
    assert check("weights", side(), side("two")) is None


# --- Hosts ----------------------------------------------------------------------------------------


def test_a_host_is_named_by_its_own_tools() -> None:
    assert served.host(side(facts=METAX)) == "metax, 8 x MetaX C550, driver 3.8.30, MACA 3.7.1.5"
    assert served.host(side(facts=H100)) == "cuda, 2 x NVIDIA H100"


def test_a_server_elsewhere_whose_host_nobody_knows_is_not_verified() -> None:
    baseline, candidate = side(facts=H100), side("two", launcher="external")
    found = check("host", baseline, candidate)
    assert found is not None and (found.state, found.blocking) == ("not_verified", False)
    assert (found.baseline, found.candidate) == ("cuda, 2 x NVIDIA H100", None)
    assert "run --facts" in str(found.detail)


@pytest.mark.parametrize("launcher", ["vllm", "external"])
def test_a_host_that_is_known_needs_no_word(launcher: str) -> None:
    known = side("two", launcher=launcher, facts=METAX)
    assert check("host", side(facts=METAX), known) is None


def test_two_hosts_are_both_named() -> None:
    (note,) = served.notes(side("cuda", facts=H100), side("metax", facts=METAX))
    assert note == (
        "hosts: cuda cuda, 2 x NVIDIA H100; metax metax, 8 x MetaX C550, driver 3.8.30, "
        "MACA 3.7.1.5"
    )


def test_a_candidate_that_ran_where_the_reference_did_is_called_out() -> None:
    (note,) = served.notes(side("cuda", facts=H100), side("metax", facts=H100))
    assert note == (
        "both sides say they ran on cuda, 2 x NVIDIA H100: by its own facts the candidate is no "
        "other chip"
    )


def test_a_run_whose_parts_ran_on_other_chips_is_called_out() -> None:
    """It was stopped, and resumed elsewhere."""
    notes = list(served.notes(side("a", facts=H100), side("b", facts=(*H100, *METAX))))
    assert notes[0] == "b was answered on several kinds of machine: cuda, metax"


def test_a_run_that_was_made_elsewhere_has_no_host_to_verify() -> None:
    assert check("host", run(["0"], epochs=()), side("two")) is None


# --- Operators ------------------------------------------------------------------------------------

MM = Operator(name="mm", module="flag_gems._metax.ops.mm", direct=True, count=26415)
EXP = Operator(name="exp", module="flag_gems.ops.exp", direct=False, count=3)
OFF = Dispatch(requested="off", how="vllm", version="5.0.2", workers=1)
ON = Dispatch(
    requested="only:mm,bmm",
    how="vllm",
    version="5.0.2",
    vendor="metax",
    workers=8,
    operators=(MM, EXP),
    idle=("bmm",),
)


def test_operators_differ_between_arms_and_forbid_nothing() -> None:
    found = check("operators", side(dispatch=OFF), side("two", dispatch=ON))
    assert found is not None and (found.state, found.blocking) == ("differs", False)
    assert (found.baseline, found.candidate) == ("off: none ran", "only:mm,bmm: 2 ran")


def test_a_side_that_did_not_write_them_down_is_not_verified() -> None:
    found = check("operators", side(), side("two", dispatch=ON))
    assert found is not None and found.state == "not_verified"
    assert check("operators", side(), side("two")) is None, "nobody asked"


def test_what_ran_is_told_by_name_for_each_side() -> None:
    assert list(served.notes(side("cuda", dispatch=OFF), side("metax", dispatch=ON))) == [
        "cuda: FlagGems 5.0.2, asked for off: no operator ran",
        "metax: FlagGems 5.0.2 (metax), asked for only:mm,bmm: 2 operators ran: mm, exp; never "
        "called: bmm",
    ]

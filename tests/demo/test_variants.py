"""Each variant and fault changes what it says it changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from demo.conftest import ask
from flagos_eval.demo.variants import BENIGN, FAULTS, REFERENCE, VARIANTS, find

pytestmark = pytest.mark.once

N = 120


def texts_changed(name: str, n: int = N) -> int:
    return sum(a != b for a, b in zip(ask(name, n).texts, ask("fp32", n).texts, strict=True))


def logprobs_moved(name: str, n: int = N) -> float:
    return float(
        np.max(np.abs(np.subtract(ask(name, n).first_logprobs, ask("fp32", n).first_logprobs)))
    )


def prompt_tokens(name: str) -> list[int]:
    return [len(job.conversation.ids) for job in ask(name, N).jobs]


def test_names_are_unique_and_every_fault_differs_from_the_reference():
    assert len(VARIANTS) == len(BENIGN) + len(FAULTS)
    assert REFERENCE.differs_in == {}
    assert all(fault.differs_in for fault in FAULTS)


@pytest.mark.parametrize("name", ["fp16", "int8"])
def test_a_benign_precision_moves_log_probabilities_and_hardly_an_answer(name):
    assert logprobs_moved(name) > 1e-6
    assert texts_changed(name) <= 0.05 * N


def test_int8_flips_some_answers():
    assert 0 < texts_changed("int8", 400) <= 20


def test_int4_moves_further_than_int8():
    assert logprobs_moved("int4") > 2 * logprobs_moved("int8")
    assert texts_changed("int4", 400) > 0


@pytest.mark.parametrize("name", ["batch-1", "batch-32", "threads-2"])
def test_batches_and_threads_change_rounding_at_most(name):
    assert logprobs_moved(name) < 1e-3
    assert texts_changed(name) <= 1


@pytest.mark.parametrize("name", ["norm", "head", "mean", "channels", "jpeg", "rope"])
def test_a_numerical_fault_changes_answers_and_not_the_questions(name):
    assert prompt_tokens(name) == prompt_tokens("fp32")
    assert logprobs_moved(name) > 0.01
    assert texts_changed(name, 400) > 0


def test_the_rope_fault_leaves_short_conversations_alone():
    late = replace(VARIANTS["rope"], name="late", rope_shift_after=10_000)
    assert ask(late, 24).completions == ask("fp32", 24).completions


def test_a_smaller_image_is_fewer_prompt_tokens():
    images = [len(job.conversation.pictures) for job in ask("fp32", N).jobs]
    fewer = np.subtract(prompt_tokens("fp32"), prompt_tokens("pixels"))
    assert fewer.tolist() == [12 * n for n in images]


def test_another_template_is_other_prompt_tokens():
    assert all(np.subtract(prompt_tokens("template"), prompt_tokens("fp32")) != 0)


def test_a_cut_answer_ends_by_length():
    assert all(len(c.ids) == 1 and c.finish_reason == "length" for c in ask("cut", N).completions)


def test_a_stale_cache_gives_some_answers_of_others_and_only_in_company():
    together = ask("stale", N, batch=8)
    assert (
        0 < sum(a != b for a, b in zip(together.texts, ask("fp32", N).texts, strict=True)) <= N / 8
    )
    assert ask("stale", 24, batch=1).texts == ask("fp32", 24, batch=1).texts


def test_a_hot_server_is_not_greedy():
    assert texts_changed("hot") > 0.05 * N


def test_benign_variants_can_be_joined() -> None:
    joined = find("int8+threads-2+batch-32")
    assert joined.differs_in == {"weights": "int8", "threads": 2, "max_batch": 32}


@pytest.mark.parametrize("name", ["int8+fp16", "int8+rope"])
def test_what_contradicts_or_is_a_fault_is_not_joined(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be joined"):
        find(name)


def test_a_part_that_does_not_exist_is_named() -> None:
    with pytest.raises(KeyError, match="int9"):
        find("fp16+int9")

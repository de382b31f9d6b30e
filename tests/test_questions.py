"""Requests are built when they are wanted, and are the same every time."""

from __future__ import annotations

from functools import cache

from factories import sample
from hypothesis import given
from hypothesis import strategies as st

from flagos_eval import plan, prompt, questions
from flagos_eval.config import RunConfig
from flagos_eval.questions import Requests
from flagos_eval.records import Request, Sampling
from flagos_eval.task import Prompt

PLAIN = Prompt("plain", 1, lambda sample: sample.input, "these tests")
SAMPLING = Sampling(seed=3, max_tokens=9)
LIMITS = {"max_pixels": 9}
SAMPLES = [sample(str(n)) for n in range(20)]


def made(repeats: int = 3) -> Requests:
    return questions.make(SAMPLES, PLAIN, SAMPLING, repeats, LIMITS)


def test_a_request_is_what_the_prompt_makes_of_the_item_with_its_hash() -> None:
    by_id = {one.id: one for one in SAMPLES}
    for request in made():
        assert request == prompt.request(
            by_id[request.sample_id],
            PLAIN,
            SAMPLING,
            repeat=request.repeat,
            mm_processor_kwargs=LIMITS,
        )
        assert request.hash == Request.hash_body(request.messages, request.sampling, LIMITS)


def test_keys_are_those_of_the_requests_in_their_order() -> None:
    assert list(made().each_key()) == [request.key for request in made()]


def test_every_item_is_in_every_pass_and_a_later_pass_has_its_own_order() -> None:
    ids = [request.sample_id for request in made(3)]
    passes = [ids[:20], ids[20:40], ids[40:]]
    assert passes[0] == [one.id for one in SAMPLES]
    assert all(sorted(one) == sorted(passes[0]) for one in passes)
    assert len({tuple(one) for one in passes}) == 3


@given(st.integers(-60, 59), st.slices(60))
def test_it_is_read_as_a_list_is(index: int, part: slice) -> None:
    found, listed = made(), list(made())
    assert (len(found), found[index], found[part]) == (60, listed[index], listed[part])


@cache
def two_tasks() -> plan.Plan:
    """Twice the same task, with 15 requests each."""
    asked = plan.make(RunConfig(tasks=("shapes",), limit=5, repeat=3))
    return plan.Plan(config=asked.config, tasks=(*asked.tasks, *asked.tasks))


def test_the_keys_of_a_plan_are_those_of_its_requests_in_their_order() -> None:
    both = two_tasks()
    assert list(both.each_key()) == [request.key for request in both.requests()]

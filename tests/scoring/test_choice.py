"""Reading a letter or a known word out of a text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagos_eval.scoring.choice import Vocabulary, choice_letter, fold, statements

NAMES_B = [
    "B",
    "b",
    "(B)",
    "(b)",
    "[B]",
    "B.",
    "B)",
    "B。",
    " \n B \n",
    "Ｂ",
    "（Ｂ）",
    "**B**",
    "`B`",
    "$B$",
    "B. red",
    "(B) red",
    "B) red",
    "B、红色",
    "B\n\nThe circle is red.",
    "B. red\nbecause the circle is red",
    "The circle is red.\nB",
    "Option B",
    "选项B",
    "Answer: B",
    "answer: b",
    "Answer:\nB",
    "**Answer:** B",
    "Answer: B red",
    "Answer: (B) red",
    "The answer is B",
    "The answer is b.",
    "The answer is **B. red**",
    "The correct answer is option B.",
    "The correct option is (B).",
    "The answer is B because the circle is red.",
    "I choose B.",
    "A. blue\nB. red\nC. green\nAnswer: B",
    "\\boxed{B}",
    "\\boxed{\\text{B}}",
    "So $\\boxed{\\mathrm{B}}$.",
    "<answer>B</answer>",
    "答案是B",
    "答案：B",
    "答案为（B）。",
    "正确答案是：B",
    "故选B。",
    "我选择B",
    "选 B",
    "Answer: B. The answer is B.",
]
NAMES_NONE = [
    "",
    " \n ",
    "?",
    "red",
    "FAILED after 5 retries",
    "Error code 500: Internal Server Error",
    "B or C",
    "B, C",
    "B、C",
    "BC",
    "BB",
    "(A) or (B)",
    "Answer: B or C",
    "Answer: B, C",
    "Answer: B/C",
    "Answer: AB",
    "答案是B和C",
    "选B或C",
    "B\nC",
    "B\n\nThe answer is C.",
    "Answer: B\nNo, wait. Answer: C",
    "B. red\nAnswer: C",
    "A. blue\nB. red\nC. green",
    "E",
    "Answer: E",
    "Z",
    "3",
    "\\boxed{3}",
    "\\boxed{}",
    "The answer is not B",
    "I would not choose B",
    "不选B",
    "A circle",
    "A red circle is shown.",
    "The answer is A circle.",
    "The answer is a circle.",
    "I think so",
    "In triangle ABC the angle B is 30 degrees.",
    "Plan B is a film.",
    "Vitamin C",
    "It's B's turn",
]


@pytest.mark.parametrize("text", NAMES_B)
def test_a_named_letter_is_read(text: str) -> None:
    assert choice_letter(text, 4) == "B"


@pytest.mark.parametrize("text", NAMES_NONE)
def test_nothing_is_guessed(text: str) -> None:
    assert choice_letter(text, 4) is None


@pytest.mark.parametrize("letter", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
def test_every_letter_is_treated_alike(letter: str) -> None:
    for form in ("{}", "{}.", "({})", "Answer: {}", "the answer is {}", "答案是{}", "{}. red"):
        text = form.format(letter)
        assert choice_letter(text, 26) == letter, text
        assert choice_letter(text, ord(letter) - ord("A")) is None, text
    assert choice_letter(letter.lower(), 26) == letter


def test_a_is_read_where_a_sentence_goes_on() -> None:
    assert choice_letter("The answer is A because the circle is red.", 4) == "A"
    assert choice_letter("The answer is A, a red circle.", 4) == "A"


@given(st.text(), st.integers(1, 26))
def test_any_text_is_read_without_an_error(text: str, n: int) -> None:
    letter = choice_letter(text, n)
    assert letter is None or ord(letter) - ord("A") < n


@given(
    st.lists(
        st.sampled_from(
            ["A", "B", "E", " ", "\n", ".", "(", ")", "answer is", "答案是", "选", "or", "{"]
        )
    ).map("".join)
)
def test_a_letter_comes_from_the_text(text: str) -> None:
    letter = choice_letter(text, 4)
    assert letter is None or letter in text.upper()


@pytest.mark.parametrize(
    "text", ["answer: " + " " * 20000, "\\boxed{" + " " * 20000, "." * 20000 + "x", "选" * 20000]
)
def test_long_texts_are_read_at_once(text: str) -> None:
    start = time.perf_counter()
    choice_letter(text, 4)
    fold(text)
    statements(text)
    assert time.perf_counter() - start < 2


SIZES = Vocabulary(
    {"": "largely", "large": "large|big|大", "small": "small|not big|小", "2": "two|二"},
    number="[0-9]+",
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("large", "large"),
        ("LARGE.", "large"),
        ("It is big, I think.", "large"),
        ("ｌａｒｇｅ", "large"),
        ("**large**", "large"),
        ("large\nnot small at all", "large"),
        ("large and big", "large"),
        ("bigs", "large"),
        ("bigger", None),
        ("It is small or it is large.\nThe answer is small.", "small"),
        ("答案是大的", "large"),
        ("Answer:\nsmall", "small"),
        ("it is not big", "small"),
        ("it is not large", None),
        ("it isn't large", None),
        ("I cannot say: large", None),
        ("不大", None),
        ("large or small", None),
        ("The answer is large. The answer is small.", None),
        ("Hm.\nlarge", None),
        ("largely small", "small"),
        ("largely", None),
        ("two", "2"),
        ("2", "2"),
        ("17", "17"),
        ("2 or 3", None),
        ("2.5", None),
        ("", None),
        ("answer:", None),
        ("FAILED", None),
    ],
)
def test_one_word_of_a_vocabulary_is_an_answer(text: str, answer: str | None) -> None:
    assert SIZES.read(text) == answer


def test_a_whole_text_is_a_word_or_not() -> None:
    assert SIZES.whole(" Big. ") == "large"
    assert SIZES.whole("二") == "2"
    assert SIZES.whole("a big one") is None
    assert SIZES.whole("largely") is None
    assert SIZES.whole("") is None


def test_fold_keeps_what_is_inside() -> None:
    assert fold(" **“The Red-circle.”** ") == "the red-circle"
    assert fold("...") == ""


@given(st.text())
def test_any_text_is_read_by_a_vocabulary(text: str) -> None:
    SIZES.read(text)
    SIZES.whole(text)

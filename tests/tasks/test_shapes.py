"""The drawn benchmark: the same bytes everywhere, and pictures that are what is said of them."""

from __future__ import annotations

import colorsys
import hashlib
import io
import json
import re
import sys
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flagos_eval import pixels
from flagos_eval.catalog import load_task
from flagos_eval.dataset import Source, load
from flagos_eval.records import ImagePart, TextPart

TASK = load_task(str(Path(__file__).parents[2] / "tasks" / "shapes.py"))
shapes = sys.modules["flagos_eval.tasks.shapes"]
ROWS: list[dict[str, Any]] = list(TASK.dataset.rows("test"))
ITEMS = load(TASK, Source())
SAMPLES = ITEMS.samples
SCORE = TASK.scorers[0].score
BUILD = TASK.prompts[0].build
SHARES = {
    **dict.fromkeys(("count", "colour", "digits", "position", "colour_mc", "count_mc"), 40),
    **dict.fromkeys(("same", "more"), 40),
    **dict.fromkeys(("shape", "colour_zh", "count_zh", "shape_mc_zh"), 20),
}
SHA256 = "c74eb312a07c6f044a38c6650a9e5bbd32e2652c61d30691ad1d0917f98faac2"
"""Over questions, options, answers and image bytes. A change of it is another benchmark: raise the
task's version, which also draws other items."""


def images(row: dict[str, Any]) -> list[bytes]:
    return [row[name] for name in ("image_1", "image_2") if row[name] is not None]


def rows_of(kind: str) -> list[dict[str, Any]]:
    return [row for row in ROWS if row["kind"].split("_")[0] == kind]


# --- Bytes ----------------------------------------------------------------------------------------


def test_every_byte_is_pinned() -> None:
    digest = hashlib.sha256()
    for row in ROWS:
        texts = {name: value for name, value in row.items() if not name.startswith("image")}
        digest.update(json.dumps(texts, sort_keys=True, ensure_ascii=False).encode())
        for data in images(row):
            digest.update(data)
    assert digest.hexdigest() == SHA256


def test_items_are_drawn_quickly_and_alike() -> None:
    start = time.perf_counter()
    assert list(TASK.dataset.rows("test")) == ROWS
    assert time.perf_counter() - start < 3


def test_an_item_does_not_depend_on_others() -> None:
    assert shapes.item("x", 1234) == shapes.item("x", 1234)
    shapes.item("x", 0)
    assert shapes.item("x", 1234) == shapes.item("x", 1234)


def test_images_are_small_pngs() -> None:
    for row in ROWS:
        for data in images(row):
            assert len(data) < 7000
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                assert (image.format, image.mode, image.size) == ("PNG", "P", (112, 112))
                assert "transparency" not in image.info


def test_no_other_stream_has_an_item_of_the_test_split() -> None:
    held = {data for row in ROWS for data in images(row)}
    for seed in ("", "test", "train", "split test", "0"):
        for index in range(100):
            other = shapes.item(seed, index)
            assert other["kind"] == ROWS[index]["kind"]
            assert held.isdisjoint(images(other))
    assert shapes.item("a", 7)["image_1"] != shapes.item("b", 7)["image_1"]


# --- Balance --------------------------------------------------------------------------------------


def test_every_kind_has_its_share() -> None:
    assert Counter(row["kind"] for row in ROWS) == SHARES
    assert len({row["id"] for row in ROWS}) == len(ROWS) == 400


def test_no_letter_is_better_than_chance() -> None:
    asked = [row for row in ROWS if row["choices"]]
    letters = Counter(row["answer"] for row in asked)
    chance = sum(1 / len(row["choices"]) for row in asked)
    assert max(letters.values()) <= chance + 0.5
    for n in (3, 4, 5):
        of_n = Counter(row["answer"] for row in asked if len(row["choices"]) == n)
        assert len(of_n) == n
        assert len(set(of_n.values())) == 1


@pytest.mark.parametrize("kind", ["colour_mc", "count_mc", "shape_mc_zh"])
def test_a_kinds_letters_are_balanced_in_the_long_run(kind: str) -> None:
    places = [slot for slot, name in enumerate(shapes.CYCLE) if name == kind]
    drawn = [shapes.item("long", 20 * lap + slot) for lap in range(60) for slot in places]
    for n in (3, 4, 5):
        of_n = Counter(row["answer"] for row in drawn if len(row["choices"]) == n)
        assert max(of_n.values(), default=0) - min(of_n.values(), default=0) <= 2


@pytest.mark.parametrize("kind", ["count", "colour", "position", "same", "more", "shape"])
def test_open_answers_are_balanced(kind: str) -> None:
    answers = Counter(row["answer"] for row in ROWS if row["kind"] == kind)
    assert max(answers.values()) - min(answers.values()) <= 1


def test_options_are_different_and_hold_the_answer() -> None:
    for row in ROWS:
        if row["choices"]:
            assert 3 <= len(row["choices"]) <= 5
            assert len(set(row["choices"])) == len(row["choices"])
            assert 0 <= ord(row["answer"]) - ord("A") < len(row["choices"])


# --- Pictures: read back from their pixels --------------------------------------------------------


class Seen(NamedTuple):
    """A thing found in a picture."""

    shape: str
    colour: str
    x: float
    y: float


Pixels = frozenset[tuple[int, int]]


@cache
def drawn(name: str, size: int) -> Pixels:
    """A shape, or a digit, as pixels around their middle."""
    canvas = pixels.Canvas(112)
    if name.isdigit():
        canvas.digit(name, 0, 0, size, 1)
    else:
        canvas.shape(name, 0, 0, size, 1)
    return centred({(x, y) for y in range(112) for x in range(112) if canvas._pixels[y * 112 + x]})


def centre(found: set[tuple[int, int]]) -> tuple[float, float]:
    return sum(x for x, _ in found) / len(found), sum(y for _, y in found) / len(found)


def centred(found: set[tuple[int, int]]) -> Pixels:
    left, top = (round(middle) for middle in centre(found))
    return frozenset((x - left, y - top) for x, y in found)


def blobs(data: bytes) -> list[tuple[str, set[tuple[int, int]]]]:
    """Connected areas of a thing's colour that are larger than any dot."""
    with Image.open(io.BytesIO(data)) as image:
        rgb = image.convert("RGB").tobytes()
    names = {bytes(colour): name for name, colour in pixels.COLOURS.items()}
    left = {}
    for place in range(112 * 112):
        name = names.get(rgb[3 * place : 3 * place + 3])
        if name:
            left[place % 112, place // 112] = name
    found = []
    while left:
        start, colour = left.popitem()
        blob, edge = {start}, [start]
        while edge:
            x, y = edge.pop()
            for near in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
                if left.get(near) == colour:
                    del left[near]
                    blob.add(near)
                    edge.append(near)
        if len(blob) > 90:
            found.append((colour, blob))
    return found


def nearest(blob: set[tuple[int, int]], names: Any, sizes: range) -> str:
    """The name whose drawing covers the blob best; dust and dots make it less than perfect."""
    here = centred(blob)
    scores = {
        (len(moved & there) / len(moved | there), name)
        for x, y in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
        for moved in [{(a + x, b + y) for a, b in here}]
        for name in names
        for size in sizes
        for there in [drawn(name, size)]
        if 0.8 < len(here) / len(there) < 1.2
    }
    best, name = max(scores)
    assert best > 0.7
    return name


def things(data: bytes, sizes: range = range(23, 32, 2)) -> list[Seen]:
    return [
        Seen(nearest(blob, shapes.SHAPES, sizes), colour, *centre(blob))
        for colour, blob in blobs(data)
    ]


def answer_of(row: dict[str, Any]) -> str:
    """The answer in English, whatever the form of the question."""
    answer = row["choices"][ord(row["answer"]) - ord("A")] if row["choices"] else row["answer"]
    english = {zh: name for names in (shapes.COLOURS, shapes.SHAPES) for name, zh in names.items()}
    return str(english.get(answer, answer))


def asked_of(row: dict[str, Any], names: dict[str, str]) -> list[str]:
    """The names in a question, in their order."""
    words = {word: name for name, zh in names.items() for word in (name, zh)}
    return [words[match] for match in re.findall("|".join(words), row["question"])]


def test_counts_are_right() -> None:
    for row in rows_of("count"):
        (shape,) = asked_of(row, shapes.SHAPES)
        seen = things(row["image_1"])
        assert str(sum(thing.shape == shape for thing in seen)) == answer_of(row), row["id"]
        assert any(thing.shape != shape for thing in seen), row["id"]


def test_colours_are_right_and_the_shape_is_there_once() -> None:
    for row in rows_of("colour"):
        (shape,) = asked_of(row, shapes.SHAPES)
        colours = [thing.colour for thing in things(row["image_1"]) if thing.shape == shape]
        assert colours == [answer_of(row)], row["id"]


def test_shapes_are_right_and_the_colour_is_there_once() -> None:
    for row in rows_of("shape"):
        (colour,) = asked_of(row, shapes.COLOURS)
        found = [thing.shape for thing in things(row["image_1"]) if thing.colour == colour]
        assert found == [answer_of(row)], row["id"]


def test_positions_are_right_by_far() -> None:
    for row in rows_of("position"):
        seen = things(row["image_1"])
        one, other = (
            next(thing for thing in seen if thing.shape == shape)
            for shape in asked_of(row, shapes.SHAPES)
        )
        x, y = one.x - other.x, one.y - other.y
        sideways = "left" if x < 0 else "right"
        upright = "above" if y < 0 else "below"
        assert row["answer"] == (sideways if abs(x) > abs(y) else upright), row["id"]
        assert max(abs(x), abs(y)) > 24 > 14 > min(abs(x), abs(y)), row["id"]


def test_digits_are_right() -> None:
    for row in rows_of("digits"):
        found = sorted(blobs(row["image_1"]), key=lambda blob: centre(blob[1]))
        assert len({colour for colour, _ in found}) == 1
        read = "".join(nearest(blob, "0123456789", range(4, 7)) for _, blob in found)
        assert read == row["answer"], row["id"]


def test_pairs_are_right() -> None:
    for row in rows_of("same"):
        first, second = (things(data, range(44, 70, 4)) for data in images(row))
        assert len(first) == len(second) == 1
        asked = "colour" if "colour" in row["question"] else "shape"
        is_same = getattr(first[0], asked) == getattr(second[0], asked)
        assert row["answer"] == ("same" if is_same else "different"), row["id"]
    for row in rows_of("more"):
        (shape,) = asked_of(row, shapes.SHAPES)
        first, second = (
            sum(thing.shape == shape for thing in things(data)) for data in images(row)
        )
        assert abs(first - second) >= 2
        assert row["answer"] == ("first" if first > second else "second"), row["id"]


def test_colours_have_the_hue_of_their_name() -> None:
    hues = {"red": 0, "orange": 32, "yellow": 52, "green": 134, "blue": 225, "purple": 280}
    hues |= {"pink": 330, "brown": 25}
    assert list(pixels.COLOURS) == list(shapes.COLOURS)
    for name, rgb in pixels.COLOURS.items():
        hue = 360 * colorsys.rgb_to_hsv(*(part / 255 for part in rgb))[0]
        assert min(abs(hue - hues[name]), 360 - abs(hue - hues[name])) < 8, name
        for other, its in pixels.COLOURS.items():
            assert other == name or sum(abs(a - b) for a, b in zip(rgb, its, strict=True)) > 75


# --- Drawing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [2, 112, 400])
def test_a_png_of_any_size_is_read_back(side: int) -> None:
    canvas = pixels.Canvas(side)
    canvas.box(side // 2, -5, side, side + 5, 3)
    palette = [(i, 2 * i, 3 * i) for i in range(16)]
    with Image.open(io.BytesIO(canvas.png(palette))) as image:
        image.load()
        rgb = image.convert("RGB")
    assert rgb.size == (side, side)
    assert rgb.getpixel((0, 0)) == palette[0]
    assert rgb.getpixel((side - 1, 0)) == palette[3]


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        pixels.Canvas(5)
    with pytest.raises(ValueError, match="hexagon"):
        pixels.Canvas(112).shape("hexagon", 0, 0, 23, 1)


def test_draws_are_even() -> None:
    draws = pixels.Draws("even", 1)
    counts = Counter(draws.below(6) for _ in range(6000))
    assert sorted(counts) == list(range(6))
    assert all(850 < n < 1150 for n in counts.values())
    assert sorted(draws.some(range(9), 9)) == list(range(9))
    assert pixels.Draws("a", 1).below(2**60) != pixels.Draws("a", 2).below(2**60)


# --- Prompts --------------------------------------------------------------------------------------


def of_kind(kind: str) -> Any:
    return next(sample for sample in SAMPLES if sample.group == kind)


def test_an_open_question_comes_after_its_picture() -> None:
    image, text = BUILD(of_kind("count"))
    assert isinstance(image, ImagePart)
    assert text.text.endswith("\nAnswer the question using a single word or phrase.")


def test_options_are_listed() -> None:
    sample = of_kind("colour_mc")
    _, text = BUILD(sample)
    question, *options, post = text.text.split("\n")
    assert question == sample.input[1].text
    assert options == [f"{'ABCDE'[i]}. {name}" for i, name in enumerate(sample.choices)]
    assert post == "Answer with the option's letter from the given choices directly."


def test_chinese_questions_are_asked_in_chinese() -> None:
    assert BUILD(of_kind("count_zh"))[1].text.endswith("\n请认真读题并回答。")
    choice = BUILD(of_kind("shape_mc_zh"))[1].text
    assert choice.endswith("\n从给定的选项中直接选择答案的字母，不要多余的解释。")


@pytest.mark.parametrize("kind", ["same", "more"])
def test_two_pictures_stand_in_their_places(kind: str) -> None:
    first, one, second, two, question = BUILD(of_kind(kind))
    assert (first.text, second.text) == ("First picture:", "Second picture:")
    assert isinstance(one, ImagePart)
    assert isinstance(two, ImagePart)
    assert one != two
    assert "<image" not in question.text


def test_samples_name_their_images() -> None:
    assert len(SAMPLES) == 400
    assert not ITEMS.preview
    for sample, row in zip(SAMPLES, ROWS, strict=True):
        assert [ITEMS.bank.read(image) for image in sample.images] == images(row)
        assert {image.media_type for image in sample.images} == {"image/png"}
        assert all(isinstance(part, TextPart) or part.width == 112 for part in sample.input)


# --- Scores ---------------------------------------------------------------------------------------

WORDS = {
    "count": [str(n) for n in range(8)],
    "digits": ["10", "99", "123", "4567"],
    "colour": list(shapes.COLOURS),
    "shape": list(shapes.SHAPES),
    "position": list(shapes.DIRECTIONS),
    "same": ["same", "different"],
    "more": ["first", "second"],
}


def test_the_right_answer_scores_and_every_other_does_not() -> None:
    for sample, row in zip(SAMPLES, ROWS, strict=True):
        words = "ABCDE"[: len(sample.choices)] or WORDS[row["kind"].split("_")[0]]
        right = row["answer"] if sample.choices else answer_of(row)
        assert SCORE(sample, sample.target[0]).value == 1
        for word in {*words, right}:
            judgement = SCORE(sample, word)
            assert judgement.answer == word, (row["id"], word)
            assert judgement.value == (word == right), (row["id"], word)


def test_an_options_text_stands_for_its_letter() -> None:
    for sample, row in zip(SAMPLES, ROWS, strict=True):
        for i, choice in enumerate(sample.choices):
            for text in (choice, f" {choice}. ", f"The answer is {choice}.", f"答案是{choice}"):
                assert SCORE(sample, text).answer == "ABCDE"[i], (row["id"], text)
        if sample.choices:
            assert SCORE(sample, f"maybe {sample.choices[0]}").answer is None
            assert SCORE(sample, "A or B").answer is None
            assert (
                SCORE(sample, f"B\n\nAnswer: {'C' if len(sample.choices) > 2 else 'A'}").answer
                is None
            )


@pytest.mark.parametrize(
    ("kind", "text", "answer"),
    [
        ("count", "three", "3"),
        ("count", "There are Three circles.", "3"),
        ("count", "三", "3"),
        ("count", "３", "3"),
        ("count_zh", "图中一共有三个五角星。", "3"),
        ("count_zh", "有两个三角形", "2"),
        ("count", "3 circles and 2 squares", None),
        ("count", "a few", None),
        ("digits", "The number is 472.", "472"),
        ("digits", "4 7 2", "472"),
        ("digits", "4,720", "4720"),
        ("digits", "12 and 34", None),
        ("digits", "seven", None),
        ("colour", "The circle is red.", "red"),
        ("colour", "It is Red!", "red"),
        ("colour", "The answer is:\n**purple**", "purple"),
        ("colour", "violet", "purple"),
        ("colour", "red and blue", None),
        ("colour", "not red", None),
        ("colour", "bored", None),
        ("colour_zh", "红色", "red"),
        ("colour_zh", "它是粉红色的。", "pink"),
        ("colour_zh", "答案是：橙", "orange"),
        ("colour_zh", "红色或蓝色", None),
        ("shape", "It's a rhombus", "diamond"),
        ("shape", "circles", "circle"),
        ("shape", "正方形", "square"),
        ("shape", "a round one", None),
        ("position", "To the left.", "left"),
        ("position", "The star is above the cross.", "above"),
        ("position", "above and to the left", None),
        ("same", "They are the same.", "same"),
        ("same", "They are not the same.", "different"),
        ("same", "Yes", None),
        ("more", "The first picture", "first"),
        ("more", "The first has more than the second", None),
        ("more", "both", None),
    ],
)
def test_answers_are_read_and_never_guessed(kind: str, text: str, answer: str | None) -> None:
    judgement = SCORE(of_kind(kind), text)
    assert judgement.answer == answer
    assert answer is not None or judgement.value == 0


@pytest.mark.parametrize("text", ["", " ", "\n", "FAILED", "?!", "<|im_end|>", "None"])
def test_nothing_is_read_out_of_nothing(text: str) -> None:
    for kind in SHARES:
        judgement = SCORE(of_kind(kind), text)
        assert (judgement.answer, judgement.value) == (None, 0), kind


def test_a_failure_text_names_no_letter() -> None:
    for sample in SAMPLES:
        if sample.choices:
            assert SCORE(sample, "FAILED after 5 retries").answer is None


@given(st.text(), st.sampled_from(sorted(SHARES)))
def test_any_text_can_be_scored(text: str, kind: str) -> None:
    judgement = SCORE(of_kind(kind), text)
    assert judgement.value in (0, 1)
    assert judgement.answer is not None or judgement.value == 0

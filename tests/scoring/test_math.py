"""What a piece of LaTeX is worth, and when two answers are equal: known answers, and any text."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flagos_eval.scoring.math import (
    MAX_DEPTH,
    MAX_FACTORIAL,
    MAX_ITEMS,
    MAX_TOKENS,
    equal,
    evaluate,
)

# Recorded from latex2sympy2 1.9.1 with sympy 1.14 and Python's eval, rounded to two decimals.
VALUES = {
    "5": 5,
    "+5": 5,
    "--5": 5,
    "5--3": 8,
    "5*-3": -15,
    r"5\times-3": -15,
    "5 6": 30,
    "(3)(4)": 12,
    "2(3+4)": 14,
    "2.0": 2,
    ".25": 0.25,
    "1,000": 1000,
    "1,0000": 0,
    "(1,234)": 1234,
    "1.5.2": 0.3,
    "7/3": 2.33,
    "1:2": 0.5,
    "1:2:3": 0.17,
    r"6\div4": 1.5,
    r"{1\over 2}": 0.5,
    r"1/2\pi": 0.16,
    r"\frac{1}{2\pi}": 0.16,
    r"6\frac{1}{2}": 3,
    r"\dfrac{3}{4}": 0.75,
    r"\tfrac{3}{4}": 0.75,
    r"5\%": 0.05,
    r"$5 \sqrt{3}$": 8.66,
    r"\sqrt{2}\sqrt{3}": 2.45,
    r"\sqrt[3]{8}": 2,
    r"\left(5\right)": 5,
    r"\{5\}": 5,
    "[5]": 5,
    "{5}": 5,
    r"\lfloor 2.5 \rfloor": 2,
    "2^3": 8,
    "2^3^2": 64,
    "2^{3}_{2}": 8,
    "2^{-1}": 0.5,
    r"2^\pi": 8.82,
    r"2^{\frac{1}{2}}": 1.41,
    "4^{0.5}": 2,
    "0^0": 1,
    "-2^2": -4,
    "(-2)^2": 4,
    r"\pi": 3.14,
    r"\pi^2": 9.87,
    r"\pi\frac{1}{2}": 1.57,
    "e^2": 7.39,
    "2e^2": 14.78,
    r"3\cdote^2": 22.17,
    r"e^{\frac{1}{2}}": 1.65,
    r"\exp(2)": 7.39,
    "5!": 120,
    "3!!": 720,
    "2^3!": 40320,
    r"\binom{5}{2}": 10,
    r"\sin 2 \times 3": -0.28,
    r"\sin(2) 3": 2.73,
    r"\sin^2(2)": 0.83,
    r"\sin^{-1}(0.5)": 0.52,
    r"\arccos\frac{5}{6}": 0.59,
    r"\arctan(1)": 0.79,
    r"\tan 1": 1.56,
    r"\sinh 1": 1.18,
    r"\arcsinh 1": 0.88,
    r"\arsinh 1": 0.88,
    r"\cos 2\sqrt{3}": -0.72,
    r"\log 8": 0.9,
    r"\log_2 8": 3,
    r"\log_{2}{8}": 3,
    r"\log(100)^2": 4,
    r"\log^{2}100": 4,
    # Parsing stops at a token that does not go on with the expression.
    "5.": 5,
    "5.thus": 5,
    "5.°": 5,
    "1.first,x": 1,
    "5)": 5,
    "5]": 5,
    r"5\}": 5,
    "5'": 5,
    "5_2": 5,
    "5&": 5,
    "5\\\\": 5,
    "3!^2": 6,
    r"625\rightarrow626": 625,
    r"5\choose2": 5,
    "7 triangles": 7,
    "4rows": 4,
}
NO_VALUE = [
    *(
        "",
        " ",
        "x",
        "5x",
        "12cm",
        "e",
        "2e",
        "7 squares",
        r"5\text{cm}",
        r"\alpha",
        r"\infty",
        "five",
    ),
    *("5,", "5,6", "5;6", "(1,2)", "[1,2]", "5%", "5°", "5|3|", "|3|", "x=5", "5=5", "3<4", "5!=5"),
    *("(5", "5(", "5+", "5^", "2^-1", "2^(3)", "(5]", "2(3.", "--", "()", "{}", "\\", "$", "."),
    *(r"\frac12", r"\frac{\pi}7", r"\sqrt 2", r"5 \%", r"120^{\circ}", "5-\u22123", "٣", "５", "½"),
    *(r"\ln 2", r"\sec(1)", r"\lceil 2.5 \rceil", r"\gcd(4,6)", r"\operatorname{floor}(2.5)"),
    *("1/0", "0^{-1}", r"\sqrt{-1}", r"\sqrt[3]{-8}", r"(-8)^{\frac{1}{3}}", r"\sqrt[0]{2}"),
    *(r"\arcsin 2", r"\log 0", r"\log_1 5", r"\exp(1000)", "2.5!", "(-1)!", r"\binom{2.5}{1}"),
    *(r"\sin_2 1", r"\sin", r"\binom{-1}{2}", "7mod3", "ca^2"),
]


@pytest.mark.parametrize(("text", "value"), VALUES.items())
def test_known_value(text: str, value: float) -> None:
    found = evaluate(text)
    assert found is not None
    assert round(found, 2) == value


@pytest.mark.parametrize("text", NO_VALUE)
def test_no_value(text: str) -> None:
    assert evaluate(text) is None


def test_whole_numbers_stay_whole_as_tuples_show_it() -> None:
    assert isinstance(evaluate("2^{70}"), int)
    assert isinstance(evaluate("3.00"), int)
    assert isinstance(evaluate("6/2"), float)


BOMBS = {
    "tower of powers": "9^{9^{9^{9}}}",
    "powers from left to right": "9^9^9^9^9",
    "power of a large base": "(9^{999})^{999}",
    "negative power of a large base": "(9^{999})^{-999}",
    "tower of factorials": "9!!!!",
    "factorial": "100000000!",
    "binomial": r"\binom{10000000}{5000000}",
    "digits": "9" * 100_000,
    "decimals": "0." + "9" * 100_000,
    "percent": "9" * 100_000 + r"\%",
    "thousands": "9" + ",999" * 30_000,
    "nested braces": "{" * 10_000 + "5" + "}" * 10_000,
    "nested fractions": r"\frac{1}{" * 10_000 + "2" + "}" * 10_000,
    "nested roots": r"\sqrt{" * 10_000 + "2" + "}" * 10_000,
    "nested functions": r"\sin" * 10_000 + "2",
    "signs": "-" * 100_000 + "5",
    "product": "9" + r"\times9" * 20_000,
    "sum": "1" + "+1" * 50_000,
    "quotient": "1" + "/.1" * 30_000,
    "spaces": " " * 100_000 + "x",
    "tuple": "(" + "1," * 50_000 + "1)",
    "tuple of factorials": "(" + "400!," * 20_000 + "1)",
    "brackets": "(" * 50_000 + ")" * 50_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_has_no_value_and_costs_nothing(name: str) -> None:
    assert evaluate(BOMBS[name]) is None
    assert not equal(BOMBS[name], "5")
    assert equal(BOMBS[name], BOMBS[name])


def test_limits_are_where_they_are_said_to_be() -> None:
    assert evaluate("{" * (MAX_DEPTH - 1) + "5" + "}" * (MAX_DEPTH - 1)) == 5
    assert evaluate("{" * MAX_DEPTH + "5" + "}" * MAX_DEPTH) is None
    assert evaluate("1" + "+1" * (MAX_TOKENS // 2 - 1)) == MAX_TOKENS // 2
    assert evaluate("1" + "+1" * MAX_TOKENS) is None
    assert evaluate(f"{MAX_FACTORIAL}!") == math.factorial(MAX_FACTORIAL)
    assert evaluate(f"{MAX_FACTORIAL + 1}!") is None


# --- Equality -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("B", "b"),
        (" Monday ", "monday"),
        ("0.5", r"\frac{1}{2}"),
        (r"$5 \sqrt{3}$", "8.66"),
        ("3.141", "3.1442"),
        ("1:2", "0.5"),
        ("(3,-4)", "(3.0,-4.0)"),
        ("(1/3, 2)", "(0.333,2)"),
        ("[700,800]", "[7*100,800]"),
        (r"(0,\infty)", r"(0.0,\infty)"),
        ("(a,-a,1)", "(a,-a,1.0)"),
        ("7", "7 triangles"),
    ],
)
def test_equal(left: str, right: str) -> None:
    assert equal(left, right)
    assert equal(right, left)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("", ""),
        (" ", "5"),
        ("5", "6"),
        ("5", "5.01"),
        ("b", "c"),
        ("x", "y"),
        ("7", "7 squares"),
        ("120", r"$120^{\circ}$"),
        ("30", r"30\%"),
        ("(3,-4)", "[3,-4]"),
        ("(3,4)", "(3,4,5)"),
        ("(6/2,1)", "(3,1)"),
        ("(x,1)", "(x,1.0)"),
        ("(", ")"),
    ],
)
def test_not_equal(left: str, right: str) -> None:
    assert not equal(left, right)
    assert not equal(right, left)


def test_a_long_tuple_is_only_compared_as_text() -> None:
    short, long = ",".join(["1"] * MAX_ITEMS), ",".join(["1"] * (MAX_ITEMS + 1))
    assert equal(f"({short})", f"({short}.0)")
    assert not equal(f"({long})", f"({long}.0)")


# --- Any text -------------------------------------------------------------------------------------

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)
SIGNS = (
    *("{", "}", "(", ")", "[", "]", r"\{", r"\}", r"\lfloor", r"\rfloor", r"\left", r"\right", ","),
    *(
        "+",
        "-",
        "*",
        "/",
        ":",
        r"\times",
        r"\cdot",
        r"\over",
        "^",
        "^{",
        "_",
        "!",
        "'",
        ".",
        ";",
        "=",
    ),
    *(
        r"\frac",
        r"\sqrt",
        r"\sqrt[3]{",
        r"\sin",
        r"\cos^2",
        r"\log_",
        r"\exp",
        r"\binom",
        "e",
        "e^",
    ),
    *("0", "1", "2", "9", "0.5", ".5", "1,000", "99999", r"5\%", r"\pi", "$", "~", "tr", "x"),
)
PIECES = st.lists(st.sampled_from(SIGNS), max_size=30).map("".join)


@given(ANY_TEXT | PIECES, ANY_TEXT | PIECES)
@example("\ud800", "\udfff")
@example("\u202e5\u202c", "٥")
@example("𝟓", "5")
@example("(,)", "[,]")
@example("İ" * 50, "ß")
def test_any_two_texts(left: str, right: str) -> None:
    """Never raises, gives a real number or none, the same twice, and does not mind the order."""
    value = evaluate(left)
    assert value is None or (isinstance(value, (int, float)) and math.isfinite(round(value, 2)))
    assert repr(value) == repr(evaluate(left))
    assert equal(left, right) == equal(right, left)
    assert equal(left, left) == bool(left.replace(" ", ""))


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**6))
def test_fractions_are_pythons_quotients(numerator: int, denominator: int) -> None:
    assert evaluate(rf"\frac{{{numerator}}}{{{denominator}}}") == numerator / denominator
    assert evaluate(f"({numerator})/{denominator}") == numerator / denominator

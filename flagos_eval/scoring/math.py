r"""Answers that are numbers or formulas: what a piece of LaTeX is worth, and when two are equal.

The rule is that of ``is_equal`` in ``evaluation/utils.py`` of https://github.com/mathllm/MATH-V
(commit 1d361180). There, latex2sympy turns a text into a Python expression and ``eval`` runs it: a
model's answer is executed, and ``9^{9^{9^9}}`` never returns. Here a small parser of our own gives
the same number and runs nothing.

Its limits are counted (tokens, depth, digits, bits), never timed: with a wall-clock limit a slow
machine would fail an answer that a fast one accepts, and two machines are what is being compared.
Past a limit, or where nothing can be parsed, a text has no value: an outcome, not an error.

Values follow latex2sympy2 1.9, accidents included, for they decide scores:

- Parsing stops where the expression ends, so ``5.thus`` is 5 and ``12)`` is 12; but a character
  that is no LaTeX token, or a comma (``5°``, ``5,6``), leaves no value. ``1,000`` is one number.
- A letter, and so a unit, leaves no value; so do ``e`` alone, ``\ln``, ``|x|`` and ``\sec``.
- ``6\frac{1}{2}`` is a product, ``1:2`` a quotient, ``2^3^2`` is 64, and ``5\%`` is 0.05.

Not followed, and without a value instead: relations (``3<4``, which upstream takes for 1),
matrices, gcd and lcm, ``{n\choose k}``, ``\operatorname``, falling factorials ``(n)_{k}``. Nor are
two faults of sympy's printing: ``e^1`` has a value, and ``-7/1.75`` is -4 (there it is -7/7/4, as
with every quotient after a minus whose divisor is a decimal or a quotient).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction

MAX_TOKENS = 2000
MAX_DEPTH = 40
MAX_DIGITS = 400
"""Of one number."""
MAX_BITS = 8192
"""Of any whole number on the way to the result."""
MAX_FACTORIAL = 500
MAX_ITEMS = 100
"""Of a tuple or list."""


class _NoValue(Exception):
    """The text stands for no number."""


# --- Numbers --------------------------------------------------------------------------------------


def _bounded(value: float) -> float:
    """The value, unless it is too large to go on with, or no real number."""
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise _NoValue
    elif isinstance(value, complex) or not math.isfinite(value):
        raise _NoValue
    return value


def _power(base: float, exponent: float) -> float:
    """Python's power: whole numbers stay whole, a root of a negative number has no value."""
    whole = isinstance(base, int) and isinstance(exponent, int)
    if whole and abs(base) > 1 and exponent * int(base).bit_length() > MAX_BITS:
        raise _NoValue
    return _bounded(base**exponent)


def _factorial(value: float) -> float:
    if not isinstance(value, int) or value > MAX_FACTORIAL:
        raise _NoValue
    return math.factorial(value)


def _binomial(upper: float, lower: float) -> float:
    if not isinstance(upper, int) or not isinstance(lower, int) or upper > MAX_FACTORIAL:
        raise _NoValue
    return math.comb(upper, lower)


def _whole_if_possible(value: Fraction) -> float:
    return value.numerator if value.denominator == 1 else value.numerator / value.denominator


_INVERTIBLE: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    r"\sin": (math.sin, math.asin),
    r"\cos": (math.cos, math.acos),
    r"\tan": (math.tan, math.atan),
    r"\sinh": (math.sinh, math.asinh),
    r"\cosh": (math.cosh, math.acosh),
    r"\tanh": (math.tanh, math.atanh),
}
"""Functions whose power -1 is the inverse function. Angles are in radians."""
_FUNCTIONS: dict[str, Callable[[float], float]] = {
    **{name: function for name, (function, _) in _INVERTIBLE.items()},
    **{rf"\arc{name[1:]}": inverse for name, (_, inverse) in _INVERTIBLE.items()},
    **{rf"\ar{name[1:]}": inverse for name, (_, inverse) in _INVERTIBLE.items() if name[-1] == "h"},
    r"\exp": math.exp,
}

# --- Tokens ---------------------------------------------------------------------------------------

_TIMES = ("*", r"\times", r"\cdot")
_DIVIDED = ("/", ":", r"\div", r"\over")
_CLOSING = {"(": ")", "[": "]", "{": "}", r"\{": r"\}", r"\lfloor": r"\rfloor"}
_BINOMIAL = (r"\binom", r"\tbinom", r"\dbinom")
_CALLS = frozenset({*_FUNCTIONS, r"\log", r"\sqrt", "e"})
"""What latex2sympy calls a function: it ends another's bare argument, as in ``\\sin 2\\cos 3``."""
_ENDINGS = (
    r"[.&]|\\\\|\\(?:to|(?:left|long)?rightarrow|choose|rbrace|rceil|rvert)|arc?(?:sin|cos|tan)h|"
    r"gcd|lcm|floor|ceil|eye|zeros|ones|cols|rows|diag|norm|rank|tr|rref|[hv]stack|orth|nullspace|"
    r"eig|svd|[pbv]?matrix"
)
"""Tokens that latex2sympy knows and that do not go on with an expression, words among them: because
of ``tr``, the trace of a matrix, "7 triangles" is 7, while "7 squares" has no value."""
_SIGNS = (
    *(*_TIMES, *_DIVIDED, *_CLOSING, *_CLOSING.values(), *_BINOMIAL, *_CALLS),
    *("+", "-", "^", "_", "'", r"\frac", r"\pi"),
)
_DIGITS = r"(?:[0-9]*(?:,[0-9]{3})*\.[0-9]+|[0-9]+(?:,[0-9]{3})*)"
_SPACE = re.compile(r"(?:[ \t\r\n$~]|\\,|\\displaystyle|\\q?quad|\\(?:left|right)(?![a-z]))*")
_TOKEN = re.compile(
    rf"(?P<percent>{_DIGITS}\\%)|(?P<number>{_DIGITS})|(?P<sign>{_ENDINGS}|!(?!=)|"
    + "|".join(re.escape(sign) for sign in sorted(_SIGNS, key=len, reverse=True))
    + ")"
)


class _Tokens:
    """The tokens of a text, read one ahead: what comes after the expression is never looked at."""

    def __init__(self, text: str) -> None:
        self._text = text.replace(r"\dfrac", r"\frac").replace(r"\tfrac", r"\frac")
        self._position = 0
        self._count = 0
        self.kind: str | None = None
        """``number``, ``percent``, ``sign``, or None at the end of the text."""
        self.token = ""
        self.advance()

    def advance(self) -> str:
        """Pass the current token and return it."""
        passed = self.token
        space = _SPACE.match(self._text, self._position)
        start = space.end() if space else self._position
        if start == len(self._text):
            self.kind, self.token = None, ""
            return passed
        found = _TOKEN.match(self._text, start)
        self._count += 1
        if found is None or self._count > MAX_TOKENS:
            raise _NoValue
        self.kind, self.token, self._position = found.lastgroup, found.group(), found.end()
        return passed

    def at(self, *signs: str) -> bool:
        """Whether the current token is one of these."""
        return self.kind == "sign" and self.token in signs

    def accept(self, *signs: str) -> bool:
        """Pass the current token if it is one of these."""
        if self.at(*signs):
            self.advance()
            return True
        return False

    def expect(self, sign: str) -> None:
        """Pass this token; without it the text has no value."""
        if not self.accept(sign):
            raise _NoValue


# --- Expressions ----------------------------------------------------------------------------------


class _Parser:
    """Recursive descent over latex2sympy's grammar, giving the value on the way."""

    def __init__(self, text: str) -> None:
        self._tokens = _Tokens(text)
        self._depth = 0

    def sum(self) -> float:
        """``term (+ term | - term)*``."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _NoValue
        value = self._term()
        while self._tokens.at("+", "-"):
            subtract = self._tokens.advance() == "-"
            term = self._term()
            value = _bounded(value - term if subtract else value + term)
        self._depth -= 1
        return value

    def _term(self, *, bare: bool = False) -> float:
        """Products and quotients from left to right; `bare` is the argument of ``\\sin 2x``."""
        value = self._product(bare)
        while self._tokens.at(*_TIMES, *_DIVIDED):
            divide = self._tokens.advance() in _DIVIDED
            factor = self._product(bare)
            value = _bounded(value / factor if divide else value * factor)
        return value

    def _product(self, bare: bool) -> float:
        """Signs, then factors side by side, which bind closer than any sign between factors."""
        negative = False
        while self._tokens.at("+", "-"):
            negative ^= self._tokens.advance() == "-"
        value = self._factor()
        while self._starts_factor() and not (bare and self._tokens.at(*_CALLS)):
            value = _bounded(value * self._factor())
        return -value if negative else value

    def _starts_factor(self) -> bool:
        starts = (*_CLOSING, *_CALLS, *_BINOMIAL, r"\frac", r"\pi")
        return self._tokens.kind in ("number", "percent") or self._tokens.at(*starts)

    def _factor(self) -> float:
        """An operand with its powers, then factorials."""
        value = self._operand()
        while self._tokens.accept("^"):
            value = _power(value, self._script())
            if self._tokens.accept("_"):
                self._script()
        while self._tokens.at("!", "'"):
            if self._tokens.advance() == "!":
                value = _factorial(value)
        return value

    def _operand(self) -> float:
        tokens = self._tokens
        if tokens.kind in ("number", "percent") or tokens.at(r"\pi"):
            return self._constant()
        if tokens.accept(r"\frac"):
            upper = self._group("{")
            return _bounded(upper / self._group("{"))
        if tokens.at(*_BINOMIAL):
            tokens.advance()
            upper = self._group("{")
            return _bounded(_binomial(upper, self._group("{")))
        if tokens.accept("e"):
            tokens.expect("^")
            return math.exp(self._script())
        if tokens.at(*_CALLS):
            return self._call(tokens.advance())
        if tokens.at(*_CLOSING):
            opening = tokens.token
            value = self._group(opening)
            return math.floor(value) if opening == r"\lfloor" else value
        raise _NoValue

    def _constant(self) -> float:
        kind, text = self._tokens.kind, self._tokens.advance()
        if kind == "sign":
            return math.pi
        digits = text.removesuffix(r"\%").replace(",", "")
        if len(digits) > MAX_DIGITS:
            raise _NoValue
        return _whole_if_possible(Fraction(digits) / (100 if kind == "percent" else 1))

    def _group(self, opening: str) -> float:
        self._tokens.expect(opening)
        value = self.sum()
        self._tokens.expect(_CLOSING[opening])
        return value

    def _script(self) -> float:
        """What may stand after ``^`` or ``_``: one constant, or anything in braces."""
        if self._tokens.at("{"):
            return self._group("{")
        if self._tokens.kind in ("number", "percent") or self._tokens.at(r"\pi"):
            return self._constant()
        raise _NoValue

    def _call(self, name: str) -> float:
        if name == r"\sqrt":
            root = self._group("[") if self._tokens.at("[") else 2
            base = self._group("{")
            return math.sqrt(base) if root == 2 else _power(base, 1 / root)
        power: float | None = None
        base = 10
        while self._tokens.at("^", "_"):
            if self._tokens.advance() == "^":
                power = self._script()
            elif name == r"\log":
                base = self._script()
            else:
                raise _NoValue
        argument = self._argument()
        if name == r"\log":
            value = math.log(argument, base)
        elif power == -1 and name in _INVERTIBLE:
            return _bounded(_INVERTIBLE[name][1](argument))
        else:
            value = _FUNCTIONS[name](argument)
        return _power(value, power) if power else _bounded(value)

    def _argument(self) -> float:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _NoValue
        value = self._group("(") if self._tokens.at("(") else self._term(bare=True)
        self._depth -= 1
        return value


def evaluate(text: str) -> float | None:
    r"""The number that a piece of LaTeX stands for: an int where upstream has one, else a float.

    None for every text without a value; nothing is raised and nothing in the text is run.
    """
    try:
        return _Parser(text).sum()
    except (_NoValue, ArithmeticError, ValueError):
        return None


# --- Comparison -----------------------------------------------------------------------------------


def equal(left: str, right: str) -> bool:
    """Whether two answers are the same (``is_equal`` in MATH-V's utils.py).

    As lower-case text, as tuples and lists with their items rounded to two decimals, or as numbers
    rounded to two decimals. An empty answer equals nothing.
    """
    left, right = left.lower(), right.lower()
    if not left.replace(" ", "") or not right.replace(" ", ""):
        return False
    if left.strip() == right.strip():
        return True
    left, right = _round_items(left), _round_items(right)
    if left == right:
        return True
    first, second = evaluate(left), evaluate(right)
    return first is not None and second is not None and round(first, 2) == round(second, 2)


def _round_items(text: str) -> str:
    """A tuple or list with every item rounded; as it was if it is none, or an item has no value."""
    items = text[1:-1].split(",")
    if (text[0], text[-1]) not in (("(", ")"), ("[", "]")) or not 1 < len(items) <= MAX_ITEMS:
        return text
    rounded = []
    for item in items:
        if "infty" in item or item in ("a", "-a"):
            rounded.append(item)
            continue
        value = evaluate(item)
        if value is None:
            return text
        rounded.append(str(round(value, 2)))
    return f"{text[0]}{','.join(rounded)}{text[-1]}"

"""Strategies that begin with a valid input and spoil it: as bytes, as text, and as JSON."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

_STANDS_FOR = {
    b'"@huge"': b"9" * 5000,
    b'"@deep"': b"[" * 20_000 + b"]" * 20_000,
    b'"@deeper"': b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    b'"@infinite"': b"1e999",
    b'"@twice"': b'1,"schema_version":1,"id":"x","task":"x","name":"x"',
}
"""What no JSON library writes, by what is written in its place."""
NASTY_TEXTS = (
    *("", "\0", "\ud800", "\x1b[2J\x1b]0;x\x07", "\u202etxt.exe", "a\u0301" * 50, "x" * 70_000),
    *("../../etc/passwd", "/etc/passwd", "C:\\x", "samples/../../x", "http://u:p@h", "{{7*7}}"),
    *("<script>alert(1)</script>", "javascript:alert(1)", "=cmd|' /C x'!A0", "%s%n", "$(x)"),
    *("nan", "-1", "1e999", "٣", "½", "١٢٣", "true", "None", "__import__('os')", "\N{BOM}"),
)
NASTY_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 2**64, 10**400, 0.5, -0.0, 1e308),
    *(float("nan"), float("inf"), [], {}, [[]], [None], {"": None}, {"id": []}),
    *("@huge", "@deep", "@deeper", "@infinite", "@twice", *NASTY_TEXTS),
)
_TOKENS = (
    *(
        b"\0",
        b"\n",
        b"\r",
        b"\xff",
        b"\xed\xa0\x80",
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
    ),
    *(
        b"|",
        b"---",
        b"=",
        b"'''",
        b'"""',
        b"#",
        b"<",
        b">",
        b"$",
        b"\\frac{",
        b"^",
        b"1e9999",
        b"NaN",
    ),
    *(b"\x1f\x8b", b"PK\x01\x02", b"\xef\xbb\xbf", "\u202e".encode(), "答案".encode(), b"9" * 5000),
)


@st.composite
def spoiled(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """A seed after a few changes of its bytes."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from((0, 1, 2, 8, 64, 1024))))
        change = draw(
            st.sampled_from(("flip", "drop", "insert", "repeat", "cut", "splice", "draw"))
        )
        if change == "flip" and start < len(data):
            data[start] ^= 1 << draw(st.integers(0, 7))
        elif change == "drop":
            del data[start:end]
        elif change == "insert":
            data[start:start] = draw(st.sampled_from(_TOKENS))
        elif change == "repeat":
            data[start:start] = bytes(data[start:end]) * draw(st.sampled_from((1, 2, 50)))
        elif change == "cut":
            del data[start:]
        elif change == "splice":
            other = draw(st.sampled_from(seeds))
            data[start:] = other[draw(st.integers(0, len(other))) :]
        elif change == "draw":
            data[start:end] = draw(st.binary(max_size=12))
    return bytes(data)


@st.composite
def edited(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """A JSON seed with a few of its values replaced, dropped, moved or doubled."""
    root = [json.loads(draw(st.sampled_from(seeds)).decode("utf-8", "surrogatepass"))]
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(root))
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        change = draw(st.sampled_from(("replace", "replace", "drop", "move", "rename", "double")))
        if change == "drop" and holder is not root:
            del holder[key]
        elif change == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from(NASTY_TEXTS))] = holder.pop(key)
        elif change == "double" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif change == "move":
            other, place = places[draw(st.integers(0, len(places) - 1))]
            holder[key] = copy.deepcopy(other[place])
        else:
            holder[key] = copy.deepcopy(draw(st.sampled_from(NASTY_VALUES)))
    return written(root[0])


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in a value."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def written(value: Any) -> bytes:
    """JSON as a stranger may write it."""
    data = json.dumps(value, ensure_ascii=True).encode("ascii")
    for stands, bad in _STANDS_FOR.items():
        data = data.replace(stands, bad)
    return data


@st.composite
def edited_lines(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """JSON lines of which one is spoiled."""
    lines = [line for line in draw(st.sampled_from(seeds)).split(b"\n") if line]
    place = draw(st.integers(0, len(lines) - 1))
    change = draw(st.sampled_from(("edit", "edit", "edit", "drop", "double", "swap")))
    if change == "drop":
        del lines[place]
    elif change == "double":
        lines.append(lines[place])
    elif change == "swap":
        lines.insert(0, lines.pop(place))
    else:
        lines[place] = draw(edited([lines[place]]))
    return b"".join(line + b"\n" for line in lines)


@st.composite
def texts(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """Text of which pieces are replaced by what confuses."""
    text = draw(st.sampled_from(seeds)).decode("utf-8", "replace")
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.sampled_from((0, 0, 1, 5, 40)))
        piece = draw(st.one_of(st.sampled_from(NASTY_TEXTS), st.text(max_size=8)))
        text = text[:start] + piece * draw(st.sampled_from((1, 1, 1, 3, 40))) + text[end:]
    return text.encode("utf-8", "surrogatepass")


SHAPES = {
    "json": lambda seeds: st.one_of(edited(seeds), edited(seeds), spoiled(seeds)),
    "lines": lambda seeds: st.one_of(edited_lines(seeds), edited_lines(seeds), spoiled(seeds)),
    "text": lambda seeds: st.one_of(texts(seeds), spoiled(seeds)),
    "bytes": spoiled,
}
"""How inputs of a shape are spoiled."""

"""Drawing that gives the same bytes everywhere: whole numbers, no image library and no compressor.

Fonts, ellipses and PNG compression differ between the versions of Pillow, FreeType and zlib. So
shapes and digits are computed here from integers, and a PNG holds its pixels as they are (deflate's
*stored* blocks).
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple, TypeVar

T = TypeVar("T")
Colour = tuple[int, int, int]

SIDE = 112
COLOURS: dict[str, Colour] = {
    "red": (225, 35, 45),
    "orange": (255, 145, 15),
    "yellow": (250, 220, 25),
    "green": (35, 165, 65),
    "blue": (45, 95, 240),
    "purple": (145, 50, 195),
    "pink": (255, 140, 200),
    "brown": (135, 80, 40),
}
"""The colours of things; they stand out from a light and from a dark ground."""
_PALE, _DUST = 1 + len(COLOURS), 2 + len(COLOURS)

_STAR = ((0, -1000), (951, -309), (588, 809), (-588, 809), (-951, -309))
"""Directions of a star's points, in thousandths; each point is behind one of the star's lines."""
_DIGITS = (
    "01110 11011 11011 11011 11011 11011 01110",
    "00110 01110 00110 00110 00110 00110 01111",
    "01110 11011 00011 00110 01100 11000 11111",
    "11110 00011 00011 01110 00011 00011 11110",
    "11011 11011 11011 11111 00011 00011 00011",
    "11111 11000 11110 00011 00011 11011 01110",
    "01110 11000 11000 11110 11011 11011 01110",
    "11111 00011 00011 00110 00110 01100 01100",
    "01110 11011 11011 01110 11011 11011 01110",
    "01110 11011 11011 01111 00011 00011 01110",
)


class Draws:
    """Choices that follow from a name: the n-th is the SHA-256 of the name and n."""

    def __init__(self, *name: str | int) -> None:
        self._key = "\0".join(map(str, name)).encode()
        self._count = 0

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1."""
        self._count += 1
        digest = hashlib.sha256(b"%d\0%b" % (self._count, self._key)).digest()
        return int.from_bytes(digest[:8], "big") % n

    def pick(self, values: Sequence[T]) -> T:
        """One of the values."""
        return values[self.below(len(values))]

    def some(self, values: Sequence[T], n: int) -> list[T]:
        """Different `n` of the values, in an order of their own."""
        left = list(values)
        return [left.pop(self.below(len(left))) for _ in range(n)]


def _inside(shape: str, u: int, v: int, size: int) -> bool:
    """Whether a pixel belongs to a shape; (u, v) is twice its distance from the centre."""
    if shape == "circle":
        return u * u + v * v <= size * size
    if shape == "square":
        return max(abs(u), abs(v)) * 8 <= size * 7
    if shape == "triangle":
        return 2 * abs(u) <= size + v
    if shape == "diamond":
        return abs(u) + abs(v) <= size
    if shape == "cross":
        return min(abs(u), abs(v)) * 3 <= size
    if shape == "star":
        v -= size // 10  # a star reaches further up than down
        lines = sum(u * a + v * b <= 309 * size for a, b in _STAR)
        return lines >= 4
    raise ValueError(f"there is no shape {shape!r}")


@cache
def _spans(shape: str, size: int) -> tuple[tuple[int, int, int], ...]:
    """A shape as runs of pixels (row, first column, length) in a box of `size`."""
    spans = []
    for y in range(size):
        row = [_inside(shape, 2 * x + 1 - size, 2 * y + 1 - size, size) for x in range(size)]
        edges = [x for x in range(size + 1) if (x < size and row[x]) != (x > 0 and row[x - 1])]
        spans += [(y, a, b - a) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return tuple(spans)


class Canvas:
    """A square picture of up to 16 colours."""

    def __init__(self, side: int) -> None:
        if side % 2:
            raise ValueError("two pixels share a byte: the side must be even")
        self.side = side
        self._pixels = bytearray(side * side)

    def box(self, x: int, y: int, width: int, height: int, colour: int) -> None:
        """Fill a rectangle; what is outside the picture is cut off."""
        left, right = max(x, 0), min(x + width, self.side)
        if left < right:
            run = bytes((colour,)) * (right - left)
            for row in range(max(y, 0), min(y + height, self.side)):
                start = row * self.side + left
                self._pixels[start : start + len(run)] = run

    def shape(self, name: str, x: int, y: int, size: int, colour: int) -> None:
        """Draw a circle, square, triangle, diamond, cross or star in a box of `size` pixels."""
        for row, start, length in _spans(name, size):
            self.box(x + start, y + row, length, 1, colour)

    def digit(self, digit: str, x: int, y: int, scale: int, colour: int) -> None:
        """Draw a digit of 5 x 7 squares of `scale` pixels."""
        for row, line in enumerate(_DIGITS[int(digit)].split()):
            for column, dot in enumerate(line):
                if dot == "1":
                    self.box(x + column * scale, y + row * scale, scale, scale, colour)

    def png(self, palette: Sequence[Colour]) -> bytes:
        """The picture as a PNG with 4 bits a pixel."""
        high, low = bytes(self._pixels[::2]), bytes(self._pixels[1::2])
        packed = (int.from_bytes(high, "big") << 4) | int.from_bytes(low, "big")
        data, width = packed.to_bytes(len(low), "big"), self.side // 2
        rows = b"".join(b"\0" + data[i : i + width] for i in range(0, len(data), width))
        header = struct.pack(">IIBBBBB", self.side, self.side, 4, 3, 0, 0, 0)
        colours = b"".join(map(bytes, palette))
        parts = ((b"IHDR", header), (b"PLTE", colours), (b"IDAT", _stored(rows)), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, part) for name, part in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _stored(data: bytes) -> bytes:
    """A zlib stream of stored blocks: there is nothing in it that a compressor could choose."""
    blocks = [data[i : i + 65535] for i in range(0, len(data), 65535)]
    stream = b"".join(
        struct.pack("<BHH", i == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for i, block in enumerate(blocks)
    )
    return b"\x78\x01" + stream + struct.pack(">I", zlib.adler32(data))


# --- Scenes of 112 x 112 pixels -------------------------------------------------------------------


class Thing(NamedTuple):
    """A shape in its place."""

    shape: str
    colour: str
    x: int
    y: int
    size: int


def backdrop(draws: Draws) -> Canvas:
    """Pale lines and a few dots."""
    canvas = Canvas(SIDE)
    for _ in range(draws.below(4)):
        at, thin = draws.below(SIDE), 1 + draws.below(2)
        canvas.box(*((at, 0, thin, SIDE) if draws.below(2) else (0, at, SIDE, thin)), _PALE)
    for _ in range(draws.below(40)):
        dot = 1 + draws.below(3)
        canvas.box(draws.below(SIDE), draws.below(SIDE), dot, dot, 1 + draws.below(_DUST))
    return canvas


def finish(draws: Draws, canvas: Canvas) -> bytes:
    """Dust over everything, and a light or a dark ground."""
    for _ in range(draws.below(30)):
        canvas.box(draws.below(SIDE), draws.below(SIDE), 1, 1, _DUST)
    ground, step = (225, -1) if draws.below(2) else (12, 1)
    tints = [ground, ground + step * 25, ground + step * 80]
    paper, pale, dust = [
        (tint + draws.below(21), tint + draws.below(21), tint + draws.below(21)) for tint in tints
    ]
    return canvas.png([paper, *COLOURS.values(), pale, dust])


def picture(draws: Draws, things: Iterable[Thing]) -> bytes:
    """A PNG of things before a backdrop."""
    canvas = backdrop(draws)
    for thing in things:
        colour = 1 + list(COLOURS).index(thing.colour)
        canvas.shape(thing.shape, thing.x, thing.y, thing.size, colour)
    return finish(draws, canvas)


def place(draws: Draws, shape: str, colour: str, cell: int) -> Thing:
    """Somewhere in one of nine cells of 37 pixels."""
    size = 23 + draws.below(9)
    x, y = (37 * at + 1 + draws.below(36 - size) for at in (cell % 3, cell // 3))
    return Thing(shape, colour, x, y, size)


def scatter(draws: Draws, looks: Sequence[tuple[str, str]]) -> bytes:
    """A PNG of up to nine shapes, given as (shape, colour), that do not touch each other."""
    cells = draws.some(range(9), len(looks))
    things = [place(draws, *look, cell) for look, cell in zip(looks, cells, strict=True)]
    return picture(draws, things)

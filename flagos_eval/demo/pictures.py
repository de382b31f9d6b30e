"""Image bytes to the patches that Qwen2.5-VL's vision tower reads.

The arithmetic is that of transformers' ``Qwen2VLImageProcessor``: sides rounded to multiples of
28, bicubic resize, scale to 0..1, normalise, and cut into patches of 14 with two equal frames,
ordered in blocks of 2x2. Pictures are limited to 112x112, one attention window, which is all the
model has seen.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from .variants import Variant

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATCH, MERGE, FRAMES = 14, 2, 2
FACTOR = PATCH * MERGE
MIN_PIXELS, MAX_PIXELS = FACTOR * FACTOR * 4, 112 * 112
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)


class BadImage(ValueError):
    """The bytes are no picture that can be read."""


@dataclass(frozen=True)
class Picture:
    """One picture as the vision tower reads it."""

    patches: NDArray[np.float32]
    """(rows * columns, 3 * FRAMES * PATCH * PATCH)"""
    rows: int
    """In patches."""
    columns: int

    @property
    def tokens(self) -> int:
        """Tokens that it is to the language model."""
        return self.rows * self.columns // MERGE**2


def fitted(height: int, width: int, max_pixels: int) -> tuple[int, int]:
    """The size that an image is resized to: multiples of 28 within the limit, aspect ratio kept.

    Raises:
        BadImage: a side is 200 times the other.
    """
    if max(height, width) > 200 * min(height, width):
        raise BadImage(f"an image of {width}x{height} is too narrow")
    rows, columns = (max(round(side / FACTOR), 1) * FACTOR for side in (height, width))
    if rows * columns > max_pixels:
        scale = math.sqrt(height * width / max_pixels)
        rows, columns = (
            max(math.floor(side / scale / FACTOR), 1) * FACTOR for side in (height, width)
        )
    elif rows * columns < MIN_PIXELS:
        scale = math.sqrt(MIN_PIXELS / (height * width))
        rows, columns = (math.ceil(side * scale / FACTOR) * FACTOR for side in (height, width))
    # A long thin image can still exceed one window of 8x8 patches.
    return min(rows, 112), min(columns, 112)


def read(data: bytes, variant: Variant, max_pixels: int | None = None) -> Picture:
    """Decode, resize, normalise and cut.

    Args:
        data: The bytes of an image file.
        variant: What may go wrong on the way.
        max_pixels: Limit of the request.

    Raises:
        BadImage: it cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(data)) as opened:
            image = opened.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise BadImage(f"cannot identify image ({error})") from error
    if variant.jpeg_quality is not None:
        image = _through_jpeg(image, variant.jpeg_quality)
    limits = (MAX_PIXELS, max_pixels, variant.max_pixels)
    rows, columns = fitted(image.height, image.width, min(n for n in limits if n is not None))
    if (columns, rows) != image.size:
        image = image.resize((columns, rows), Image.Resampling.BICUBIC)
    values = np.asarray(image, dtype=np.float32)
    if variant.swap_channels:
        values = values[..., ::-1]
    mean = np.asarray(variant.image_mean or MEAN, dtype=np.float32)
    values = (values / np.float32(255) - mean) / np.asarray(DEVIATION, dtype=np.float32)
    return Picture(_cut(values), rows // PATCH, columns // PATCH)


def _through_jpeg(image: Image.Image, quality: int) -> Image.Image:
    out = io.BytesIO()
    image.save(out, format="JPEG", quality=quality)
    with Image.open(out) as again:
        decoded: Image.Image = again.convert("RGB")
    return decoded


def _cut(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(height, width, 3) to (patches, 3 * FRAMES * PATCH * PATCH), in blocks of MERGE x MERGE."""
    rows, columns = values.shape[0] // FACTOR, values.shape[1] // FACTOR
    blocks = values.reshape(rows, MERGE, PATCH, columns, MERGE, PATCH, 3)
    # block row, block column, row, column, channel, y, x; a still picture is two equal frames
    ordered = blocks.transpose(0, 3, 1, 4, 6, 2, 5)[:, :, :, :, :, None]
    frames = np.repeat(ordered, FRAMES, axis=5)
    return np.ascontiguousarray(frames.reshape(rows * columns * MERGE**2, -1), dtype=np.float32)

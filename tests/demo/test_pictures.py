"""Image bytes to patches."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flagos_eval.demo import pictures
from flagos_eval.demo.variants import REFERENCE, VARIANTS


def png(width: int, height: int, colour: tuple[int, int, int] = (255, 0, 0)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, format="PNG")
    return out.getvalue()


def test_a_picture_of_the_models_size_is_sixteen_tokens():
    picture = pictures.read(png(112, 112), REFERENCE)
    assert (picture.rows, picture.columns, picture.tokens) == (8, 8, 16)
    assert picture.patches.shape == (64, 3 * 2 * 14 * 14)


def test_values_are_normalised_as_qwen_does():
    # (255 / 255 - mean) / deviation of each channel, from the original's preprocessor_config.json
    patches = pictures.read(png(112, 112, (255, 255, 255)), REFERENCE).patches
    channels = patches.reshape(64, 3, -1).mean(axis=(0, 2))
    assert channels == pytest.approx([1.9303, 2.0749, 2.1459], abs=1e-4)


def test_swapped_channels_are_blue_for_red():
    swapped = pictures.read(png(112, 112, (255, 0, 0)), VARIANTS["channels"]).patches
    blue = pictures.read(png(112, 112, (0, 0, 255)), REFERENCE).patches
    assert np.array_equal(swapped, blue)


def test_patches_come_in_blocks_of_two_by_two():
    image = Image.new("RGB", (112, 112))
    for row in range(8):
        for column in range(8):
            image.paste(
                (row * 8 + column,) * 3, (column * 14, row * 14, column * 14 + 14, row * 14 + 14)
            )
    out = io.BytesIO()
    image.save(out, format="PNG")
    values = pictures.read(out.getvalue(), REFERENCE).patches[:, 0]
    order = np.argsort(np.argsort(values))
    assert order[:8].tolist() == [0, 1, 8, 9, 2, 3, 10, 11]


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(3136, 20000))
def test_any_size_fits_into_one_window(height, width, limit):
    if max(height, width) > 200 * min(height, width):
        with pytest.raises(pictures.BadImage):
            pictures.fitted(height, width, limit)
        return
    rows, columns = pictures.fitted(height, width, limit)
    assert rows % 28 == columns % 28 == 0
    assert 28 <= rows <= 112 and 28 <= columns <= 112


@given(st.binary(max_size=300))
def test_any_bytes_are_a_picture_or_refused(data):
    with pytest.raises(pictures.BadImage):
        pictures.read(data, REFERENCE)

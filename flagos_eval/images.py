"""Image bytes: hashed and measured once, and read again from where they are when they are sent, so
that memory does not grow with the size of a benchmark."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from .errors import DatasetError
from .records import ImagePart, sha256_hex

# What vLLM, and everything else that hands images to Pillow, opens without help.
_SENT_AS_IS = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a JPEG of a camera, with a second picture behind it
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
_MAX_IMAGE_BYTES = 64 * 2**20
OPENED = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""An MPO begins as a JPEG. No others: among the formats that Pillow knows are some that start a
program, as Ghostscript."""


class ImageBank:
    """Image bytes by the SHA-256 of what is sent, read again from where they are when needed."""

    def __init__(self) -> None:
        self._sources: dict[str, Callable[[], bytes]] = {}
        self._last: tuple[bytes, ImagePart] | None = None

    def add(self, read: Callable[[], bytes], *, where: str, data: bytes | None = None) -> ImagePart:
        """Hash and measure an image, and remember how to read it.

        Args:
            read: Reads it again when it is sent.
            where: Its name in messages.
            data: What `read` returns, where that is at hand.

        Raises:
            DatasetError: it is no image, or too large to be one.
        """
        data = read() if data is None else data
        # The questions about one figure follow each other with the very same bytes.
        if self._last is not None and self._last[0] is data:
            return self._last[1]
        part = self._added(read, data, where)
        self._last = (data, part)
        return part

    def _added(self, read: Callable[[], bytes], data: bytes, where: str) -> ImagePart:
        if not 0 < len(data) <= _MAX_IMAGE_BYTES:
            raise DatasetError(f"{where}: an image of {len(data)} bytes")
        kind, width, height = _inspect(data, where)
        media_type = _SENT_AS_IS.get(kind)
        converted_from = None
        if media_type is None:
            # Servers do not open this format: the only case in which the bytes change, and it is
            # recorded.
            original, converted_from, media_type = read, f"image/{kind.lower()}", "image/png"
            data = _to_png(data, where)
            read = lambda: _to_png(original(), where)  # noqa: E731
        digest = sha256_hex(data)
        self._sources.setdefault(digest, read)
        return ImagePart(
            sha256=digest,
            media_type=media_type,
            width=width,
            height=height,
            size=len(data),
            converted_from=converted_from,
        )

    def put(self, part: ImagePart, read: Callable[[], bytes]) -> None:
        """Remember how to read an image that is known already."""
        self._sources.setdefault(part.sha256, read)

    def __contains__(self, part: ImagePart) -> bool:
        return part.sha256 in self._sources

    def read(self, part: ImagePart) -> bytes:
        """The bytes of an image that was added.

        Raises:
            DatasetError: the file changed since, or was never there.
        """
        source = self._sources.get(part.sha256)
        if source is None:
            raise DatasetError(f"no image with SHA-256 {part.sha256} is at hand")
        data = source()
        if sha256_hex(data) != part.sha256:
            raise DatasetError(
                f"an image changed while the run was going on (SHA-256 {part.sha256})"
            )
        return data


def _inspect(data: bytes, where: str) -> tuple[str, int, int]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=OPENED) as image:
            kind, width, height = image.format or "unknown", image.width, image.height
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise DatasetError(f"{where}: not an image ({error})") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DatasetError(f"{where}: image with too many pixels ({error})") from error
    # Pillow warns up to twice as many. A filter that makes errors of warnings is the whole
    # process's, and tasks are loaded in a thread.
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and width * height > most:
        raise DatasetError(f"{where}: image with too many pixels ({width}x{height})")
    return kind, width, height


def _to_png(data: bytes, where: str) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    try:
        with Image.open(io.BytesIO(data), formats=OPENED) as image:
            image.convert("RGB").save(out, format="PNG")
    except (OSError, ValueError, SyntaxError) as error:
        raise DatasetError(f"{where}: a damaged image ({error})") from error
    return out.getvalue()


class BankedRow(Mapping[str, Any]):
    """A dataset row whose images are handed out as parts of a question (`flagos_eval.task.Row`)."""

    def __init__(
        self,
        values: Mapping[str, Any],
        bank: ImageBank,
        where: str,
        *,
        root: Path | None = None,
        refetch: Refetch | None = None,
        absent_images: bool = False,
    ) -> None:
        """A row.

        Args:
            values: Its fields.
            bank: Where its images go.
            where: Its name in messages.
            root: The folder below which image paths are.
            refetch: Reads an image field's bytes again, so that they need not be kept.
            absent_images: An image that is not at hand is marked as absent instead of refused.
        """
        self._values, self._bank, self._where = values, bank, where
        self._root, self._refetch, self._absent = root, refetch, absent_images

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def image(self, field: str) -> ImagePart:
        """The image in `field`, which holds bytes, a path below the data folder, or a hub image."""
        try:
            return self._image(field)
        except DatasetError:
            if self._absent:
                return ImagePart.missing()
            raise

    def _image(self, field: str) -> ImagePart:
        value, where = self._values.get(field), f"{self._where}, field {field!r}"
        if isinstance(value, bytes):
            data = value
            return self._bank.add(lambda: data, where=where)
        if isinstance(value, str) and self._root is not None:
            # Text and no Path, which takes five times as much memory, for every image of a run.
            path = str(_inside(self._root, value, where))
            return self._bank.add(partial(_read_file, path), where=where)
        if isinstance(value, Mapping):
            if isinstance(value.get("bytes"), bytes):
                held = value["bytes"]
                if self._refetch is None:
                    return self._bank.add(lambda: held, where=where)
                refetch = self._refetch
                return self._bank.add(lambda: refetch(field), where=where, data=held)
            if isinstance(value.get("path"), str):
                return self._bank.add(partial(_read_file, value["path"]), where=where)
        raise DatasetError(f"{where}: no image there")


Refetch = Callable[[str], bytes]


def _inside(root: Path, name: str, where: str) -> Path:
    """A file below `root`: names in a dataset come from strangers."""
    # Links are followed: in the cache of the hub every file is a link to one outside the folder.
    path = Path(os.path.normpath(root / name))
    if "\0" in name or not path.is_relative_to(os.path.normpath(root)):
        raise DatasetError(f"{where}: {name!r} points outside the data folder")
    return path


def _read_file(path: str) -> bytes:
    try:
        with io.FileIO(path) as file:
            return file.readall()
    except OSError as error:
        raise DatasetError(
            f"cannot read image {path}: {error.strerror}",
            hint="a smaller split may be complete in this folder, as --split TASK=testmini",
        ) from error

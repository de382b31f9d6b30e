"""Task -> Samples: read a benchmark's rows, check them, and keep a way to its image bytes.

Images are read once to be hashed and measured, and again when they are sent: memory does not grow
with the size of a benchmark."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import DatasetError, UsageError
from .records import DatasetRecord, ImagePart, Sample, canonical_json, sha256_hex
from .task import GeneratedDataset, HubDataset, Task

# What vLLM, and everything else that hands images to Pillow, opens without help.
_SENT_AS_IS = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a JPEG of a camera, with a second picture behind it
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
_MAX_IMAGE_BYTES = 64 * 2**20


class ImageBank:
    """Image bytes by the SHA-256 of what is sent, read again from where they are when needed."""

    def __init__(self) -> None:
        self._sources: dict[str, Callable[[], bytes]] = {}

    def add(self, read: Callable[[], bytes], *, where: str) -> ImagePart:
        """Hash and measure an image, and remember how to read it.

        Raises:
            DatasetError: it is no image, or too large to be one.
        """
        data = read()
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
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                return image.format or "unknown", image.width, image.height
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise DatasetError(f"{where}: not an image ({error})") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DatasetError(f"{where}: image with too many pixels ({error})") from error


def _to_png(data: bytes, where: str) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    try:
        with Image.open(io.BytesIO(data)) as image:
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
        root: Path | None,
        refetch: Refetch | None,
    ) -> None:
        self._values, self._bank, self._where = values, bank, where
        self._root, self._refetch = root, refetch

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def image(self, field: str) -> ImagePart:
        """The image in `field`, which holds bytes, a path below the data folder, or a hub image."""
        value, where = self._values.get(field), f"{self._where}, field {field!r}"
        if isinstance(value, bytes):
            data = value
            return self._bank.add(lambda: data, where=where)
        if isinstance(value, str) and self._root is not None:
            path = _inside(self._root, value, where)
            return self._bank.add(lambda: _read_file(path), where=where)
        if isinstance(value, Mapping):
            if isinstance(value.get("bytes"), bytes):
                if self._refetch is None:
                    held = value["bytes"]
                    return self._bank.add(lambda: held, where=where)
                refetch = self._refetch
                return self._bank.add(lambda: refetch(field), where=where)
            if isinstance(value.get("path"), str):
                path = Path(value["path"])
                return self._bank.add(lambda: _read_file(path), where=where)
        raise DatasetError(f"{where}: no image there")


Refetch = Callable[[str], bytes]


def _inside(root: Path, name: str, where: str) -> Path:
    """A file below `root`: names in a dataset come from strangers."""
    # Links are followed: in the cache of the hub every file is a link to one outside the folder.
    path = Path(os.path.normpath(root / name))
    if "\0" in name or not path.is_relative_to(os.path.normpath(root)):
        raise DatasetError(f"{where}: {name!r} points outside the data folder")
    return path


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"cannot read image {path}: {error.strerror}",
            hint="a smaller split may be complete in this folder, as --split TASK=testmini",
        ) from error


@dataclass(frozen=True)
class Items:
    """A task's items, ready to be asked."""

    samples: tuple[Sample, ...]
    record: DatasetRecord
    bank: ImageBank
    preview: bool
    """Fewer items than the benchmark has, or another split of it."""


@dataclass(frozen=True)
class Source:
    """Where to look for a task's data."""

    data_dir: Path | None = None
    split: str | None = None
    revision: str | None = None
    limit: int | None = None


def load(task: Task, source: Source) -> Items:
    """All samples of a task, in the dataset's order.

    With `source.limit` the items are the first by the hash of their id: the same choice on every
    machine, and not the dataset's first subject.

    Raises:
        DatasetError: unreachable, gated, incomplete or of another shape; says which and what to do.
        UsageError: the benchmark has no such split.
    """
    dataset = task.dataset
    split = source.split or dataset.split
    if split not in dataset.n:
        raise UsageError(f"{task.name} has no split {split!r}; it has {', '.join(dataset.n)}")
    bank = ImageBank()
    rows, record = _open(task, source, split, bank)
    samples = tuple(_samples(task, rows))
    if len(samples) != dataset.n[split]:
        raise DatasetError(
            f"{task.name}: {len(samples)} items in split {split!r}, "
            f"the benchmark has {dataset.n[split]}"
        )
    samples = _limited(samples, source.limit)
    fingerprint = sha256_hex(canonical_json([[s.id, s.content_hash] for s in samples]))
    return Items(
        samples=samples,
        record=DatasetRecord(**record, split=split, fingerprint=fingerprint, n=len(samples)),
        bank=bank,
        preview=split != dataset.split or len(samples) != dataset.n[split],
    )


def _samples(task: Task, rows: Iterable[BankedRow]) -> Iterator[Sample]:
    seen: set[str] = set()
    for index, row in enumerate(rows):
        try:
            sample = task.to_sample(row)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise DatasetError(
                f"{task.name}: row {index} is not of the documented shape "
                f"({type(error).__name__}: {error})"
            ) from error
        if sample.id in seen:
            raise DatasetError(f"{task.name}: id {sample.id!r} is there twice")
        seen.add(sample.id)
        yield sample


def _limited(samples: tuple[Sample, ...], limit: int | None) -> tuple[Sample, ...]:
    if limit is None or limit >= len(samples):
        return samples
    chosen = sorted(samples, key=lambda s: sha256_hex(f"{s.task}\0{s.id}".encode()))[:limit]
    kept = {s.id for s in chosen}
    return tuple(s for s in samples if s.id in kept)


def _open(
    task: Task, source: Source, split: str, bank: ImageBank
) -> tuple[Iterable[BankedRow], dict[str, Any]]:
    dataset = task.dataset
    if isinstance(dataset, GeneratedDataset):
        generated = (
            BankedRow(row, bank, f"{task.name} row {i}", None, None)
            for i, row in enumerate(dataset.rows(split))
        )
        return generated, {"id": dataset.id, "origin": "generated"}
    folder = _local_folder(task, source.data_dir)
    if folder is not None and dataset.local is not None:
        local = (
            BankedRow(row, bank, f"{task.name} row {i}", folder, None)
            for i, row in enumerate(_checked(task, dataset, dataset.local(folder, split)))
        )
        record = {"id": dataset.repo, "config": dataset.config, "origin": "local"}
        return local, {**record, "requested_revision": source.revision}
    return _open_hub(task, dataset, source, split, bank)


def _local_folder(task: Task, data_dir: Path | None) -> Path | None:
    """``DIR/<task>`` if it is there, else ``DIR`` itself."""
    if data_dir is None:
        return None
    if not data_dir.is_dir():
        raise DatasetError(f"the data folder {data_dir} does not exist")
    inner = data_dir / task.name
    return inner if inner.is_dir() else data_dir


def _checked(
    task: Task, dataset: HubDataset, rows: Iterable[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    for index, row in enumerate(rows):
        if index == 0:
            missing = [name for name in dataset.fields if name not in row]
            if missing:
                raise DatasetError(
                    f"{task.name}: the data has no field {', '.join(missing)}; "
                    f"it has {', '.join(row)}",
                    hint="the dataset changed its schema: pin a revision, or report it",
                )
        yield row


def _open_hub(
    task: Task, dataset: HubDataset, source: Source, split: str, bank: ImageBank
) -> tuple[Iterable[BankedRow], dict[str, Any]]:
    revision = source.revision or dataset.revision
    table, resolved = _load_from_hub(task, dataset, revision, split)
    image_fields = [n for n, f in table.features.items() if type(f).__name__ == "Image"]
    import datasets

    for name in image_fields:
        # Bytes as they are in the dataset: decoding and encoding again would alter them.
        table = table.cast_column(name, datasets.Image(decode=False))

    def rows() -> Iterator[BankedRow]:
        checked = _checked(task, dataset, table)
        for index, row in enumerate(checked):

            def refetch(field: str, index: int = index) -> bytes:
                held = table[index][field]["bytes"]
                assert isinstance(held, bytes)
                return held

            yield BankedRow(row, bank, f"{task.name} row {index}", None, refetch)

    record = {"id": dataset.repo, "config": dataset.config, "origin": "hub"}
    return rows(), {**record, "requested_revision": revision, "revision": resolved}


def _load_from_hub(
    task: Task, dataset: HubDataset, revision: str | None, split: str
) -> tuple[Any, str | None]:
    import datasets
    from huggingface_hub import errors as hub

    datasets.disable_progress_bars()
    commit = _resolve(dataset.repo, revision)
    try:
        table = datasets.load_dataset(
            dataset.repo, dataset.config, split=split, revision=commit or revision
        )
    except hub.GatedRepoError as error:
        raise DatasetError(
            f"{task.name}: {dataset.repo} is gated",
            hint="accept its terms on the hub, then set HF_TOKEN",
        ) from error
    except Exception as error:  # the hub's clients raise their transport's errors, which vary
        offline = " (offline mode is on)" if os.environ.get("HF_HUB_OFFLINE") else ""
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DatasetError(
            f"{task.name}: cannot load {dataset.repo} from the hub{offline}: {reason}",
            hint=f"HF_ENDPOINT=<mirror>, or a local copy: --data-dir DIR with DIR/{task.name}",
        ) from error
    return table, commit


def _resolve(repo: str, revision: str | None) -> str | None:
    """The commit that a revision means today, or None where the hub does not say.

    A cached copy can be read without the hub, so a failure here is not one of the run: the commit
    is then recorded as unknown, and the items' own fingerprint decides what was seen."""
    from huggingface_hub import HfApi

    if os.environ.get("HF_HUB_OFFLINE"):
        return None
    try:
        return HfApi().dataset_info(repo, revision=revision, timeout=10).sha
    except Exception:  # transport errors vary with the hub client's version
        return None

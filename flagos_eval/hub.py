"""Datasets in the shape of the Hugging Face hub: from the hub, its cache, a mirror, or a folder.

A folder may be a clone of the dataset's repository, what ``flagos-eval fetch --to`` wrote, or what
``modelscope download`` left. Images stay encoded: decoding and encoding again would alter them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .errors import DatasetError
from .task import HubDataset

_MODELSCOPE_MARKS = (".msc", ".mv", ".mdl")
"""Files that ModelScope's downloader leaves."""
FETCHED = "fetched.json"
"""In a folder that ``flagos-eval fetch --to`` wrote: where the tables came from."""


def open_tables(
    task: str, dataset: HubDataset, revision: str | None, split: str
) -> tuple[list[Any], str | None]:
    """(a table per configuration, the commit that the revision resolved to), images encoded.

    Raises:
        DatasetError: unreachable, gated, offline without a copy, or without the split; says what to
            do next.
    """
    import datasets
    from huggingface_hub import errors as hub

    datasets.disable_progress_bars()
    wanted = revision or dataset.revision
    commit = _resolve(dataset.repo, wanted)
    tables = []
    for config in dataset.configs or (None,):
        try:
            table = datasets.load_dataset(
                dataset.repo, config, split=split, revision=commit or wanted
            )
        except hub.GatedRepoError as error:
            raise DatasetError(
                f"{task}: {dataset.repo} is gated, and this account has no access",
                hint=f"accept its terms at https://huggingface.co/datasets/{dataset.repo}, "
                "then set HF_TOKEN",
            ) from error
        except Exception as error:  # the hub's clients raise their transport's errors, which vary
            offline = " (offline mode is on)" if os.environ.get("HF_HUB_OFFLINE") else ""
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise DatasetError(
                f"{task}: cannot load {dataset.repo} from the hub{offline}: {reason}",
                hint=how_to_copy(task, dataset),
            ) from error
        tables.append(_encoded(table))
    return tables, commit


def how_to_copy(task: str, dataset: HubDataset) -> str:
    """The next step of someone who cannot reach the hub from here."""
    steps = [
        f"on a machine with network: flagos-eval fetch --tasks {task} --to DIR",
        "then here: --data-dir DIR",
    ]
    if dataset.modelscope:
        download = f"modelscope download --dataset {dataset.modelscope} --local_dir DIR/{task}"
        steps.append(f"or {download}")
    return "; ".join([*steps, "or HF_ENDPOINT=<mirror>"])


def is_hub_layout(folder: Path) -> bool:
    """Whether a folder holds parquet files."""
    return next(folder.rglob("*.parquet"), None) is not None


def is_modelscope(folder: Path) -> bool:
    """Whether ModelScope's downloader wrote the folder."""
    return any((folder / name).exists() for name in _MODELSCOPE_MARKS)


def fetched_revision(folder: Path) -> str | None:
    """The commit that a fetched copy was made of; None for any other folder."""
    try:
        note = json.loads((folder / FETCHED).read_text(encoding="utf-8"))
        revision = note["revision"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return revision if isinstance(revision, str) else None


def read_tables(task: str, dataset: HubDataset, folder: Path, split: str) -> list[Any]:
    """A table per configuration out of a folder's parquet files.

    Raises:
        DatasetError: a configuration or the split is not there, or a file is damaged.
    """
    import datasets

    datasets.disable_progress_bars()
    tables = []
    for paths in files(task, dataset, folder, split):
        try:
            names = [str(path) for path in paths]
            table = datasets.load_dataset("parquet", data_files=names, split="train")
        except Exception as error:  # pyarrow and datasets each have errors of their own
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise DatasetError(f"{task}: cannot read {paths[0]}: {reason}") from error
        tables.append(_encoded(table))
    return tables


def files(task: str, dataset: HubDataset, folder: Path, split: str) -> list[list[Path]]:
    """A folder's parquet files of each configuration.

    Raises:
        DatasetError: a configuration or the split is not there.
    """
    found = []
    for config in dataset.configs or (None,):
        paths = _parquet(folder, config, split)
        if not paths:
            what = f"split {split!r}" + (f" of configuration {config!r}" if config else "")
            raise DatasetError(
                f"{task}: {folder} has no parquet file of {what}", hint=how_to_copy(task, dataset)
            )
        found.append(paths)
    return found


def _parquet(folder: Path, config: str | None, split: str) -> list[Path]:
    """The files of a configuration and split, in order: ``CONFIG/SPLIT-*.parquet``, or in
    ``data/`` where there is one configuration."""
    places = [folder / config, folder / "data" / config] if config else [folder / "data", folder]
    for place in places:
        files = sorted(
            path
            for path in place.glob("*.parquet")
            if path.stem == split or path.stem.startswith((f"{split}-", f"{split}_"))
        )
        if files:
            return files
    # Some repositories have one file a configuration at their top, named as its only split.
    single = folder / f"{split}.parquet"
    return [single] if config == split and single.is_file() else []


def _encoded(table: Any) -> Any:
    import datasets

    for name, feature in table.features.items():
        if isinstance(feature, datasets.Image):
            table = table.cast_column(name, datasets.Image(decode=False))
    return table


def refetcher(table: Any, index: int) -> Callable[[str], bytes]:
    """Reads the bytes of one row's image field again."""

    def refetch(field: str) -> bytes:
        held = table[index][field]["bytes"]
        assert isinstance(held, bytes)
        return held

    return refetch


def check_fields(task: str, dataset: HubDataset, row: Mapping[str, Any]) -> None:
    """Raise `DatasetError` if a row lacks a field: the schema has changed."""
    missing = [name for name in dataset.fields if name not in row]
    if missing:
        raise DatasetError(
            f"{task}: the data has no field {', '.join(missing)}; it has {', '.join(row)}",
            hint="the dataset changed its schema: pin a revision with --revision, or report it",
        )


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

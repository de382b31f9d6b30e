"""Which weights a server is given: found, fetched, and fingerprinted by content.

``--model`` is a folder, an id of the Hugging Face hub (``ORG/NAME``, ``ORG/NAME@REVISION``) or of
ModelScope (``modelscope:ORG/NAME``). What is fetched is served from the folder it came to, so that
the fingerprint is of what is served.

The fingerprint covers configuration, tokenizer, chat template, image-processor settings, the index
of the weights and any code, whole; files of weights themselves by a sample, which takes
milliseconds instead of minutes for hundreds of gigabytes: size, the head with every tensor's name,
type and place, and 64 blocks spread evenly. Other weights of the same shape differ in all of
them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .errors import FileError, UsageError
from .records import Weights, canonical_json, sha256_hex

_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_WHOLE = 8 * 2**20
"""Bytes up to which a file of weights is hashed whole."""
_HEAD, _BLOCK, _BLOCKS = 4 * 2**20, 16_384, 64
SAMPLED = " (sampled)"
"""After the name of a file that was hashed by a sample."""

Kind = Literal["config", "tokenizer", "template", "processor", "weights", "code"]
_KINDS: tuple[tuple[Kind, str], ...] = (
    ("template", r"chat_template.*|chat_templates/.*"),
    ("processor", r"(?:video_)?(?:pre)?processor_config\.json|image_processor.*\.json"),
    (
        "tokenizer",
        r"tokenizer.*|vocab\..*|merges\.txt|special_tokens_map\.json|added_tokens\.json"
        r"|tekken\.json|.*\.tiktoken|spiece\.model|sentencepiece.*\.model",
    ),
    ("weights", r".*\.index\.json|.*\.safetensors|pytorch_model.*\.bin|consolidated.*\.pth"),
    ("weights", r".*\.gguf|quant\w*_config\.json|hf_quant_config\.json"),
    ("config", r"config\.json|generation_config\.json|params\.json"),
    ("code", r".*\.py"),
)
_BULK = (".safetensors", ".bin", ".pth", ".gguf")
_LEFT_OUT = ["*.onnx", "*.gguf", "*.h5", "*.msgpack", "*.tflite", "original/*"]
"""Of a hub's repository: weights in formats that are not served."""


@dataclass(frozen=True)
class Source:
    """What ``--model`` names."""

    origin: Literal["folder", "hub", "modelscope"]
    name: str
    """A path, or ``ORG/NAME``."""
    revision: str | None = None


@dataclass(frozen=True)
class Local:
    """Weights on this machine."""

    folder: Path
    served_name: str
    """What to serve them as: the same for a folder and for the hub that it came from."""
    source: str
    """Where they are from, as a run file states it."""


def parse(model: str) -> Source:
    """What ``--model`` names.

    Raises:
        UsageError: it is no folder of this machine and no id.
    """
    prefix, colon, rest = model.partition(":")
    if colon and prefix in ("modelscope", "hub"):
        name, _, revision = rest.partition("@")
        if not _ID.fullmatch(name):
            raise UsageError(f"{model!r} is no id", hint=f"--model {prefix}:ORG/NAME")
        return Source("modelscope" if prefix == "modelscope" else "hub", name, revision or None)
    if model and Path(model).expanduser().exists():
        return Source("folder", str(Path(model).expanduser()))
    name, _, revision = model.partition("@")
    if _ID.fullmatch(name) and not model.startswith((".", "/", "~")):
        return Source("hub", name, revision or None)
    raise UsageError(
        f"there are no weights at {model}",
        hint="--model FOLDER, ORG/NAME of the hub, or modelscope:ORG/NAME",
    )


def short_name(model: str) -> str | None:
    """What weights of a hub are served as; None for a folder, which has its own name."""
    try:
        source = parse(model)
    except UsageError:
        return None
    return None if source.origin == "folder" else source.name.rpartition("/")[2]


def fetch(model: str, tell: Callable[[str], None]) -> Local:
    """The weights on this machine, downloaded if need be.

    Raises:
        UsageError: no such weights, or a tool for them is missing.
        FileError: they cannot be fetched.
    """
    source = parse(model)
    short = source.name.rstrip("/").rpartition("/")[2]
    if source.origin == "folder":
        folder = Path(source.name).absolute()
        return Local(folder, folder.name, str(folder))
    tell(f"fetching {source.name} from {source.origin} unless it is here")
    if source.origin == "hub":
        folder = _from_hub(source)
        # The cache names a snapshot's folder after its commit.
        commit = folder.name if re.fullmatch(r"[0-9a-f]{40}", folder.name) else source.revision
        return Local(folder, short, f"{source.name}@{commit}" if commit else source.name)
    folder = _from_modelscope(source)
    stated = f"modelscope:{source.name}" + (f"@{source.revision}" if source.revision else "")
    return Local(folder, short, stated)


def _from_hub(source: Source) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(source.name, revision=source.revision, ignore_patterns=_LEFT_OUT)
        )
    except Exception as error:  # the client raises its transport's errors, which vary
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FileError(
            f"cannot fetch {source.name} from the hub: {reason[:300]}",
            hint="set HF_TOKEN for gated weights; HF_ENDPOINT=<mirror>; or take them from "
            f"ModelScope: --model modelscope:{source.name}",
        ) from error


def _from_modelscope(source: Source) -> Path:
    if shutil.which("modelscope") is None:
        raise UsageError(
            "weights of ModelScope need its command",
            hint="pip install modelscope, or name a folder",
        )
    cache = Path(os.environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope").expanduser()
    name = f"{source.name}@{source.revision}" if source.revision else source.name
    folder = cache / "flagos-eval" / name
    command = ["modelscope", "download", "--model", source.name, "--local_dir", str(folder)]
    if source.revision:
        command += ["--revision", source.revision]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise FileError(
            f"modelscope cannot fetch {source.name}: {lines[-1][:300] if lines else 'no reason'}",
            hint=" ".join(command),
        )
    return folder


# --- Fingerprint ----------------------------------------------------------------------------------


def kind(name: str) -> Kind | None:
    """What a file of a model's folder is; None if it decides nothing."""
    plain = name.removesuffix(SAMPLED)
    return next((found for found, pattern in _KINDS if re.fullmatch(pattern, plain)), None)


def fingerprint(local: Local) -> Weights | None:
    """Content hashes of everything that decides what is served; None if there is no such file.

    JSON is hashed by what it says, not by how it is laid out.

    Raises:
        FileError: a file cannot be read.
    """
    files: dict[str, str] = {}
    for path in _files(local.folder):
        name = str(path.relative_to(local.folder)) if local.folder.is_dir() else path.name
        if kind(name) is None:
            continue
        try:
            bulky = path.suffix in _BULK and path.stat().st_size > _WHOLE
            files[name + SAMPLED if bulky else name] = _sampled(path) if bulky else _content(path)
        except OSError as error:
            raise FileError(f"cannot read {path}: {error.strerror}") from error
    if not files:
        return None
    found = dict(sorted(files.items()))
    return Weights(source=local.source, fingerprint=sha256_hex(canonical_json(found)), files=found)


def _files(folder: Path) -> list[Path]:
    """Files of the model, and one level below; a file that is named itself."""
    if folder.is_file():
        return [folder]
    found = [*folder.glob("*"), *folder.glob("*/*")]
    hidden = [p for p in found if any(x.startswith(".") for x in p.relative_to(folder).parts)]
    return sorted(p for p in found if p.is_file() and p not in set(hidden))


def _content(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".json":
        try:
            return sha256_hex(canonical_json(json.loads(data)))
        except (ValueError, RecursionError):
            return sha256_hex(data)  # not what its name says; the bytes are all there is
    return sha256_hex(data)


def _sampled(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(size.to_bytes(8, "little"))
    with path.open("rb") as data:
        digest.update(data.read(_HEAD))
        for number in range(1, _BLOCKS + 1):
            data.seek(max(0, size * number // _BLOCKS - _BLOCK))
            digest.update(data.read(_BLOCK))
    return digest.hexdigest()


# --- Completeness ---------------------------------------------------------------------------------


def problems(folder: Path) -> list[str]:
    """What is missing or cut in a folder of weights; empty if it can be served."""
    if folder.is_file():
        return []
    if not folder.is_dir():
        return [f"there is no folder {folder}"]
    found = []
    if not any((folder / name).is_file() for name in ("config.json", "params.json")):
        found.append("no config.json")
    shards = [p for p in sorted(folder.glob("*")) if p.suffix in _BULK and p.is_file()]
    named: set[str] = set()
    for index in sorted(folder.glob("*.index.json")):
        named |= _named(index)
    missing = sorted(name for name in named if not _is_file(folder / name))
    if missing:
        found.append(f"{len(missing)} of {len(named)} files are missing; first: {missing[0]}")
    if not shards and not missing:
        found.append("no weights (*.safetensors, *.bin)")
    found += [f"{path.name} is cut" for path in shards if not _whole(path)]
    partial = [*folder.glob("*.incomplete"), *folder.glob("._____temp"), *folder.glob("*.aria2")]
    if partial:
        found.append(f"a download was not finished ({partial[0].name})")
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


def _named(index: Path) -> set[str]:
    try:
        table: Any = json.loads(index.read_bytes())["weight_map"]
        return {str(name) for name in table.values()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return {f"(of {index.name}, which cannot be read)"}


_MOST_HEAD = 100_000_000
"""Bytes of a safetensors file's head, as its own library has it."""


def _whole(path: Path) -> bool:
    """Whether a file has the length that its head states; other formats are taken as they are."""
    if path.suffix != ".safetensors":
        return path.stat().st_size > 0
    try:
        with path.open("rb") as data:
            length = int.from_bytes(data.read(8), "little")
            head: dict[str, Any] = json.loads(data.read(min(length, _MOST_HEAD)))
        ends = [entry["data_offsets"][1] for name, entry in head.items() if name != "__metadata__"]
        return path.stat().st_size == 8 + length + max(ends, default=0)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return False

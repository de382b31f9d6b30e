"""What was asked: the files beside a run, its items, and every request's hash."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from .. import prompt, samples
from ..errors import CorruptFile, FileError, FlagosEvalError
from ..records import Response, Run, Sample, StoredFile, TaskRecord, canonical_json, sha256_hex
from ..task import Prompt, Task
from .ledger import Ledger

MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError, FlagosEvalError)
"""What a benchmark's rule raises at an item that it did not make itself."""
_MAX_BYTES = 8 * 2**30


@dataclass(frozen=True)
class Part:
    """One task of a run that can be computed again."""

    run: Run
    record: TaskRecord
    task: Task
    """As it is installed."""
    items: list[Sample]
    """In the order of the record."""

    def place(self, sample_id: str, repeat: int) -> str:
        """An answer's name: task, item, and which pass where there are several."""
        several = self.record.repeats > 1
        return f"{self.record.name} {sample_id}" + (f" pass {repeat + 1}" if several else "")


def check_files(ledger: Ledger, run: Run, path: Path) -> set[str]:
    """Compare every file that belongs to the run with its hash; the names of those that hold."""
    found: set[str] = set()
    for file in run.files:
        try:
            samples.read_stored(path, file)
        except CorruptFile as error:
            ledger.wrong(f"file {file.path}", file.sha256, error.message)
        except FileError as error:
            ledger.absent.append(error.message)
        else:
            found.add(file.path)
    if found:
        ledger.checked.append(f"{len(found)} {'file' if len(found) == 1 else 'files'} beside it")
    return found


def items(
    ledger: Ledger, run: Run, path: Path, record: TaskRecord, whole: set[str]
) -> list[Sample] | None:
    """A task's items out of its samples, compared with what the run says of them; None where they
    are not at hand or not those of the run."""
    fingerprint = sha256_hex(canonical_json([[i.id, i.content_hash] for i in record.expected]))
    ledger.same(f"{record.name}: dataset.fingerprint", record.dataset.fingerprint, fingerprint)
    ledger.same(f"{record.name}: dataset.n", record.dataset.n, len(record.expected))
    held = [file for file in run.files if file.kind == "samples" and file.task == record.name]
    if not held:
        ledger.unchecked.append(f"{record.name}: the run has no samples of it")
        return None
    if held[0].path not in whole:
        return None  # said already
    try:
        stored = samples.read(run, path, record.name)
    except CorruptFile as error:
        ledger.wrong(f"{record.name}: samples", "the run's items", error.message)
        return None
    for item in record.expected:
        sample = stored[item.id].sample
        for name in ("group", "cluster", "source_id"):
            said = getattr(item, name)
            if said is not None:  # earlier versions did not say
                ledger.same(f"{record.name} {item.id}: {name}", said, getattr(sample, name))
    ledger.checked.append(f"{len(record.expected)} items of {record.name}")
    return [stored[item.id].sample for item in record.expected]


def check_settings(ledger: Ledger, run: Run, record: TaskRecord) -> None:
    """Whether a task was asked as the run's settings say."""
    asked: dict[str, JsonValue] = {"repeat": record.repeats, "prompt": record.prompt}
    if record.sampling is not None:
        asked |= record.sampling.model_dump()
    for name, value in asked.items():
        setting = run.settings.get(name)
        if setting is not None and setting.value is not None:  # None: the benchmark's own
            ledger.same(f"{record.name}: {name}", setting.value, value)


def check_requests(ledger: Ledger, part: Part) -> None:
    """Build every request again, and compare its hash."""
    record, sampling = part.record, part.record.sampling
    installed = {p.name: p for p in part.task.prompts}.get(record.prompt or "")
    why = _why_not(part, installed)
    if why is not None or installed is None or sampling is None:
        ledger.unchecked.append(f"{record.name}: requests ({why})")
        return
    limits, known = _limits(part.run), 0
    for sample, item in zip(part.items, record.expected, strict=True):
        for repeat, said in enumerate(item.request_hashes):
            if said is None:
                continue
            found: str
            try:
                found = prompt.request(
                    sample, installed, sampling, repeat=repeat, mm_processor_kwargs=limits
                ).hash
            except MALFORMED as error:
                found = f"cannot be built ({type(error).__name__})"
            ledger.same(f"{part.place(item.id, repeat)}: request hash", said, found)
            known += 1
    ledger.checked.append(f"{known} requests of {record.name}")


def _why_not(part: Part, installed: Prompt | None) -> str | None:
    """Why the requests cannot be built again; None if they can."""
    record = part.record
    if record.prompt is None or record.sampling is None:
        return "it was made elsewhere, and what was asked is not known"
    if installed is None or installed.version != record.prompt_version:
        here = f"v{installed.version}" if installed else "none of that name"
        return f"asked by prompt {record.prompt} v{record.prompt_version}, installed is {here}"
    if any(sample.withheld for sample in part.items):
        return "the texts were withheld"
    if any(image.absent for sample in part.items for image in sample.images):
        return "images were not at hand"
    return None


def _limits(run: Run) -> dict[str, JsonValue]:
    """The image limits of the requests, as they were planned."""
    held = {name: run.settings.get(name) for name in ("max_pixels", "min_pixels")}
    return {
        name: setting.value
        for name, setting in held.items()
        if setting is not None and setting.value is not None
    }


# --- Log-probabilities ----------------------------------------------------------------------------


def check_logprobs(ledger: Ledger, run: Run, path: Path, whole: set[str]) -> None:
    """Whether every line that an answer names is the line of that answer."""
    kept = [file for file in run.files if file.kind == "logprobs"]
    named: dict[int, list[Response]] = {}
    for response in run.responses:
        if response.logprobs_line is not None:
            named.setdefault(response.logprobs_line, []).append(response)
    if kept and kept[0].path not in whole:
        return  # said already
    for number, line in enumerate(_lines(path, kept[0])) if kept else ():
        owner = _owner(line) if number in named else None
        for response in named.pop(number, ()):
            mine: JsonValue = [response.task, response.sample_id, response.repeat]
            ledger.same(f"{response.task} {response.sample_id}: log-probabilities", mine, owner)
    for number, responses in named.items():
        for response in responses:
            where = f"{response.task} {response.sample_id}: logprobs_line"
            ledger.wrong(where, number, "there is no such line")
    if kept:
        ledger.checked.append("log-probabilities")


def _lines(path: Path, file: StoredFile) -> Iterator[bytes]:
    data = samples.read_stored(path, file)
    read = 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as unpacked:
            for line in unpacked:
                read += len(line)
                if read > _MAX_BYTES:
                    raise CorruptFile(f"{file.path} holds more than {_MAX_BYTES} bytes")
                yield line
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptFile(f"{file.path} is damaged ({error})") from error


def _owner(line: bytes) -> JsonValue:
    try:
        entry = json.loads(line)
        return [entry["task"], entry["sample_id"], entry["repeat"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "a damaged line"

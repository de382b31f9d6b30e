"""The parsers of what strangers write: valid inputs of each, and how it is called.

`TARGETS` is also the table of ``docs/security.md``."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import standins
import test_importers as foreign

from flagos_eval import (
    answers,
    arms_file,
    comparison_file,
    hub,
    mmmu_rows,
    policy,
    reply,
    signing,
    store,
)
from flagos_eval.cards import files as cards
from flagos_eval.operators import evidence, installed
from flagos_eval.platforms import _software

from .calls import (
    put,
    read_cached,
    read_compared,
    read_data,
    read_flagevalmm,
    read_inspected,
    read_lmms,
    read_logged,
    read_logprobs,
    read_math,
    read_operators,
    read_page,
    read_picture,
    read_pictures,
    read_resumed,
    read_samples,
    read_samples_packed,
    read_scored,
    read_settings,
    read_stated,
    read_tool,
    read_weights,
)
from .seeds import (
    ANSWERS,
    ARMS,
    CARD,
    CHAT,
    CONFIG,
    EVENTS,
    LOG,
    PAGES,
    POLICY,
    REQUEST,
    RESULTS,
    SAMPLES,
    SETTINGS,
    TOLD,
    valid_cache,
    valid_comparison,
    valid_counts,
    valid_evidence,
    valid_facts_file,
    valid_journal,
    valid_json,
    valid_lines,
    valid_pack,
    valid_runs,
    valid_signature,
    valid_texts,
    valid_traces,
    valid_unpacked,
)


@dataclass(frozen=True)
class Target:
    """One parser."""

    name: str
    input: str
    parser: str
    """The function that is called, as ``module.function`` below ``flagos_eval``."""
    writer: str
    """Who can write the input."""
    limits: str
    beyond: str
    """What happens beyond the limits, and with what is no such input."""
    seeds: Callable[[Path], Sequence[bytes]]
    """Valid inputs; the folder is empty."""
    parse: Callable[[bytes, Path], object]
    """Reads one input; the folder is its own."""
    shape: Literal["json", "lines", "text", "bytes"]
    raises: tuple[type[Exception], ...] = ()
    """What it may raise beside the project's own errors, by its documentation."""


# --- The table ------------------------------------------------------------------------------------

_HEAD = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
_TENSORS = len(_HEAD).to_bytes(8, "little") + _HEAD + b"\0\0\0\0"
_TRAVELS = "whoever sends a run"
_PEER = "the server that is asked"
_CORRUPT = "`CorruptFile` (74), with the line"

TARGETS = (
    Target(
        "run file", "a run as JSON", "store.parse", _TRAVELS,
        "2 GiB; numbers of 4300 digits; nesting as Python's own", "`CorruptFile` (74), "
        "`UsageError` (2) if it is no run, `InvalidRun` (4) if it contradicts itself",
        valid_runs, lambda data, folder: store.parse(data, folder / "x.json"), "json",
    ),
    Target(
        "run file, compared", "the same, through pairing and every report",
        "compare_files.compare_files", _TRAVELS, "as above",
        "as above, or `NotComparable` (4)", valid_runs, read_compared, "json",
    ),
    Target(
        "pack", "a zip of a run and what belongs to it", "archive.read_run", _TRAVELS,
        "2 GiB a member; each name once and in SHA256SUMS; nothing is unpacked to the disk",
        "`CorruptFile` (74), with the member", valid_pack,
        lambda data, folder: store.load(put(data, folder / "x.zip")), "bytes",
    ),
    Target(
        "samples", "questions beside a run, as packed JSON lines", "samples.read", _TRAVELS,
        "2 GiB unpacked; inside the run's folder, links followed; the run's hashes", _CORRUPT,
        lambda folder: valid_unpacked(folder, "samples"), read_samples, "lines",
    ),
    Target(
        "samples, packed", "the same, as compressed bytes", "samples.read", _TRAVELS,
        "as above", "`CorruptFile` (74)",
        lambda folder: [gzip.compress(valid_unpacked(folder, "samples")[0])],
        read_samples_packed, "bytes",
    ),
    Target(
        "log-probabilities", "answers token by token beside a run", "logprobs.read", _TRAVELS,
        "8 GiB unpacked, read line by line", _CORRUPT, valid_traces, read_logprobs, "lines",
    ),
    Target(
        "comparison", "the JSON of `report`", "comparison_file.parse", _TRAVELS, "256 MiB",
        "`CorruptFile` (74), `UsageError` (2), `InvalidRun` (4)", valid_comparison,
        lambda data, folder: comparison_file.parse(data, folder / "x.json"), "json",
    ),
    Target(
        "signature", "the JSON of `sign`", "signing.parse", _TRAVELS, "1 MiB",
        "`CorruptFile` (74), `InvalidRun` (4)", valid_signature,
        lambda data, folder: signing.parse(data, folder / "x.signed.json"), "json",
    ),
    Target(
        "facts", "what `facts` wrote elsewhere", "facts.load", "who runs the server", "64 MiB",
        "`CorruptFile` (74), `UsageError` (2)", valid_facts_file,
        read_stated, "json",
    ),
    Target(
        "journal", "answers of a run in progress", "journal.open_journal",
        "who can write to the output's folder", "a checksum a line; a torn last line is cut off",
        _CORRUPT, valid_journal, read_resumed, "lines",
    ),
    Target(
        "judge's cache", "replies of judges", "judge_cache.open_cache",
        "who can write to the output's folder", "a torn last line is cut off", _CORRUPT,
        valid_cache, read_cached, "lines",
    ),
    Target(
        "policy", "tiers and margins as TOML", "policy.load", "who declares the policy", "1 MiB",
        "`FileError` (74), `UsageError` (2)", valid_texts(POLICY),
        lambda data, folder: policy.load(str(put(data, folder / "x.toml"))), "text",
    ),
    Target(
        "settings", "`--config` as TOML", "config.read_file", "the user", "1 MiB",
        "`FileError` (74), `UsageError` (2)", valid_texts(SETTINGS), read_settings, "text",
    ),
    Target(
        "arms", "several servers as TOML", "arms_file.read", "the user", "1 MiB",
        "`FileError` (74), `UsageError` (2)", valid_texts(ARMS),
        lambda data, folder: arms_file.read(put(data, folder / "x.toml")), "text",
    ),
    Target(
        "release card", "a table in Markdown or CSV", "cards.files.compare_tables",
        "whoever publishes a card", "1 MiB, 200 rows, 12 columns, 200 characters a cell",
        "`FileError`, `CorruptFile` (74), `UsageError` (2)",
        valid_texts(CARD, "Metrics;CUDA;MetaX\nmmmu;54,1;53.9\nblink;60;61\n", "a,b,c\nx,1,2\n"),
        lambda data, folder: cards.compare_tables(
            [str(put(data, folder / "card.md"))], policy_name="default", tasks=()
        ),
        "text",
    ),
    Target(
        "answers", "`score --responses`, JSON lines", "answers.read_responses",
        "whoever made the answers", "2 GiB; 10,000 passes", "`FileError` (74), `UsageError` (2)",
        valid_lines([
            {"id": "1", "text": "A", "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
            {"id": 2, "error": "timeout", "repeat": 1, "finish_reason": "stop"},
        ]),
        lambda data, folder: answers.read_responses(put(data, folder / "x.jsonl")), "lines",
    ),
    Target(
        "FlagEvalMM's answers", "a folder of its results", "importers.flagevalmm.read",
        "whoever ran it", "2 GiB a file", "`CorruptFile` (74), `UsageError` (2)",
        valid_json(foreign.THREE, [foreign.entry(1, {"inference_0": "1", "inference_1": "2"})]),
        read_flagevalmm("math_vision_test.json"), "json",
    ),
    Target(
        "FlagEvalMM's settings", "`task_info.json`", "importers.flagevalmm.read",
        "whoever ran it", "2 GiB", "`CorruptFile` (74)",
        valid_json({"model_name": "x", "execute_cmd": "a --b c", "extra_args": ["-x"]}),
        read_flagevalmm("task_info.json"), "json",
    ),
    Target(
        "FlagEvalMM's verdicts", "`TASK_evaluated.json`", "importers.flagevalmm.read",
        "whoever ran it", "2 GiB", "`CorruptFile` (74)",
        valid_json([{"question_id": "1", "raw_answer": "x", "answer": "1", "correct": True}]),
        read_flagevalmm("math_vision_test_evaluated.json"), "json",
    ),
    Target(
        "lmms-eval's samples", "its JSON lines", "importers.lmms_eval.read", "whoever ran it",
        "2 GiB a file", _CORRUPT, valid_lines(foreign.LINES), read_lmms(SAMPLES), "lines",
    ),
    Target(
        "lmms-eval's results", "`DATE_results.json`", "importers.lmms_eval.read",
        "whoever ran it", "2 GiB", "`CorruptFile` (74)", valid_json(CONFIG),
        read_lmms(RESULTS), "json",
    ),
    Target(
        "chat completion", "a server's reply to a question", "reply.parse_reply", _PEER,
        "32 MiB; counts up to 2^53", "a failed attempt of kind `invalid_reply`, on record",
        valid_json(CHAT, TOLD), lambda data, folder: reply.parse_reply(data), "json",
        (reply.InvalidReply,),
    ),
    *(
        Target(
            f"server's {path}", "a page that describes a server", "server.Server.identity", _PEER,
            "8 MiB; a time for the whole page", "`ServerUnreachable` (74), `ServerRefused` (2), or "
            "not known", valid_texts(PAGES[path]), read_page(path),
            "text" if path == "/metrics" else "json",
        )
        for path in PAGES
    ),
    Target(
        "answer", "a model's text, through every scorer and a judge's reply through every reader",
        "scoring", "the model", "linear rules; mathematics: 2000 tokens, depth 40, 400 digits",
        "unparsed, or wrong: nothing is raised", valid_texts(*ANSWERS), read_scored, "text",
    ),
    Target(
        "formula", "two formulas that may be equal", "scoring.math.equal", "the model",
        "2000 tokens, depth 40, 400 digits, 8192 bits", "not equal: nothing is raised",
        valid_texts("\\frac{1}{2}|0.5", "2^{10}|1024", "\\sqrt{2}\\pi, 3|3, x", "5!|120"),
        read_math, "text",
    ),
    Target(
        "picture", "an image of a dataset", "images.ImageBank.add", "who made the dataset",
        "64 MiB; 89 million pixels; PNG, JPEG, WebP, GIF, BMP, TIFF",
        "`DatasetError` (74), with the row", read_pictures, read_picture, "bytes",
    ),
    Target(
        "rows", "a benchmark's own JSON (here: OCRBench)", "dataset.load", "who made the dataset",
        "the number of items; paths inside the data folder", "`DatasetError` (74), with the row",
        valid_json([{
            **{"dataset_name": "IIIT5K", "question": "q?", "type": "Regular", "answers": ["A"]},
            "image_path": "a.png",
        }]),
        read_data("ocrlite", "OCRBench.json"), "json",
    ),
    Target(
        "rows, by line", "a benchmark's JSON lines (here: MathVision)", "dataset.load",
        "who made the dataset", "as above", "`DatasetError` (74), with the row",
        valid_lines(foreign.ROWS), read_data("mathvision", "data/test.jsonl"), "lines",
    ),
    Target(
        "options", "a Python list in a field of MMMU", "mmmu_rows.parse_options",
        "who made the dataset", "20,000 characters; a literal, never run",
        "`DatasetError` (74), with the row", valid_texts("['a', 'b']", "[['a'], 'b', 1.5]"),
        lambda data, folder: mmmu_rows.parse_options(data.decode("utf-8", "replace")), "text",
        (ValueError,),
    ),
    Target(
        "copy's note", "`fetched.json` of a folder of data", "hub.fetched_revision",
        "who made the copy", "-", "not known", valid_json({"revision": "a" * 40, "dataset": "x/y"}),
        lambda data, folder: hub.fetched_revision(put(data, folder / hub.FETCHED).parent), "json",
    ),
    *(
        Target(
            f"weights: {name}", "what says which files a model has", "weights.problems",
            "who made the weights", "100 MB of a head", "told as incomplete", seeds,
            read_weights(name), shape,
        )
        for name, seeds, shape in (
            ("model.safetensors.index.json",
             valid_json({"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}), "json"),
            ("model.safetensors", lambda folder: [_TENSORS], "bytes"),
            ("config.json", valid_json({"model_type": "x", "n": [1, 2.5]}), "json"),
        )
    ),
    Target(
        "operators: counts", "a server's counts, mapped into memory",
        "operators.evidence.of_folder", _PEER, "1024 operators",
        "an event `damaged`, which makes the run invalid", valid_counts,
        read_operators("7.counts"), "bytes",
    ),
    Target(
        "operators: events", "what a server's process wrote down", "operators.evidence.of_folder",
        _PEER, "-", "`CorruptFile` (74), or an event `damaged`", valid_lines(EVENTS),
        read_operators("8.jsonl"), "lines",
    ),
    Target(
        "operators: request", "what was asked of a server", "operators.evidence.of_folder", _PEER,
        "-", "`CorruptFile` (74)", valid_json(REQUEST), read_operators("request.json"), "json",
    ),
    Target(
        "operators: record", "the file beside a run", "operators.evidence.read", _TRAVELS,
        "the run's hash", "`CorruptFile` (74)", valid_evidence,
        lambda data, folder: evidence.read(data, "x.jsonl", (0,)), "lines",
    ),
    Target(
        "server's log", "what a started server printed", "launchers._log.cause", _PEER,
        "its last 4 MiB", "not known", valid_texts(LOG), read_logged, "text",
    ),
    Target(
        "vendor's tool", "what `nvidia-smi` and the like print", "platforms._tool.ToolPlatform",
        "the machine's vendor", "5 s", "not known",
        valid_texts(standins.NVIDIA_SMI, standins.MX_SMI, standins.NPU_SMI), read_tool, "text",
    ),
    Target(
        "docker's words", "`docker inspect`", "launchers._docker.described", "who made the image",
        "120 s", "`ServerStartFailed` (74)",
        valid_json([{"Id": "sha256:1", "RepoDigests": ["a@b"]}]),
        read_inspected, "json",
    ),
    Target(
        "versions", "what an interpreter says it has", "platforms._software.parse",
        "who made the server's image", "60 s", "not known",
        valid_texts('hello\nFLAGOS_EVAL {"torch": "2.5", "vllm": "0.8"}\n'),
        lambda data, folder: _software.parse(data.decode("utf-8", "replace")), "text",
    ),
    Target(
        "operators there", "what an interpreter says of FlagGems", "operators.installed.parse",
        "who made the server's image", "60 s", "not known",
        valid_texts(installed.MARK + '{"version": "5.0", "operators": [["mm", "mm"]], '
                    '"plugin": null, "left_out": {"metax": ["exp"]}}\n'),
        lambda data, folder: installed.parse(data.decode("utf-8", "replace")), "text",
    ),
)  # fmt: skip

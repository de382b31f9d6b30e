"""Inputs that were once defects, by target, each with what it did."""

from __future__ import annotations

from .seeds import PAGES

_EPOCH = b'{"epoch":{"index":0}}\n'
_HEADER = b'{"journal":1,"run_id":"r","started_at":"2026-01-02T03:04:05Z","identity":%s}\n'
_RESPONSE = b'{"response":{"task":"a","sample_id":"1","order":0,"text":"A","request_hash":null}}\n'
_ASKED = b'{"selection":%s,"how":"vllm","enable":"only","names":%s,"workers":1,"allowed":["mm"]}'

FOUND: dict[str, dict[str, bytes]] = {
    "journal": {
        "settings that are a list": _HEADER % b"[]" + _RESPONSE,
        "settings that are none": _HEADER % b"null" + _RESPONSE,
    },
    "log-probabilities": {
        "a number that no float holds": b'{"tokens": [["a", 1%s, []]]}\n' % (b"0" * 400),
        "no number": b'{"tokens": [["a", NaN, []]]}\n',
    },
    "policy": {
        "a number of 5000 digits": b"policy = " + b"9" * 5000,
        "nested too deep": b"a = " + b"[" * 5000,
    },
    "settings": {
        "a number of 5000 digits": b"seed = " + b"9" * 5000,
        "nested too deep": b"tasks = " + b"[" * 5000,
    },
    "rows, by line": {"bytes that are no text": b'\x1f\x8b{"id": "1"}\n'},
    "rows": {"nested too deep": b"[" * 100_000 + b"]" * 100_000},
    "copy's note": {"nested too deep": b"[" * 100_000},
    "docker's words": {"nested too deep": b"[" * 100_000},
    "versions": {"no JSON after the mark": b'FLAGOS_EVAL {"torch": "2.5\n'},
    "operators there": {
        "nothing after the mark": b"FLAGOS_EVAL_FLAG_GEMS \n",
        "a list": b"FLAGOS_EVAL_FLAG_GEMS []\n",
    },
    "operators: events": {
        "no module": b'{"event": "operator", "name": "mm", "direct": true}\n',
        "a module that is none": (
            b'{"event": "operator", "module": null, "name": "mm", "direct": true}\n'
        ),
    },
    "operators: request": {
        "a name that is none": _ASKED % (b'"only:mm"', b"[null]"),
        "no names": _ASKED % (b'"only:mm"', b"null"),
        "no selection": _ASKED % (b"null", b'["mm"]'),
    },
    "weights: model.safetensors.index.json": {
        "a name that is too long": b'{"weight_map": {"a": "%s"}}' % (b"x" * 5000),
    },
    "server's log": {
        # Of quadratic time: a minute for a line of a megabyte.
        "a long line": b"x" * 2**20 + b"\n" + b"Initializing an engine " * 30_000,
        "a long line of pythons": b"python" * 150_000 + b"\nFree memory on device " * 2,
    },
    "server's /metrics": {"a long line": b"a" * 2**20 + b"{" * 2**20 + PAGES["/metrics"].encode()},
}

"""What a server says about itself over plain HTTP: health, version, models, metrics.

These are no model calls, so they do not go through the client. Everything that is absent is None.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import math
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .clock import utc_now
from .counting import UNANSWERED
from .errors import ServerRefused, ServerUnreachable, UsageError
from .records import Counts, Reading
from .redact import HIDDEN, redact_command

_MAX_BYTES = 8 * 2**20
_METRIC = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})?\s+(\S+)$")
_REASON = re.compile(r'finished_reason="([^"]*)"')
_START = "process_start_time_seconds"


def check_url(url: str) -> str:
    """A base URL without its last slash, as ``http://host:8000/v1``.

    Raises:
        UsageError: not an HTTP address, or one with a user or key in it, which would reach files.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets without an end, a port that is no number
        known = False
    if not known:
        # What is before an @ may be a password, also where no scheme says so.
        shown = f"{HIDDEN}@{url.rpartition('@')[2]}" if "@" in url else url
        raise UsageError(
            f"{redact_command([shown])[0]!r} is not an address",
            hint="--base-url http://HOST:8000/v1",
        )
    if parts.username or parts.password or parts.query:
        raise UsageError(
            "the base URL holds a user, a password or a query, and it is written to the run file",
            hint="give the key in OPENAI_API_KEY",
        )
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether an address is this machine, for which no proxy must be used."""
    host = urllib.parse.urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def slug(url: str) -> str:
    """A file name for an address: ``http://10.0.0.5:8000/v1`` -> ``10.0.0.5-8000``."""
    parts = urllib.parse.urlsplit(url)
    name = parts.hostname or "server"
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"{name}-{parts.port}" if parts.port else name)


@dataclass(frozen=True)
class Model:
    """An entry of ``/v1/models``."""

    id: str
    root: str | None
    max_model_len: int | None


@dataclass(frozen=True)
class Identity:
    """What tells one server, and one start of it, from another."""

    version: str | None
    models: tuple[Model, ...]
    process_start: float | None

    def model(self, wanted: str | None, url: str) -> Model:
        """The model to ask: the one wanted, or the only one there is.

        Raises:
            ServerRefused: the server has no such model, or several and none was named.
        """
        names = ", ".join(m.id for m in self.models) or "none"
        if wanted is None:
            if len(self.models) == 1:
                return self.models[0]
            raise ServerRefused(f"{url} serves {names}: name one with --model")
        for model in self.models:
            if model.id == wanted:
                return model
        raise ServerRefused(f"{url} serves no model {wanted!r}; it serves {names}")


class Server:
    """One address."""

    def __init__(self, url: str, *, api_key: str | None = None, timeout: float = 10.0) -> None:
        self.url = check_url(url)
        self._root = self.url.removesuffix("/v1")
        self._timeout = timeout
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        handlers = [urllib.request.ProxyHandler({})] if is_loopback(url) else []
        self._opener = urllib.request.build_opener(*handlers)

    def healthy(self) -> bool:
        """Whether it answers at all: ``/health``, or the model list where a server has no such
        route."""
        for address in (f"{self._root}/health", f"{self.url}/models"):
            status, _ = self._get(address)
            if status == 200:
                return True
        return False

    def identity(self) -> Identity:
        """Version, models and start time.

        Raises:
            ServerUnreachable: nothing answers.
            ServerRefused: the key is not accepted.
        """
        status, body = self._get(f"{self.url}/models")
        if status in (401, 403):
            raise ServerRefused(
                f"{self.url} does not accept the API key", hint="set OPENAI_API_KEY"
            )
        listed = _json(body) if status == 200 else None
        entries = listed.get("data") if isinstance(listed, dict) else None
        if not isinstance(entries, list):
            found = f"HTTP {status}" if status else "no answer"
            raise ServerUnreachable(
                f"no OpenAI-compatible server at {self.url} ({found} from /models)",
                hint="is it running, and does the address end in /v1?",
            )
        version = _json(self._get(f"{self._root}/version")[1])
        named = version.get("version") if isinstance(version, dict) else None
        return Identity(
            version=named if isinstance(named, str) else None,
            models=tuple(
                _model(e) for e in entries if isinstance(e, dict) and isinstance(e.get("id"), str)
            ),
            process_start=self.metrics().get(_START),
        )

    def metrics(self) -> dict[str, float]:
        """Prometheus counters and gauges summed over their labels; empty where there are none.

        Histogram parts are left out.
        """
        found: dict[str, float] = {}
        for name, _, value in _lines(self._page() or b""):
            found[name] = found.get(name, 0.0) + value
        return found

    def reading(self) -> Reading | None:
        """The counters of requests and tokens, summed over models and engines; None where no
        metrics are served.

        vLLM 0.7 and later have them under these names; other engines have others, which are not
        guessed at.
        """
        page = self._page()
        if page is None:
            return None
        found: dict[str, float] = {}
        for name, labels, value in _lines(page):
            reason = _REASON.search(labels)
            if name != _DONE or reason is None or reason[1] not in UNANSWERED:
                found[name] = found.get(name, 0.0) + value
        return Reading(
            at=utc_now(),
            process_start=found.get(_START),
            counts=Counts(
                requests=_whole(found, _DONE),
                prompt_tokens=_whole(found, "vllm:prompt_tokens_total"),
                completion_tokens=_whole(found, "vllm:generation_tokens_total"),
            ),
            preemptions=_whole(found, "vllm:num_preemptions_total"),
            # vLLM 0.8 has the second name, later ones the first, and some both.
            prefix_hits=_whole(
                found, "vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"
            ),
            prefix_hit_rate=found.get("vllm:gpu_prefix_cache_hit_rate"),
        )

    def _page(self) -> bytes | None:
        status, body = self._get(f"{self._root}/metrics")
        return body if status == 200 else None

    def _get(self, address: str) -> tuple[int | None, bytes]:
        """(HTTP status or None, body)."""
        request = urllib.request.Request(address)  # noqa: S310 - http or https: see check_url
        for name, value in self._headers.items():
            # The key is this server's, and not for whoever a redirect leads to.
            request.add_unredirected_header(name, value)
        try:
            with self._opener.open(request, timeout=self._timeout) as reply:
                return reply.status, _read(reply, time.monotonic() + self._timeout)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, b""
        except (OSError, http.client.HTTPException, ValueError):
            return None, b""


def _read(reply: Any, deadline: float) -> bytes:
    """The body. A time-out of a socket counts the gaps between bytes; one that trickles in needs a
    total one.

    Raises:
        TimeoutError: it was not all there in time.
    """
    parts: list[bytes] = []
    left = _MAX_BYTES
    while left > 0 and (part := reply.read1(min(left, 65_536))):
        if time.monotonic() > deadline:
            raise TimeoutError("the answer trickles in")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


_DONE = "vllm:request_success_total"


def _lines(page: bytes) -> Iterator[tuple[str, str, float]]:
    """(name, labels, value) of Prometheus metrics, parts of histograms left out."""
    for line in page.decode("utf-8", "replace").splitlines():
        match = _METRIC.match(line)
        if match is None or match[1].endswith(("_bucket", "_sum", "_count", "_created")):
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue  # not a number: a comment of a dialect we do not know
        if math.isfinite(value):
            yield match[1], match[2] or "", value


def _whole(found: dict[str, float], *names: str) -> int | None:
    """The first counter of these names that there is."""
    value = next((found[name] for name in names if name in found), None)
    return None if value is None or value < 0 else round(value)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _model(entry: dict[str, Any]) -> Model:
    root, length = entry.get("root"), entry.get("max_model_len")
    return Model(
        id=entry["id"],
        root=root if isinstance(root, str) else None,
        max_model_len=length if isinstance(length, int) else None,
    )

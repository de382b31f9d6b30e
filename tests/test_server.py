"""What a server says about itself, and what its address may be."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from protocol_server import ProtocolServer

from flagos_eval.errors import ServerRefused, ServerUnreachable, UsageError
from flagos_eval.records import Counts
from flagos_eval.server import Identity, Model, Server, check_url, is_loopback, slug


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    with ProtocolServer(model="tiny", root="/models/tiny", version="0.9.1") as running:
        yield running


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens, and nobody else can begin to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


# --- Addresses ------------------------------------------------------------------------------------


def test_the_last_slash_of_an_address_is_dropped() -> None:
    assert check_url("http://10.0.0.5:8000/v1/") == "http://10.0.0.5:8000/v1"


@pytest.mark.parametrize(
    "url",
    [
        *("", "10.0.0.5:8000", "ftp://10.0.0.5/v1", "http:///v1", "/v1"),
        *("http://[::1/v1", "http://h:port/v1", "http://h:99999/v1"),
    ],
)
def test_what_is_no_http_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is not an address"):
        check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        *("http://me:hunter22@host/v1", "http://hunter22@host/v1"),
        *("https://host/v1?api_key=hunter22", "host/v1?api_key=hunter22"),
        *("me:hunter22@host/v1", "ftp://me:hunter22@host", "http://me:hunter22@[::1/v1"),
    ],
)
def test_an_address_with_a_secret_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_url(url)
    assert "hunter22" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://127.3.2.1/v1", True),
        ("http://localhost:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://10.0.0.5:8000/v1", False),
        ("http://localhost.example.org/v1", False),
    ],
)
def test_loopback_is_told_from_the_network(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://10.0.0.5:8000/v1", "10.0.0.5-8000"),
        ("https://api.example.org/v1", "api.example.org"),
        ("http://[::1]:8000/v1", "--1-8000"),
    ],
)
def test_an_address_gives_a_file_name(url: str, name: str) -> None:
    assert slug(url) == name


# --- Health and identity --------------------------------------------------------------------------


def test_identity_is_version_models_and_start(server: ProtocolServer) -> None:
    found = Server(server.url).identity()
    assert found == Identity("0.9.1", (Model("tiny", "/models/tiny", 32_768),), server.start_time)


def test_a_running_server_is_healthy(server: ProtocolServer) -> None:
    assert Server(server.url).healthy()


def test_nobody_is_not_healthy(nobody: str) -> None:
    assert not Server(nobody).healthy()


def test_a_server_that_is_still_starting_is_not_healthy() -> None:
    with ProtocolServer(ready_after=60) as starting:
        assert not Server(starting.url).healthy()


def test_nobody_has_no_identity(nobody: str) -> None:
    with pytest.raises(ServerUnreachable, match="no OpenAI-compatible server"):
        Server(nobody).identity()


def test_an_address_without_v1_is_said_to_be_wrong(server: ProtocolServer) -> None:
    with pytest.raises(ServerUnreachable) as caught:
        Server(server.url.removesuffix("/v1")).identity()
    assert "404" in caught.value.message and "/v1" in str(caught.value.hint)


def test_a_server_that_accepts_and_never_answers_is_unreachable() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        server = Server(f"http://127.0.0.1:{silent.getsockname()[1]}/v1", timeout=0.2)
        with pytest.raises(ServerUnreachable):
            server.identity()


def test_a_description_that_trickles_in_ends_at_the_time_limit() -> None:
    with ProtocolServer(page_speed=20) as server:
        slow = Server(server.url, timeout=0.5)
        assert slow.metrics() == {} and slow.reading() is None
        with pytest.raises(ServerUnreachable, match="no answer from /models"):
            slow.identity()
        server.page_speed = 4000
        assert Server(server.url).identity().models[0].id == "tiny"


def test_the_key_is_sent_with_every_question() -> None:
    with ProtocolServer(api_key="hunter22") as guarded:
        assert Server(guarded.url, api_key="hunter22").identity().version == guarded.version


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_wrong_key_is_refused_with_the_next_step(key: str | None) -> None:
    with ProtocolServer(api_key="hunter22") as guarded:
        with pytest.raises(ServerRefused) as caught:
            Server(guarded.url, api_key=key).identity()
        assert "OPENAI_API_KEY" in str(caught.value.hint)


def test_a_proxy_is_not_used_for_this_machine(
    server: ProtocolServer, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", nobody)
    monkeypatch.setenv("http_proxy", nobody)
    assert Server(server.url).healthy()


# --- Models ---------------------------------------------------------------------------------------

ONE = Identity(None, (Model("tiny", None, None),), None)
TWO = Identity(None, (Model("tiny", None, None), Model("big", None, None)), None)
NONE = Identity(None, (), None)


def test_the_only_model_needs_no_name() -> None:
    assert ONE.model(None, "here").id == "tiny"


def test_one_of_several_models_is_found_by_name() -> None:
    assert TWO.model("big", "here").id == "big"


@pytest.mark.parametrize(
    ("identity", "wanted", "said"),
    [
        (ONE, "large", "serves no model 'large'; it serves tiny"),
        (TWO, None, "serves tiny, big: name one with --model"),
        (NONE, None, "serves none"),
        (NONE, "tiny", "it serves none"),
    ],
)
def test_a_model_that_is_not_there_is_refused_with_those_that_are(
    identity: Identity, wanted: str | None, said: str
) -> None:
    with pytest.raises(ServerRefused, match=said):
        identity.model(wanted, "here")


# --- Metrics --------------------------------------------------------------------------------------


def test_counters_are_summed_over_their_labels(server: ProtocolServer) -> None:
    server.finished("stop", prompt=10, generated=3)
    server.finished("length", prompt=5, generated=2)
    found = Server(server.url).metrics()
    assert found["vllm:request_success_total"] == 2
    assert found["vllm:prompt_tokens_total"] == 15


def test_nobody_has_no_metrics(nobody: str) -> None:
    assert Server(nobody).metrics() == {}


def test_a_reading_knows_answers_from_what_was_given_up(server: ProtocolServer) -> None:
    server.finished("stop", prompt=10, generated=3)
    server.finished("length", prompt=5, generated=2)
    server.finished("abort", prompt=7, generated=1)
    server.finished("error")
    found = Server(server.url).reading()
    assert found is not None and found.process_start == server.start_time
    assert found.counts == Counts(requests=2, prompt_tokens=22, completion_tokens=6)
    assert (found.preemptions, found.prefix_hits, found.prefix_hit_rate) == (0, 0, None)


def test_counters_without_reasons_are_read_as_they_are(server: ProtocolServer) -> None:
    server.labels_reasons = False
    server.finished("stop", prompt=10, generated=3)
    found = Server(server.url).reading()
    assert found is not None and found.counts.requests == 1


def test_a_server_that_does_not_count_has_a_reading_without_counts(server: ProtocolServer) -> None:
    server.shows_counters = False
    found = Server(server.url).reading()
    assert found is not None and found.counts == Counts()


PAGES = {
    # vLLM 0.7: no time of the start in multiprocess mode, and a rate instead of hits.
    "0.7": """\
# HELP vllm:num_preemptions_total Cumulative number of preemption from the engine.
vllm:num_preemptions_total{model_name="tiny"} 2.0
vllm:prompt_tokens_total{model_name="tiny"} 120.0
vllm:generation_tokens_total{model_name="tiny"} 34.0
vllm:request_success_total{finished_reason="stop",model_name="tiny"} 3.0
vllm:request_success_total{finished_reason="length",model_name="tiny"} 1.0
vllm:request_success_total{finished_reason="abort",model_name="tiny"} 5.0
vllm:gpu_prefix_cache_hit_rate{model_name="tiny"} -1.0
vllm:request_prompt_tokens_sum{model_name="tiny"} 999.0
vllm:prompt_tokens_created{model_name="tiny"} 1.7e+09
""",
    # Two engines of data parallelism; the names of 0.8 beside the later ones.
    "0.11": """\
process_start_time_seconds 1.7e+09
vllm:num_preemptions_total{engine="0",model_name="tiny"} 2.0
vllm:num_preemptions_total{engine="1",model_name="tiny"} 0.0
vllm:prompt_tokens_total{engine="0",model_name="tiny"} 100.0
vllm:prompt_tokens_total{engine="1",model_name="tiny"} 20.0
vllm:generation_tokens_total{engine="0",model_name="tiny"} 30.0
vllm:generation_tokens_total{engine="1",model_name="tiny"} 4.0
vllm:request_success_total{engine="0",finished_reason="stop",model_name="tiny"} 3.0
vllm:request_success_total{engine="1",finished_reason="repetition",model_name="tiny"} 1.0
vllm:request_success_total{engine="1",finished_reason="abort",model_name="tiny"} 5.0
vllm:gpu_prefix_cache_hits_total{engine="0",model_name="tiny"} 16.0
vllm:prefix_cache_hits_total{engine="0",model_name="tiny"} 16.0
vllm:generation_tokens_total{engine="2",model_name="tiny"} NaN
""",
}


@pytest.mark.parametrize("version", PAGES)
def test_the_names_of_old_and_new_vllm_are_read(server: ProtocolServer, version: str) -> None:
    server.page = lambda path: PAGES[version] if path == "/metrics" else None  # type: ignore[method-assign]
    found = Server(server.url).reading()
    assert found is not None
    assert found.counts == Counts(requests=4, prompt_tokens=120, completion_tokens=34)
    assert found.preemptions == 2
    old = version == "0.7"
    assert (found.prefix_hits, found.prefix_hit_rate) == ((None, -1.0) if old else (16, None))
    assert found.process_start == (None if old else 1.7e9)


def test_nobody_has_no_reading(nobody: str) -> None:
    assert Server(nobody).reading() is None


def test_the_key_is_not_sent_to_where_a_redirect_leads() -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"{other.url}/models")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is said."""

    with ProtocolServer(api_key="sk-hunter22") as other, HTTPServer(("", 0), Elsewhere) as first:
        threading.Thread(target=first.serve_forever, daemon=True).start()
        asked = Server(f"http://127.0.0.1:{first.server_port}/v1", api_key="sk-hunter22")
        with pytest.raises(ServerRefused, match="does not accept the API key"):
            asked.identity()
        first.shutdown()

"""What a server can do is found by the shape of its answers, not by its word."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import protocol_server as ps
import pytest
from PIL import Image
from protocol_server import Faults, ProtocolServer, RequestInfo

from flagos_eval.client import Client, ClientSettings
from flagos_eval.clock import utc_now
from flagos_eval.errors import ServerRefused, ServerUnreachable
from flagos_eval.probe import checkerboard, probe
from flagos_eval.records import Capability, Epoch
from flagos_eval.server import Server

NAMES = ["image", "max_pixels", "logprobs", "seed", "top_k", "min_p", "repetition_penalty"]


def probed(
    server: ProtocolServer, *, api_key: str | None = None, timeout: float = 5
) -> dict[str, Capability]:
    epoch = Epoch(
        index=0,
        endpoint=server.url,
        first_seen=utc_now(),
        model="tiny",
        version=None,
        model_root=None,
        max_model_len=None,
        launcher="external",
    )

    async def work() -> tuple[Capability, ...]:
        client = Client(
            [Server(server.url)],
            [epoch],
            "tiny",
            ClientSettings(timeout=timeout),
            read_image=lambda part: b"",
            api_key=api_key,
        )
        async with client:
            return await probe(client)

    return {capability.name: capability for capability in asyncio.run(work())}


def found(faults: Faults | None = None, **options: Any) -> dict[str, Capability]:
    with ProtocolServer(faults=faults, **options) as server:
        return probed(server)


def has_image(info: RequestInfo) -> bool:
    return b"image_url" in info.raw


def asks_for(field: str, value: Any) -> Any:
    return lambda info: info.body.get(field) == value


def fail_when(condition: Any, fault: ps.Fault) -> Faults:
    return lambda info: fault if condition(info) else None


def penalised(body: dict[str, Any]) -> str:
    """The text of a server that knows what a repetition penalty is."""
    return "one two three" if body["repetition_penalty"] > 1 else "one one one"


# --- The picture ----------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [16, 112, 448])
def test_the_probe_picture_is_a_picture(side: int) -> None:
    with Image.open(io.BytesIO(checkerboard(side))) as image:
        image.load()
        assert image.size == (side, side)
        assert len(image.getcolors() or []) == 2


# --- Every feature --------------------------------------------------------------------------------


def test_every_feature_is_reported_once_and_in_order() -> None:
    assert list(found()) == NAMES


def test_a_server_with_everything_supports_everything_that_can_be_seen() -> None:
    capabilities = found(answer=penalised, sample=lambda text, draw: f"{draw[:4]} {text}")
    # The test server has no min_p, so it cannot make sampling greedy.
    assert {name: c.state for name, c in capabilities.items()} == {
        **dict.fromkeys(NAMES, "supported"),
        "min_p": "ignored",
    }


@pytest.mark.parametrize(
    ("switch", "name"),
    [
        ("honours_max_pixels", "max_pixels"),
        ("supports_logprobs", "logprobs"),
        ("honours_seed", "seed"),
        ("honours_top_k", "top_k"),
    ],
)
def test_a_field_that_the_server_ignores_is_ignored(switch: str, name: str) -> None:
    assert found(**{switch: False})[name].state == "ignored"


def test_a_server_without_images_rejects_them() -> None:
    capabilities = found(supports_images=False)
    assert capabilities["image"].state == "rejected"
    assert "400" in capabilities["image"].detail


def test_a_server_that_drops_images_ignores_them() -> None:
    """As a gateway does that passes on the text alone."""

    class TextAlone(ps.Fault):
        def edit(self, reply: dict[str, Any]) -> None:
            reply["usage"]["prompt_tokens"] = 20

    assert found(lambda info: TextAlone())["image"].state == "ignored"


@pytest.mark.parametrize(
    ("condition", "name"),
    [
        (lambda info: b"mm_processor_kwargs" in info.raw, "max_pixels"),
        (asks_for("logprobs", True), "logprobs"),
        (asks_for("temperature", 1.5), "seed"),
        (asks_for("top_k", 1), "top_k"),
        (asks_for("min_p", 1.0), "min_p"),
        (asks_for("repetition_penalty", 10.0), "repetition_penalty"),
    ],
)
def test_a_field_that_the_server_refuses_is_rejected(condition: Any, name: str) -> None:
    capabilities = found(fail_when(condition, ps.Status(422)))
    assert [c.name for c in capabilities.values() if c.state == "rejected"] == [name]


@pytest.mark.parametrize("code", [408, 429, 500, 503])
def test_a_server_that_is_busy_or_broken_rejects_nothing(code: int) -> None:
    capabilities = found(fail_when(has_image, ps.Status(code)))
    assert capabilities["image"].state == "not_verified"
    assert str(code) in capabilities["image"].detail


@pytest.mark.parametrize("fault", [ps.Garbage(), ps.Reset(16), ps.EmptyChoices()])
def test_a_probe_without_an_answer_verifies_nothing(fault: ps.Fault) -> None:
    assert found(fail_when(has_image, fault))["image"].state == "not_verified"


def test_a_probe_that_hangs_verifies_nothing() -> None:
    with ProtocolServer(faults=fail_when(has_image, ps.Hang())) as server:
        assert probed(server, timeout=0.3)["image"].state == "not_verified"


def test_without_token_counts_images_are_not_verified() -> None:
    capabilities = found(lambda info: ps.MissingUsage())
    assert capabilities["image"].state == capabilities["max_pixels"].state == "not_verified"


@pytest.mark.parametrize("name", ["seed", "top_k", "min_p"])
def test_where_sampling_never_varies_its_fields_are_not_verified(name: str) -> None:
    assert found(sample=lambda text, draw: text)[name].state == "not_verified"


def test_a_penalty_that_changes_nothing_is_not_verified() -> None:
    assert found(answer=lambda body: "B")["repetition_penalty"].state == "not_verified"


def test_a_penalty_that_changes_the_text_is_supported() -> None:
    assert found(answer=penalised)["repetition_penalty"].state == "supported"


# --- A server that cannot be asked ----------------------------------------------------------------


def test_a_wrong_key_is_refused_with_the_next_step() -> None:
    with ProtocolServer(api_key="hunter22") as server, pytest.raises(ServerRefused) as caught:
        probed(server, api_key="wrong")
    assert "OPENAI_API_KEY" in str(caught.value.hint)


def test_an_unknown_model_is_refused() -> None:
    with ProtocolServer(model="large") as server, pytest.raises(ServerRefused, match="'tiny'"):
        probed(server)


@pytest.mark.parametrize("fault", [ps.Status(500), ps.Status(400), ps.Garbage(), ps.Reset(None)])
def test_a_server_that_cannot_answer_a_plain_question_is_unreachable(fault: ps.Fault) -> None:
    with pytest.raises(ServerUnreachable, match="plain question"):
        found(lambda info: fault)


def test_a_server_that_hangs_is_unreachable() -> None:
    hanging = ProtocolServer(faults=lambda info: ps.Hang())
    with hanging as server, pytest.raises(ServerUnreachable):
        probed(server, timeout=0.3)

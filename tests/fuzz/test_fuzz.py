"""Whatever a stranger writes is read, or refused in a sentence: never another exception, and never
a file outside the input's folder.

``make fuzz`` takes many more examples than a test run does (``FUZZ_EXAMPLES`` for each target)."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from flagos_eval.errors import FlagosEvalError

from .found import FOUND
from .mutate import SHAPES
from .targets import TARGETS, Target

pytestmark = [
    pytest.mark.once,
    # It is about the length of an input, which is meant to be long.
    pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning"),
]

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
SLOW = {"answer": 5, "run file, compared": 3, "picture": 2}
"""Targets of which one example takes as long as many of another."""


def check(target: Target, data: bytes) -> object:
    """Read an input in a folder of its own; what was read, or the error."""
    place = Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder = place / "folder"
    folder.mkdir()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow says what it mends
            return target.parse(data, folder)
    except FlagosEvalError as error:
        assert error.message.strip() and error.exit_code in (2, 3, 4, 5, 74)
        return error
    except target.raises as error:
        assert str(error).strip()
        return error
    finally:
        assert [path.name for path in place.iterdir()] == ["folder"]
        shutil.rmtree(place)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bytes]]:
    return {t.name: list(t.seeds(tmp_path_factory.mktemp("seeds"))) for t in TARGETS}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_valid_input_is_read(target: Target, seeds: dict[str, list[bytes]]) -> None:
    for data in seeds[target.name]:
        assert not isinstance(found := check(target, data), Exception), found


@pytest.mark.parametrize(
    ("name", "data"),
    [
        pytest.param(name, data, id=f"{name}, {what}")
        for name, inputs in FOUND.items()
        for what, data in inputs.items()
    ],
)
def test_what_was_once_a_defect_is_read_or_refused(name: str, data: bytes) -> None:
    check(next(target for target in TARGETS if target.name == name), data)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_whatever_it_is_it_is_read_or_refused(
    target: Target, seeds: dict[str, list[bytes]]
) -> None:
    @settings(
        max_examples=max(1, EXAMPLES // SLOW.get(target.name, 1)),
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=True,
    )
    @given(SHAPES[target.shape](seeds[target.name]))
    def read_or_refused(data: bytes) -> None:
        check(target, data)

    read_or_refused()

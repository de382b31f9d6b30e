"""Settings of the property tests, and the options that write tables for the documents."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says nothing on a shared machine, and a build must not depend on luck:
# there the examples are the same every time, while developers search on.
settings.register_profile("default", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--table", type=Path, help="Write what recorded answers gave to this file.")
    parser.addoption(
        "--security-table", action="store_true", help="Write the parsers to docs/security.md."
    )
    parser.addoption("--fault-table", type=Path, help="Write what faults did to this file.")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--table")
    if path is not None:
        from recorded.conftest import Table

        config.pluginmanager.register(Table(path), "recorded-table")
    path = config.getoption("--fault-table")
    if path is not None:
        from faults.conftest import Table

        config.pluginmanager.register(Table(path), "fault-table")

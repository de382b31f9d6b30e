"""Every fault tried for real: a scenario each, in one table."""

from __future__ import annotations

from . import answers, files, processes

SCENARIOS = (*processes.SCENARIOS, *answers.SCENARIOS, *files.SCENARIOS)

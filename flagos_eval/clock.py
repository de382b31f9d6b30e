"""The time, as records hold it."""

from __future__ import annotations

from datetime import datetime, timezone

from .errors import UsageError


def utc_now() -> str:
    """Now in UTC, ISO 8601 with milliseconds."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(moment: str) -> float:
    """A record's time as seconds since 1970. `fromisoformat` does not take every number of digits
    after the point.

    Raises:
        UsageError: there is no such time.
    """
    whole, _, fraction = moment.removesuffix("Z").partition(".")
    try:
        found = datetime.fromisoformat(f"{whole}+00:00")
    except ValueError as error:
        raise UsageError(f"{moment} is no time") from error
    return found.timestamp() + float(f"0.{fraction or 0}")

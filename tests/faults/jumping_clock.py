"""flagos-eval with a clock that jumps back: ``python jumping_clock.py run ...``.

No process may set the machine's clock for this, so the clock is put in where the program reads it:
`flagos_eval.clock` and `time.time`. The monotonic clock does not jump; that is what it is for.
"""

from __future__ import annotations

import datetime as real
import itertools
import time

from flagos_eval import cli, clock

BACK = 3600.0
_readings = itertools.count(1)
_time = time.time


def jumping() -> float:
    """Seconds since 1970; an hour less after every seventh reading."""
    return _time() - BACK * (next(_readings) // 7)


class JumpingDatetime(real.datetime):
    """`datetime` on that clock."""

    @classmethod
    def now(cls, tz: real.tzinfo | None = None) -> JumpingDatetime:
        """The time on that clock."""
        return cls.fromtimestamp(jumping(), tz)


if __name__ == "__main__":
    clock.datetime = JumpingDatetime
    time.time = jumping
    cli.main()

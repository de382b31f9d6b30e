"""Waiting that is given up from outside, and tasks that end together."""

from __future__ import annotations

import asyncio
import sys

import pytest

from flagos_eval.interruptible import Interruptible, together


async def forever() -> None:
    await asyncio.Event().wait()


async def soon() -> str:
    await asyncio.sleep(0)
    return "done"


def test_the_result_of_the_work_is_returned() -> None:
    assert asyncio.run(Interruptible().run(soon(), timeout=60)) == "done"


def test_an_error_of_the_work_is_raised() -> None:
    async def failing() -> None:
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        asyncio.run(Interruptible().run(failing(), timeout=60))


def test_work_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(Interruptible().run(forever(), timeout=0.01))


def test_work_that_is_given_up_raises_the_reason() -> None:
    async def main() -> None:
        attempt = Interruptible()
        asyncio.get_running_loop().call_soon(attempt.give_up, OSError("drained"))
        await attempt.run(forever(), timeout=60)

    with pytest.raises(OSError, match="drained"):
        asyncio.run(main())


def test_the_first_reason_counts() -> None:
    async def main() -> None:
        attempt = Interruptible()
        loop = asyncio.get_running_loop()
        loop.call_soon(attempt.give_up, OSError("first"))
        loop.call_soon(attempt.give_up, OSError("second"))
        await attempt.run(forever(), timeout=60)

    with pytest.raises(OSError, match="first"):
        asyncio.run(main())


def test_the_task_goes_on_after_work_that_was_given_up() -> None:
    async def main() -> str:
        with pytest.raises(asyncio.TimeoutError):
            await Interruptible().run(forever(), timeout=0.01)
        return await soon()

    assert asyncio.run(main()) == "done"


def test_giving_up_what_has_ended_changes_nothing() -> None:
    async def main() -> str:
        attempt = Interruptible()
        await attempt.run(soon(), timeout=60)
        attempt.give_up(OSError("too late"))
        return await soon()

    assert asyncio.run(main()) == "done"


def test_a_cancellation_is_no_giving_up() -> None:
    async def main() -> None:
        task = asyncio.create_task(Interruptible().run(forever(), timeout=60))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tasks do not count cancellations")
@pytest.mark.parametrize("first", ["cancelled", "given up"])
def test_a_cancellation_at_the_moment_of_giving_up_goes_first(first: str) -> None:
    async def main() -> None:
        attempt = Interruptible()
        task = asyncio.create_task(attempt.run(forever(), timeout=60))
        await asyncio.sleep(0)
        both = [task.cancel, lambda: attempt.give_up(OSError("drained"))]
        for each in both if first == "cancelled" else reversed(both):
            each()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_together_returns_every_result_in_order() -> None:
    async def number(n: int) -> int:
        await asyncio.sleep(0.01 * (3 - n))
        return n

    assert asyncio.run(together(number(n) for n in range(3))) == [0, 1, 2]


def test_together_takes_nothing_at_all() -> None:
    assert asyncio.run(together([])) == []


def test_the_first_error_ends_the_others() -> None:
    ended = []

    async def waiting() -> None:
        try:
            await forever()
        finally:
            ended.append("waiting")

    async def failing() -> None:
        await asyncio.sleep(0)
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        asyncio.run(together([waiting(), failing()]))
    assert ended == ["waiting"]


def test_a_task_that_misses_its_cancellation_is_cancelled_again() -> None:
    missed = []

    async def deaf_once() -> None:
        for _ in range(2):
            try:
                await forever()
            except asyncio.CancelledError:
                if missed:
                    raise
                missed.append("one")

    async def main() -> None:
        work = asyncio.create_task(together([deaf_once()]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        work.cancel()
        await work

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert missed == ["one"]


def test_a_task_that_ends_as_cancelled_ends_the_others_at_once() -> None:
    async def given_up_by_its_own() -> None:
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(together([given_up_by_its_own(), forever()]))

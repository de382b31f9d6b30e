"""One at a time through a door."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from flagos_eval.turns import Turns


async def schedule(told: list[str], name: str, turns: Turns) -> None:
    """What a worker does: something in its turn, and something that it leaves to the loop."""
    await turns.take()
    told.append(f"{name} reads")
    asyncio.get_running_loop().call_soon(told.append, f"{name} is sent")


def test_what_was_scheduled_in_a_turn_happens_before_the_next_turn() -> None:
    told: list[str] = []

    async def main() -> None:
        turns = Turns()
        await asyncio.gather(*(schedule(told, name, turns) for name in "abc"))
        await asyncio.sleep(0)

    asyncio.run(main())
    assert told == [f"{name} {does}" for name in "abc" for does in ("reads", "is sent")]


def test_without_the_door_all_read_before_the_first_is_sent() -> None:
    told: list[str] = []

    async def main() -> None:
        await asyncio.gather(*(schedule(told, name, Turns()) for name in "ab"))
        await asyncio.sleep(0)

    asyncio.run(main())
    assert told == ["a reads", "b reads", "a is sent", "b is sent"]


def test_one_that_is_cancelled_while_waiting_holds_nobody_up() -> None:
    told: list[str] = []

    async def main() -> None:
        turns = Turns()
        tasks = [asyncio.create_task(schedule(told, name, turns)) for name in "abc"]
        await asyncio.sleep(0)
        tasks[1].cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.gather(*tasks), 10)
        await asyncio.wait_for(tasks[2], 10)

    asyncio.run(main())
    assert [line for line in told if "reads" in line] == ["a reads", "c reads"]


def test_one_that_is_cancelled_in_its_turn_passes_it_on() -> None:
    told: list[str] = []

    async def main() -> None:
        turns = Turns()
        tasks = [asyncio.create_task(schedule(told, name, turns)) for name in "abc"]
        await asyncio.sleep(0)
        # By now b has its turn and does not know it yet.
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.wait_for(asyncio.wait(tasks), 10)

    asyncio.run(main())
    assert "c reads" in told

"""Slots are granted in order, lent while a source is slow, and given back after a turn."""

import asyncio

import pytest

from app.runner.slots import MAX_SLOW_PER_SLOT, TURN_SECONDS, Slots, Turn, TurnOver
from tests.clock import ManualMonotonic


def never() -> None:
    raise AssertionError("evicted")


async def waiting(turn: Turn) -> "asyncio.Task[None]":
    task = asyncio.create_task(turn.acquire())
    await asyncio.sleep(0)
    return task


async def test_slots_are_granted_in_the_order_of_requests() -> None:
    slots = Slots(1, ManualMonotonic())
    first, second, third = (Turn(slots, never) for _ in range(3))
    await first.acquire()
    queue = [await waiting(second), await waiting(third)]
    assert slots.waiting == 2
    first.end()
    await queue[0]
    assert not queue[1].done()
    second.end()
    await queue[1]
    third.end()
    third.end()  # nothing is given back twice
    await first.acquire()
    assert not (await waiting(second)).done()


async def test_a_cancelled_request_takes_no_slot() -> None:
    slots = Slots(1, ManualMonotonic())
    first, second, third = (Turn(slots, never) for _ in range(3))
    await first.acquire()
    cancelled, last = await waiting(second), await waiting(third)
    first.end()
    cancelled.cancel()  # granted at the same moment
    await asyncio.gather(cancelled, return_exceptions=True)
    second.end()
    await last


async def test_a_slow_run_lends_its_slot_until_it_asks_again() -> None:
    monotonic = ManualMonotonic()
    slots = Slots(1, monotonic)
    slow, other = Turn(slots, never), Turn(slots, never)
    await slow.acquire()
    slow.lend()
    slow.lend()
    await other.acquire()
    again = await waiting(slow)
    monotonic.now += 7
    assert slow.waiting_seconds == 7
    other.end()
    await again
    assert slow.waiting_seconds == 0
    slow.end()
    await other.acquire()


async def test_too_many_slow_runs_evict_those_that_are_slow_for_longest() -> None:
    slots, evicted = Slots(1, ManualMonotonic()), []
    for number in range(MAX_SLOW_PER_SLOT + 2):
        turn = Turn(slots, lambda number=number: evicted.append(number))  # type: ignore[misc]  # mypy infers no type for a default of a lambda
        await turn.acquire()
        assert evicted == [*range(number - MAX_SLOW_PER_SLOT)]
        turn.lend()
    assert evicted == [0, 1]


async def test_a_run_that_waits_for_a_slot_again_is_not_evicted() -> None:
    slots, evicted = Slots(1, ManualMonotonic()), []
    turns = [
        Turn(slots, lambda number=number: evicted.append(number))  # type: ignore[misc]  # mypy infers no type for a default of a lambda
        for number in range(MAX_SLOW_PER_SLOT + 1)
    ]
    for turn in turns[:-1]:
        await turn.acquire()
        turn.lend()
    await turns[-1].acquire()
    again = await waiting(turns[0])
    turns[-1].lend()
    assert evicted == [1]
    await again


async def test_a_turn_ends_between_batches_while_others_wait() -> None:
    monotonic = ManualMonotonic()
    slots = Slots(1, monotonic)
    run, other = Turn(slots, never), Turn(slots, never)
    await run.acquire()
    run.check()
    monotonic.now += TURN_SECONDS
    run.check()  # no other run waits
    queued = await waiting(other)
    with pytest.raises(TurnOver):
        run.check()
    run.end()
    await queued
    other.check()  # its turn has just begun


async def test_a_run_that_takes_long_to_its_first_batch_has_a_longer_turn() -> None:
    monotonic = ManualMonotonic(0.0)
    slots = Slots(1, monotonic)
    run, other = Turn(slots, never), Turn(slots, never)
    await run.acquire()
    await waiting(other)
    monotonic.now = 30.0
    run.check()  # the first batch: its text before the cursor was read again
    monotonic.now = 119.0
    run.check()
    monotonic.now = 120.0
    with pytest.raises(TurnOver):
        run.check()

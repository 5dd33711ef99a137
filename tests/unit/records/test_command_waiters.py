"""Command waiters: which futures are resolved, and how many results are remembered."""

import asyncio

from app.records.command_waiters import CommandWaiters


def is_remembered(waiters: CommandWaiters[str], command_id: str) -> bool:
    with waiters.expect(command_id) as future:
        return future.done()


async def test_all_waiters_of_a_command_are_resolved() -> None:
    waiters: CommandWaiters[str] = CommandWaiters()
    with waiters.expect("a") as one, waiters.expect("a") as two, waiters.expect("b") as other:
        waiters.answer("a", ("created", "started"))
        assert await one == await two == ("created", "started")
        assert not other.done()


async def test_a_late_waiter_is_resolved_at_once() -> None:
    waiters: CommandWaiters[str] = CommandWaiters(max_remembered=1)
    waiters.answer("a", ("created",))
    with waiters.expect("a") as future:
        assert await future == ("created",)


async def test_late_waiters_get_the_latest_answer() -> None:
    waiters: CommandWaiters[str] = CommandWaiters(max_remembered=1)
    with waiters.expect("a") as early:
        waiters.answer("a", ("one",))
        waiters.answer("a", ("two",))
        assert await early == ("one",)
    with waiters.expect("a") as late:
        assert await late == ("two",)


async def test_a_cancelled_waiter_does_not_affect_the_others() -> None:
    waiters: CommandWaiters[str] = CommandWaiters()
    with waiters.expect("a") as cancelled, waiters.expect("a") as other:
        cancelled.cancel()
        waiters.answer("a", ("created",))
        assert await other == ("created",)


async def test_a_waiter_that_has_left_is_not_resolved() -> None:
    waiters: CommandWaiters[str] = CommandWaiters()
    with waiters.expect("a") as stays:
        with waiters.expect("a") as left:
            pass
        waiters.answer("a", ("created",))
        assert not left.done()
        assert await stays == ("created",)


async def test_the_latest_answers_are_remembered() -> None:
    waiters: CommandWaiters[str] = CommandWaiters(max_remembered=2)
    for command_id in ("a", "b"):
        waiters.answer(command_id, ())
    waiters.answer("a", ())
    assert is_remembered(waiters, "b")
    waiters.answer("c", ())
    assert [is_remembered(waiters, command_id) for command_id in "abc"] == [True, False, True]


async def test_by_default_nothing_is_remembered() -> None:
    waiters: CommandWaiters[str] = CommandWaiters()
    with waiters.expect("a") as waiting:
        waiters.answer("a", ("created",))
        assert await asyncio.wait_for(waiting, 1) == ("created",)
        with waiters.expect("a") as late:
            assert not late.done()

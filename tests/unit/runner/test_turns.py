"""A run has a slot while it works: it lends it while it waits, ends its turn between batches, and gives it back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from app.kafka.producer_record import ProducerRecord
from app.runner import run as module
from app.runner.run import Run
from app.runner.slots import TURN_SECONDS, Slots, Turn, TurnOver
from app.runner.source_reader import SLOW_SECONDS
from connectors.contract import RateLimited, RetryLater
from tests.clock import ManualMonotonic
from tests.unit.runner.jobs import batch, job, reading, run_context, twin

OUTCOMES = {
    "ends": (batch(),),
    "fails": (batch(), RetryLater("down")),
    "is limited": (RateLimited("slow_down", retry_after=1.0),),
    "breaks": (ZeroDivisionError(),),
}


class OneSlot:
    """A slot, and a run that needs one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, read: Callable[..., AsyncIterator[Any]]) -> None:
        monkeypatch.setattr(module, "connector", twin(read))
        self.monotonic = ManualMonotonic()
        self.slots = Slots(1, self.monotonic)
        self.written = 0
        context = run_context(monotonic=self.monotonic, slots={"import": self.slots})
        self.run = Run(job(), context, self._submit)

    async def _submit(self, _records: Sequence[ProducerRecord]) -> None:
        self.written += 1

    async def is_free(self) -> bool:
        """Return whether another run would have the slot at once."""
        other = Turn(self.slots, evict=lambda: None)
        asking = asyncio.create_task(other.acquire())
        await turns_of_the_loop()
        is_free = asking.done()
        asking.cancel()
        await asyncio.wait({asking})
        other.end()
        return is_free


async def turns_of_the_loop() -> None:
    """Let all tasks proceed as far as they can."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize("items", OUTCOMES.values(), ids=OUTCOMES.keys())
async def test_a_run_gives_its_slot_back_however_it_ends(
    monkeypatch: pytest.MonkeyPatch, items: tuple[Any, ...]
) -> None:
    one = OneSlot(monkeypatch, reading(*items))
    await one.run.drive()
    assert await one.is_free()


@pytest.mark.parametrize("items", OUTCOMES.values(), ids=OUTCOMES.keys())
async def test_a_poll_gives_its_slot_back_however_it_ends(
    monkeypatch: pytest.MonkeyPatch, items: tuple[Any, ...]
) -> None:
    one = OneSlot(monkeypatch, reading(*items))
    assert await one.run.poll()
    assert await one.is_free()


async def test_a_cancelled_run_gives_its_slot_back(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = asyncio.Event()

    async def read(*_: Any) -> AsyncIterator[Any]:
        hangs.set()
        await asyncio.Event().wait()
        yield batch()

    one = OneSlot(monkeypatch, read)
    running = asyncio.create_task(one.run.drive())
    await hangs.wait()
    assert not await one.is_free()
    running.cancel()
    await asyncio.wait({running})
    assert await one.is_free()


async def test_a_run_lends_its_slot_while_it_waits_for_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, arrived = asyncio.Event(), asyncio.Event()

    async def read(*_: Any) -> AsyncIterator[Any]:
        yield batch()
        waits.set()
        await arrived.wait()
        yield batch()
        yield batch()  # at once: the source is fast again

    one = OneSlot(monkeypatch, read)
    running = asyncio.create_task(one.run.drive())
    await waits.wait()
    one.run.supervise()
    assert not await one.is_free()
    one.monotonic.now += SLOW_SECONDS
    one.run.supervise()
    assert await one.is_free()
    other = Turn(one.slots, evict=lambda: None)
    await other.acquire()
    arrived.set()
    await turns_of_the_loop()
    assert one.written == 3, "what arrives is written without a slot"
    assert one.run.turn.is_waiting, "for a slot, as its source is fast again"
    other.end()
    await running
    assert await one.is_free()


async def test_a_run_ends_its_turn_between_batches_while_another_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(*_: Any) -> AsyncIterator[Any]:
        yield batch()
        one.monotonic.now += TURN_SECONDS
        yield batch()
        raise AssertionError("the turn was over")

    one = OneSlot(monkeypatch, read)
    await (first := Turn(one.slots, evict=lambda: None)).acquire()
    running = asyncio.create_task(one.run.drive())
    await turns_of_the_loop()
    second = Turn(one.slots, evict=lambda: None)
    waiting = asyncio.create_task(second.acquire())
    await turns_of_the_loop()
    assert one.written == 0, "no source is opened without a slot"
    first.end()
    with pytest.raises(TurnOver):
        await running
    assert one.written == 2
    await turns_of_the_loop()
    assert waiting.done()

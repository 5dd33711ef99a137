"""A process that stood still leaves; one that waited for a rebalance or a recovery does not."""

import asyncio

from app.kafka.safe_faust.latch import Latch
from app.runner.role import FROZEN_SECONDS, LivenessCheck


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_long_recovery_before_the_first_beat_is_no_reason_to_leave() -> None:
    latch, clock = Latch(exit_process=lambda _: None), Clock()
    pulse = LivenessCheck(latch, clock)
    clock.now += 10 * FROZEN_SECONDS
    beating = asyncio.create_task(pulse.beat())
    await asyncio.sleep(0)
    assert latch.reason is None
    clock.now += 10 * FROZEN_SECONDS
    pulse.check()
    assert latch.reason is not None
    assert "100 seconds" in latch.reason
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)

"""A suspended process aborts; one that waited for a rebalance or a recovery does not."""

import asyncio

from app.kafka.safe_faust.latch import Latch
from app.runner.role import SESSION_TIMEOUT_SECONDS, LivenessCheck
from tests.clock import ManualMonotonic


async def test_a_long_recovery_before_the_first_check_is_ignored() -> None:
    latch, monotonic = Latch(exit_process=lambda _: None), ManualMonotonic()
    liveness = LivenessCheck(latch, monotonic)
    monotonic.now += 10 * SESSION_TIMEOUT_SECONDS
    watching = asyncio.create_task(liveness.watch())
    await asyncio.sleep(0)
    assert latch.reason is None
    monotonic.now += 10 * SESSION_TIMEOUT_SECONDS
    liveness.check()
    assert latch.reason is not None
    assert "100 seconds" in latch.reason
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)

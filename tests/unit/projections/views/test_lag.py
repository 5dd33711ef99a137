"""Consumer lag: rates and estimated time to catch up."""

from datetime import UTC, datetime, timedelta

from projections.views.lag import LagSample, has_passed, messages_per_second, rate_at_work, topic_lag

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
RAW, UPDATES = "messages.backfill", "updates.backfill"


def at(seconds: float, *, done: int, end: int, messages: int = 0, waiting: datetime | None = None) -> LagSample:
    """Sample two partitions of raw messages; the second one is always empty."""
    first = (RAW, 0)
    return LagSample(
        at=seconds, sampled_at=NOON + timedelta(seconds=seconds), positions={first: done, (RAW, 1): 0},
        ends={(RAW, 1): 0, first: end}, waiting={first: waiting} if waiting else {}, messages={"backfill": messages},
    )  # fmt: skip


def test_a_single_sample_has_no_rate() -> None:
    lag = topic_lag([at(0, done=10, end=110, waiting=NOON)], RAW)
    assert (lag.lag, lag.records_per_second, lag.eta_seconds, lag.oldest_pending_at) == (100, None, None, NOON)
    assert [
        (partition.partition, partition.position, partition.end, partition.lag) for partition in lag.partitions
    ] == [
        (0, 10, 110, 100),
        (1, 0, 0, 0),
    ]
    assert messages_per_second([at(0, done=0, end=0)], "backfill") is None


def test_the_eta_is_the_lag_divided_by_the_rate() -> None:
    samples = [at(0, done=0, end=500, messages=0), at(20, done=100, end=500, messages=4_000)]
    lag = topic_lag(samples, RAW)
    assert (lag.records_per_second, lag.eta_seconds) == (5, 80)
    assert messages_per_second(samples, "backfill") == 200
    assert messages_per_second(samples, "realtime") == 0


def test_idle_time_does_not_reduce_the_rate_for_the_eta() -> None:
    samples = [at(0, done=5, end=10), at(10, done=10, end=10), at(50, done=10, end=10), at(60, done=60, end=110)]
    lag = topic_lag(samples, RAW)
    assert lag.records_per_second == 55 / 60, "over all samples"
    assert lag.eta_seconds == 10, "at the rate since the last idle sample"


def test_throughput_is_measured_under_load() -> None:
    idle = [at(0, done=10, end=10, messages=500), at(10, done=10, end=10, messages=500)]
    assert rate_at_work(idle, "backfill", RAW) is None
    trickle = [*idle, at(15, done=10, end=11, messages=500), at(20, done=11, end=11, messages=501)]
    assert rate_at_work(trickle, "backfill", RAW) is None
    waiting = [*trickle, at(21, done=11, end=20, messages=501), at(40, done=12, end=20, messages=600)]
    assert rate_at_work(waiting, "backfill", RAW) is None, "99 messages say nothing"
    busy = [*trickle, at(50, done=11, end=90, messages=501), at(60, done=30, end=90, messages=4_501)]
    assert rate_at_work(busy, "backfill", RAW) == 400


def test_a_caught_up_consumer_has_no_lag_and_a_stalled_one_no_eta() -> None:
    caught_up = topic_lag([at(0, done=5, end=10), at(10, done=10, end=10, waiting=NOON)], RAW)
    assert (caught_up.lag, caught_up.eta_seconds, caught_up.oldest_pending_at) == (0, 0, None)
    stalled = topic_lag([at(0, done=5, end=10), at(10, done=5, end=10)], RAW)
    assert (stalled.records_per_second, stalled.eta_seconds) == (0, None)
    rewound = topic_lag([at(0, done=5, end=10), at(10, done=0, end=10)], RAW)
    assert rewound.records_per_second == 0


def test_has_passed() -> None:
    topics, moment = (RAW, UPDATES), NOON + timedelta(seconds=5)
    assert has_passed(at(6, done=10, end=10), topics, moment), "no lag"
    assert not has_passed(at(4, done=10, end=10), topics, moment), "sampled before the moment"
    assert has_passed(at(60, done=9, end=10, waiting=NOON + timedelta(seconds=6)), topics, moment)
    assert not has_passed(at(60, done=9, end=10, waiting=NOON), topics, moment)
    assert not has_passed(at(60, done=9, end=10), topics, moment), "the waiting time is unknown"

"""How far behind readers are, and when they will be through."""

from datetime import UTC, datetime, timedelta

from projections.views.lag import LagSample, has_passed, lag_of, messages_per_second, rate_at_work

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
RAW, UPDATES = "messages.backfill", "updates.backfill"


def at(seconds: float, *, done: int, end: int, messages: int = 0, waiting: datetime | None = None) -> LagSample:
    """Two partitions of raw messages; the second has nothing, ever."""
    first = (RAW, 0)
    return LagSample(
        at=seconds, looked_at=NOON + timedelta(seconds=seconds), positions={first: done, (RAW, 1): 0},
        ends={(RAW, 1): 0, first: end}, waiting={first: waiting} if waiting else {}, messages={"backfill": messages},
    )  # fmt: skip


def test_a_first_look_knows_how_much_waits_and_not_how_long() -> None:
    lag = lag_of([at(0, done=10, end=110, waiting=NOON)], RAW)
    assert (lag.behind, lag.records_per_second, lag.eta_seconds, lag.waiting_since) == (100, None, None, NOON)
    assert [(each.partition, each.position, each.end, each.behind) for each in lag.partitions] == [
        (0, 10, 110, 100),
        (1, 0, 0, 0),
    ]
    assert messages_per_second([at(0, done=0, end=0)], "backfill") is None


def test_what_is_left_takes_as_long_as_the_rate_says() -> None:
    samples = [at(0, done=0, end=500, messages=0), at(20, done=100, end=500, messages=4_000)]
    lag = lag_of(samples, RAW)
    assert (lag.records_per_second, lag.eta_seconds) == (5, 80)
    assert messages_per_second(samples, "backfill") == 200
    assert messages_per_second(samples, "realtime") == 0


def test_idle_time_does_not_make_a_reader_slow() -> None:
    samples = [at(0, done=5, end=10), at(10, done=10, end=10), at(50, done=10, end=10), at(60, done=60, end=110)]
    lag = lag_of(samples, RAW)
    assert lag.records_per_second == 55 / 60, "over the last minute, as it is"
    assert lag.eta_seconds == 10, "as fast as since there is something to do"


def test_a_rate_is_that_of_the_time_with_work() -> None:
    idle = [at(0, done=10, end=10, messages=500), at(10, done=10, end=10, messages=500)]
    assert rate_at_work(idle, "backfill", RAW) is None
    trickle = [*idle, at(15, done=10, end=11, messages=500), at(20, done=11, end=11, messages=501)]
    assert rate_at_work(trickle, "backfill", RAW) is None
    busy = [*trickle, at(50, done=11, end=90, messages=501), at(60, done=30, end=90, messages=4_501)]
    assert rate_at_work(busy, "backfill", RAW) == 400


def test_who_is_through_has_nothing_waiting_and_who_stands_still_has_no_end() -> None:
    through = lag_of([at(0, done=5, end=10), at(10, done=10, end=10, waiting=NOON)], RAW)
    assert (through.behind, through.eta_seconds, through.waiting_since) == (0, 0, None)
    standing = lag_of([at(0, done=5, end=10), at(10, done=5, end=10)], RAW)
    assert (standing.records_per_second, standing.eta_seconds) == (0, None)
    turned_back = lag_of([at(0, done=5, end=10), at(10, done=0, end=10)], RAW)
    assert turned_back.records_per_second == 0


def test_all_that_was_written_up_to_a_moment_was_read() -> None:
    topics, moment = (RAW, UPDATES), NOON + timedelta(seconds=5)
    assert has_passed(at(6, done=10, end=10), topics, moment), "nothing waits at all"
    assert not has_passed(at(4, done=10, end=10), topics, moment), "that was before"
    assert has_passed(at(60, done=9, end=10, waiting=NOON + timedelta(seconds=6)), topics, moment)
    assert not has_passed(at(60, done=9, end=10, waiting=NOON), topics, moment)
    assert not has_passed(at(60, done=9, end=10), topics, moment), "nobody knows since when it waits"

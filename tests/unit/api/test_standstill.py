"""Control that restarts and fails at the same event every time is not ready."""

from app.api.services.cluster_health import STALL_TIMEOUT_SECONDS, StallDetector

LONG = STALL_TIMEOUT_SECONDS + 1


def test_who_has_nothing_to_do_or_gets_on_is_fine() -> None:
    still = StallDetector()
    assert still.check({0: 5}, {0: 5, 1: 0}, 0) == "ok"
    assert still.check({0: 5}, {0: 6, 1: 0}, 1_000) == "ok", "the message is new"
    assert still.check({0: 6}, {0: 9, 1: 0}, 1_000 + LONG) == "ok", "it progresses"
    assert still.check({0: 9}, {0: 9, 1: 0}, 1_000 + 2 * LONG) == "ok"
    assert still.check({0: 9}, {0: 10, 1: 0}, 1_000 + 3 * LONG) == "ok", "no earlier record"


def test_who_stands_in_front_of_an_event_for_long_is_named_with_the_place() -> None:
    still = StallDetector()
    assert still.check({}, {0: 0, 3: 1}, 0) == "ok"
    assert still.check({}, {0: 0, 3: 7}, LONG) == ("stalled at jobs.events/3 at offset 0 for 31 s: see its log")
    assert still.check({3: 7}, {0: 0, 3: 7}, LONG + 1) == "ok"

"""The catalog of forgettings: what is shown of each, and which of them are kept."""

from datetime import UTC, datetime, timedelta
from typing import Any

from app.definitions.forgetting_catalog import ForgettingCatalog
from projections.definitions.forgetting import MAX_ENDED
from schemas.definitions import (
    DefinitionEvent,
    ForgettingExtended,
    ForgettingStarted,
    PersonForgotten,
    RebuildDiscarded,
)

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def an(kind: Any, number: int, seq: int, actor: str = "profiles", **fields: Any) -> DefinitionEvent:
    event: DefinitionEvent = kind(
        event_id=f"event-{number}-{seq}", definition_id=f"forgetting:{number}", seq=seq,
        occurred_at=NOON + timedelta(seconds=seq), command_id=f"command-{number}-{seq}",
        command_offset=10 * number + seq, actor=actor, rules=1, **fields,
    )  # fmt: skip
    return event


def started(number: int = 1) -> DefinitionEvent:
    return an(ForgettingStarted, number, 1, "user:ada", key_hashes=("a",), at=NOON)


def extended(number: int = 1) -> DefinitionEvent:
    return an(ForgettingExtended, number, 2, key_hashes=("b",), at=NOON, profiles=1, complete=True)


def ended(number: int = 1, seq: int = 3) -> DefinitionEvent:
    return an(PersonForgotten, number, seq, at=NOON, identities=2, profiles=1, complete=True)


async def test_a_forgetting_is_followed_to_its_end() -> None:
    catalog = ForgettingCatalog()
    with catalog.expect_end("forgetting:1") as end:
        catalog.apply(5, started())
        (record,) = catalog.under_way
        assert (record.requested_at, record.requested_by, record.command_id) == (
            NOON + timedelta(seconds=1), "user:ada", "command-1-1",
        )  # fmt: skip
        assert (record.rules_offset, record.forgotten_at) == (6, None)
        catalog.apply(6, None)
        catalog.apply(7, extended())
        catalog.apply(8, extended())
        assert catalog.under_way[0].forgetting.key_hashes == {"a", "b"}
        assert (catalog.under_way[0].rules_offset, end.done()) == (8, False)
        catalog.apply(9, ended())
        assert end.done()
    (record,) = catalog.all
    assert (record.requested_by, record.forgotten_at) == ("user:ada", NOON + timedelta(seconds=3))
    assert (catalog.under_way, catalog.get("forgetting:1")) == ([], record)


def test_events_of_other_definitions_change_nothing() -> None:
    catalog = ForgettingCatalog()
    catalog.apply(1, an(RebuildDiscarded, 1, 1))
    catalog.apply(2, extended())
    assert catalog.all == []


def test_the_latest_that_have_ended_are_kept() -> None:
    catalog = ForgettingCatalog()
    catalog.apply(0, started(0))
    for number in range(1, MAX_ENDED + 2):
        catalog.apply(2 * number, started(number))
        catalog.apply(2 * number + 1, ended(number, 2))
    assert len(catalog.all) == MAX_ENDED + 1
    assert [catalog.get(f"forgetting:{number}") is not None for number in range(3)] == [True, False, True]

"""The catalog of rebuilds: what is shown of each, and how much of them is kept."""

from datetime import UTC, datetime
from typing import Any

from app.definitions.rebuild_catalog import KEPT_REPORTS, RebuildCatalog
from projections.definitions.rebuild_spec import RebuildSpec, VersionedBody, spec_text
from projections.definitions.state import MAX_REBUILDS
from schemas.definitions import DefinitionEvent, RebuildDiscarded, RebuildPromoted, RebuildReady, RebuildStarted

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
SPEC = spec_text(RebuildSpec(VersionedBody(3, "{}"), {"flights": VersionedBody(2, "{}")}))


def an(kind: Any, number: int, seq: int, actor: str = "user:ada", **facts: Any) -> DefinitionEvent:
    event: DefinitionEvent = kind(
        event_id=f"event-{number}-{seq}", definition_id=f"rebuild:{number}", seq=seq, occurred_at=NOON,
        command_id=f"command-{number}-{seq}", command_offset=10 * number + seq, actor=actor, rules=1, **facts,
    )  # fmt: skip
    return event


def started(number: int = 1, spec: str = SPEC) -> DefinitionEvent:
    return an(RebuildStarted, number, 1, spec=spec, note="try it")


def ready(number: int = 1, seq: int = 2, report: str = '{"added":1}') -> DefinitionEvent:
    return an(RebuildReady, number, seq, "rebuild", report=report)


def test_a_rebuild_is_shown_from_its_start_to_its_promotion() -> None:
    catalog = RebuildCatalog()
    assert catalog.apply(20, started())
    (record,) = catalog.all
    assert catalog.under_way is record is catalog.get("rebuild:1")
    assert (record.started_at, record.started_by, record.offset, record.note) == (NOON, "user:ada", 20, "try it")
    assert record.versions == {"identity": 3, "mapping:flights": 2}
    assert record.rebuild.spec == ""

    assert catalog.apply(21, ready())
    record = catalog.all[0]
    assert (record.report, record.ready_at, record.rebuild.status) == ('{"added":1}', NOON, "ready")

    assert catalog.apply(22, an(RebuildPromoted, 1, 3, "user:eve", generation=1, spec=SPEC))
    record = catalog.all[0]
    assert (record.ended_at, record.ended_by, record.rules_offset) == (NOON, "user:eve", 23)
    assert catalog.under_way is None


def test_a_discarded_rebuild_says_by_whom() -> None:
    catalog = RebuildCatalog()
    catalog.apply(0, started())
    catalog.apply(1, an(RebuildDiscarded, 1, 2, "user:eve"))
    (record,) = catalog.all
    assert (record.ended_by, record.rebuild.status, record.rules_offset) == ("user:eve", "discarded", 0)


def test_only_the_next_event_of_a_known_rebuild_is_applied() -> None:
    catalog = RebuildCatalog()
    assert not catalog.apply(0, ready())
    assert catalog.all == []
    assert catalog.apply(1, started())
    assert not catalog.apply(2, started())
    assert not catalog.apply(3, ready(seq=7))
    assert catalog.all[0].offset == 1


def test_a_spec_without_identity_rules_or_one_that_cannot_be_read_has_fewer_versions() -> None:
    catalog = RebuildCatalog()
    catalog.apply(0, started(1, spec_text(RebuildSpec(None, {"flights": VersionedBody(2, "{}")}))))
    catalog.apply(1, started(2, "garbage"))
    assert [dict(record.versions) for record in catalog.all] == [{"mapping:flights": 2}, {}]


def test_the_latest_rebuilds_are_kept_and_the_reports_of_fewer() -> None:
    catalog = RebuildCatalog()
    for number in range(MAX_REBUILDS + 5):
        catalog.apply(2 * number, started(number))
        catalog.apply(2 * number + 1, ready(number))
    assert [record.rebuild.definition_id for record in catalog.all] == [
        f"rebuild:{number}" for number in range(5, MAX_REBUILDS + 5)
    ]
    assert [bool(record.report) for record in catalog.all] == [False] * (MAX_REBUILDS - KEPT_REPORTS) + [
        True
    ] * KEPT_REPORTS

"""The spec of a rebuild as sentences."""

from projections.definitions.rebuild_spec import EVERYTHING, Scope
from projections.definitions.spec_summary import spec_in_words

NEW_YEAR = 1_767_225_600_000_000


def test_active_versions_are_named_where_they_differ() -> None:
    versions = {"identity": 1, "mapping:orders": 2, "mapping:visits": 1}
    assert spec_in_words(versions, EVERYTHING, {"identity": 1, "mapping:orders": 1, "mapping:clicks": 3}) == [
        "identity rules: version 1",
        "mapping of clicks: none; active: version 3",
        "mapping of orders: version 2; active: version 1",
        "mapping of visits: version 1; active: none",
        "all messages",
    ]


def test_excluded_messages_are_named_with_their_times() -> None:
    day = 86_400_000_000
    scope = Scope(
        since=NEW_YEAR, until=NEW_YEAR + day, until_set_at=NEW_YEAR + 2 * day, excluded={"b": NEW_YEAR, "a": 0}
    )
    assert spec_in_words({}, scope, {}) == [
        "only messages since 2026-01-01T00:00:00Z",
        "only messages before 2026-01-02T00:00:00Z and since 2026-01-03T00:00:00Z",
        "without messages of job a that arrived before 1970-01-01T00:00:00Z",
        "without messages of job b that arrived before 2026-01-01T00:00:00Z",
    ]

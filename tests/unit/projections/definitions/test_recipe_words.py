"""What somebody reads of a recipe before promoting what was built by it."""

from projections.definitions.rebuild_spec import EVERYTHING, Scope
from projections.definitions.spec_summary import IDENTITY_RULES, in_words

NEW_YEAR = 1_767_225_600_000_000


def test_versions_are_told_beside_those_in_force_where_they_differ() -> None:
    made_by = {IDENTITY_RULES: 1, "orders": 2, "visits": 1}
    assert in_words(made_by, EVERYTHING, {IDENTITY_RULES: 1, "orders": 1, "clicks": 3}) == [
        "identity rules: version 1",
        "mapping of clicks: none; in force is version 3",
        "mapping of orders: version 2; in force is version 1",
        "mapping of visits: version 1; in force is none",
        "all messages count",
    ]


def test_what_does_not_count_is_told_with_its_moment() -> None:
    day = 86_400_000_000
    scope = Scope(since=NEW_YEAR, until=NEW_YEAR + day, began=NEW_YEAR + 2 * day, left_out={"b": NEW_YEAR, "a": 0})
    assert in_words({}, scope, {}) == [
        "only messages about 2026-01-01T00:00:00Z and later",
        "only messages about the time before 2026-01-02T00:00:00Z, and about 2026-01-03T00:00:00Z and later",
        "without what job a brought before 1970-01-01T00:00:00Z",
        "without what job b brought before 2026-01-01T00:00:00Z",
    ]

"""The preview of a backfill: which messages of a sample would be applied, and what the numbers say."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from app.api.lanes.backfill_preview import BackfillSample, MappingTrial, trial_of
from app.api.lanes.backfill_views import (
    AttributeImpactView,
    BackfillLaneView,
    BackfillPreview,
    ImpactView,
    SampleView,
    approximate_duration,
    preview_in_words,
    warnings,
)
from projections.definitions.compiled_rules import source_of
from projections.definitions.rebuild_spec import Scope, VersionedBody
from projections.definitions.rules import Forgotten, Rules, key_hash
from projections.mapping.evaluation import map_messages
from schemas.instants import micros

NOW = datetime(2026, 6, 1, tzinfo=UTC)
IDENTITY = {"kinds": [{"kind": "email", "rank": 0, "title": "E-mail"}], "max_identities": 1000}
MAPPING = {
    "identities": [{"field": "email", "kind": "email"}],
    "attributes": [{"name": "age", "field": "age", "type": "integer", "merge": "latest"}],
    "timestamp": {"field": "when", "format": ["auto"], "time_zone": "UTC"},
}
RULES = Rules(
    identity=VersionedBody(1, orjson.dumps(IDENTITY).decode()),
    mappings={"visits": VersionedBody(1, orjson.dumps(MAPPING).decode())},
    forgotten=Forgotten().including([key_hash("email:eve")], datetime(2026, 5, 1, tzinfo=UTC)),
    scope=Scope(since=micros(datetime(2020, 1, 1, tzinfo=UTC))),
)
LINES = [
    b'{"email": "ada", "when": "2026-01-01T00:00:00Z", "age": "many"}',
    b'{"email": "ada"}',
    b'{"when": "2026-01-01T00:00:00Z"}',
    b'{"email": "ada", "when": "2150-01-01T00:00:00Z"}',
    b'{"email": "ada", "when": "2019-01-01T00:00:00Z"}',
    b'{"email": "eve", "when": "2026-01-01T00:00:00Z"}',
    b"not JSON",
]
COUNTS: dict[str, Any] = {
    "undated": 1, "without_identity": 2, "future": 3, "out_of_scope": 4, "forgotten": 5, "faults": [],
}  # fmt: skip
SAMPLE = SampleView(messages=9, rejected=1, first_rejects=[], tried=9, applicable=1, **COUNTS)
IMPACT = ImpactView(
    added=1, changed=2, merged=1, unchanged=0, older_messages=1,
    attributes={"age": AttributeImpactView(filled=1, replaced=2)},
)  # fmt: skip
LANE = BackfillLaneView(paused=False, lag=0, messages_per_second=50_000, eta_seconds=120)


def preview(**facts: Any) -> BackfillPreview:
    values = {"stream": "visits", "messages": 1_200, "oldest_at": NOW, "newest_at": NOW, "needed": True}
    ages = {"oldest_age_seconds": 86_400.0 * 730, "newest_age_seconds": 90.0}
    parts = {"sample": SAMPLE, "profiles": IMPACT, "lane": LANE}
    return BackfillPreview.model_validate(values | ages | parts | facts)


def trial_of_visits(sample: BackfillSample) -> MappingTrial:
    source, now = source_of(RULES, "visits"), micros(NOW)
    assert source
    return trial_of(sample, map_messages(source, sample.dated_lines(now)), RULES, "visits", now)


def test_messages_of_a_sample_are_counted_by_their_fate() -> None:
    trial = trial_of_visits(BackfillSample(lines=LINES))
    assert trial.times == [micros(datetime(2026, 1, 1, tzinfo=UTC)), micros(NOW)]
    assert (trial.undated, trial.without_identity) == (1, 1)
    assert (trial.future, trial.out_of_scope, trial.forgotten) == (1, 1, 1)
    assert [(part, code) for part, code, *_ in trial.faults] == [
        ("message", "invalid_json"),
        ("attribute age", "wrong_type"),
    ]
    assert len(trial.mapped.groups[0].rows) == 2


def test_a_timestamp_of_the_file_is_no_missing_timestamp() -> None:
    at = micros(datetime(2025, 1, 1, tzinfo=UTC))
    trial = trial_of_visits(BackfillSample(lines=LINES[1:2], timestamps=[at]))
    assert (trial.times, trial.undated) == ([at], 0)


def test_a_preview_in_words() -> None:
    assert preview_in_words(preview()) == [
        "1,200 messages, 2.0 years to 1.5 minutes old.",
        "Sample of 1 applicable message: 3 profiles, 1 new, 2 changed, 0 unchanged.",
        "1 changed profile would be merged from several.",
        "age: first value in 1 profile, another value in 2.",
        "1 message older than the newest message of the profile: no effect on attributes that keep the latest value.",
        "At 50,000 messages/s, the rate of the lane in the last minute, mapping takes about 2.0 minutes.",
    ]


def test_what_is_unknown_is_not_estimated() -> None:
    idle = LANE.model_copy(update={"messages_per_second": None, "eta_seconds": None})
    nothing = {"oldest_age_seconds": None, "newest_age_seconds": None, "profiles": None}
    assert preview_in_words(preview(**nothing, lane=None)) == ["1,200 messages."]
    assert preview_in_words(preview(**nothing, lane=idle))[-1].startswith("Duration unknown")
    unchanged = IMPACT.model_copy(update={"merged": 0, "attributes": {}, "older_messages": 0})
    assert preview_in_words(preview(profiles=unchanged, needed=False))[2].endswith("this backfill is not needed.")


@pytest.mark.parametrize(
    ("facts", "codes"),
    [
        ({}, {"rejected", "undated", "without_identity", "future", "out_of_scope", "forgotten"}),
        ({"sample": None}, {"no_sample"}),
        ({"sample": None, "stream": "clicks", "lane": None}, {"no_sample", "no_mapping", "unknown_lag"}),
        ({"sample": None, "lane": LANE.model_copy(update={"paused": True})}, {"no_sample", "lane_paused"}),
    ],
)
def test_warnings(facts: dict[str, Any], codes: set[str]) -> None:
    assert {warning.code for warning in warnings(preview(**facts), RULES)} == codes


def test_durations_have_their_largest_unit() -> None:
    assert [approximate_duration(seconds) for seconds in (-1, 0, 59, 60, 7_200, 86_400, 86_400 * 730)] == [
        "0 seconds", "0 seconds", "59 seconds", "1.0 minutes", "2.0 hours", "1.0 days", "2.0 years",
    ]  # fmt: skip

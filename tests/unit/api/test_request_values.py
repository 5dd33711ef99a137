"""Values in headers, queries and bodies are parsed by their standards."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from pydantic import TypeAdapter, ValidationError

from app.api.definitions.rebuild_requests import RebuildBody
from app.api.http.headers import expected_revision, idempotency_key, traceparent, wait_seconds
from app.api.http.param_types import MAX_TIMESTAMP, MIN_TIMESTAMP, Duration, TimestampText
from app.api.http.problems import ApiProblem, pointer
from app.api.jobs.bodies import CreateBody, PatchBody, merge_patch
from app.api.jobs.events import id_of, parse_id
from app.api.jobs.sealing import keep_sealed, masked_errors
from app.api.jobs.views import redacted
from app.api.services.event_tail import MAX_QUEUED_EVENTS, EventSubscription, TailedEvent
from app.api.system.schema_registry import subjects
from app.vault.sealed_json import shown_form
from schemas.events import JobKilled
from schemas.names import is_job_id, is_stream_name
from schemas.wire.catalog import versions

MOMENT: TypeAdapter[datetime] = TypeAdapter(TimestampText)
SPAN: TypeAdapter[timedelta] = TypeAdapter(Duration)
JSON = st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner))


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("", 5),
        ("wait=2", 2),
        ('wait="3"', 3),
        ("respond-async", 0),
        ("respond-async, wait=9", 0),
        ("handling=lenient, wait=1; x=y", 1),
        ("wait=1e9", 5),
        ("wait=-1", 5),
        ("wait=9999999999", 15.0),
        ("wait=²", 5),
    ],
)
def test_wait_seconds(prefer: str, seconds: float) -> None:
    assert wait_seconds(CIMultiDict({"Prefer": prefer})) == seconds


@pytest.mark.parametrize(("text", "revision"), [("*", None), ('"3"', 3), (' "12" ', 12)])
def test_expected_revision(text: str, revision: int | None) -> None:
    assert expected_revision(CIMultiDict({"If-Match": text})) == revision


@pytest.mark.parametrize(
    ("text", "status"), [('W/"3"', 412), ('"x"', 412), ('"²"', 412), ("3", 422), ('"1", "2"', 422)]
)
def test_an_unknown_entity_tag(text: str, status: int) -> None:
    with pytest.raises(ApiProblem) as refused:
        expected_revision(CIMultiDict({"If-Match": text}))
    assert refused.value.status == status


def test_only_a_valid_trace_is_propagated() -> None:
    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert traceparent(CIMultiDict({"traceparent": good})) == good
    assert traceparent(CIMultiDict({"traceparent": "x"})) == ""


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-03T14:03:00Z", datetime(2026, 11, 3, 14, 3, tzinfo=UTC)),
        ("2026-11-03T15:03:00.5+01:00", datetime(2026, 11, 3, 14, 3, 0, 500_000, tzinfo=UTC)),
        ("2026-11-03T14:03:00.123456789Z", datetime(2026, 11, 3, 14, 3, 0, 123_456, tzinfo=UTC)),
        ("0001-01-01T00:00:00+23:59", MIN_TIMESTAMP),
        ("9999-12-31T23:59:59-23:59", MAX_TIMESTAMP),
    ],
)
def test_timestamps(text: str, moment: datetime) -> None:
    assert MOMENT.validate_python(text) == moment


@pytest.mark.parametrize("text", ["2026-11-03", "2026-11-03T14:03:00", "1767225600", "now", "2026-13-03T14:03:00Z", ""])
def test_invalid_timestamps(text: str) -> None:
    with pytest.raises(ValidationError):
        MOMENT.validate_python(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("2d", 172_800), ("1w", 604_800), ("999999999w", 366 * 86_400)]
)
def test_durations(text: str, seconds: int) -> None:
    assert SPAN.validate_python(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "1.5h", "1 h", "PT1H", "-1h", "²h"])
def test_invalid_durations(text: str) -> None:
    with pytest.raises(ValidationError):
        SPAN.validate_python(text)


# The examples of RFC 7396, appendix A.
@pytest.mark.parametrize(
    ("current", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a"], {"a": "b"}, {"a": "b"}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(current: Any, patch: Any, result: Any) -> None:
    assert merge_patch(current, patch) == result


@given(JSON, JSON)
def test_a_merge_patch_is_idempotent(current: Any, patch: Any) -> None:
    once = merge_patch(current, patch)
    assert merge_patch(once, patch) == once


SEALED_URL = {"$sealed": {"key": "k", "version": "1", "box": ""}, "shown": "https://•••@host"}
SEALED_KEY = {"$sealed": {"key": "k", "version": "2", "box": ""}, "shown": "•••"}


@pytest.mark.parametrize(
    ("patch", "result"),
    [
        ({"url": "https://•••@host"}, {"url": SEALED_URL, "inner": {"key": SEALED_KEY, "of": 1}}),
        ({"url": "https://host"}, {"url": "https://host", "inner": {"key": SEALED_KEY, "of": 1}}),
        ({"inner": {"key": "•••", "of": 2}}, {"url": SEALED_URL, "inner": {"key": SEALED_KEY, "of": 2}}),
        ({"inner": {"of": 2}}, {"url": SEALED_URL, "inner": {"key": SEALED_KEY, "of": 2}}),
        ({"inner": None, "url": None}, {}),
        ({"url": {"shown": "https://elsewhere"}}, {"url": {"shown": "https://elsewhere"}, "inner": ...}),
    ],
)
def test_a_value_that_is_sent_back_as_shown_keeps_the_sealed_one(patch: Any, result: Any) -> None:
    stored = {"url": SEALED_URL, "inner": {"key": SEALED_KEY, "of": 1}}
    kept = keep_sealed(merge_patch(shown_form(stored), patch), stored)
    assert kept == {name: stored[name] if value is ... else value for name, value in result.items()}


def test_a_masked_value_that_keeps_nothing_is_refused() -> None:
    stored = {"url": SEALED_URL, "list": [SEALED_KEY, SEALED_KEY]}
    given = {"url": "https://•••@elsewhere", "list": ["•••", "new", "•••"], "new": SEALED_KEY}
    errors = list(masked_errors(given, keep_sealed(given, stored)))
    assert [(error.pointer, error.code) for error in errors] == [
        ("/configuration/url", "masked_value"),
        ("/configuration/list/2", "masked_value"),
        ("/configuration/new", "masked_value"),
        ("/configuration/new/shown", "masked_value"),
    ]


@given(st.dictionaries(st.integers(0, 255), st.integers(0, 10**15), min_size=1))
def test_an_event_id_is_a_position(positions: dict[int, int]) -> None:
    assert parse_id(id_of(positions)) == positions


def test_a_slow_consumer_is_disconnected() -> None:
    listener = EventSubscription({})
    event = JobKilled(
        event_id="e", job_id="j", seq=1, occurred_at=MIN_TIMESTAMP, command_id="c", command_offset=0, actor="a", rules=1
    )
    for offset in range(MAX_QUEUED_EVENTS * 2):
        listener.offer(TailedEvent(0, offset, event))
    assert listener.dropped
    received = [listener.queue.get_nowait() for _ in range(listener.queue.qsize())]
    assert len(received) == MAX_QUEUED_EVENTS
    assert received[-1] is None, "the queue ends with None"


def test_two_idempotency_keys_are_rejected() -> None:
    assert idempotency_key(CIMultiDict([("Idempotency-Key", "a"), ("idempotency-key", "a")])) == "a"
    with pytest.raises(ApiProblem):
        idempotency_key(CIMultiDict([("Idempotency-Key", "a"), ("idempotency-key", "b")]))


@pytest.mark.parametrize(("key", "valid"), [("a" * 200, True), ("a" * 201, False), ("", False), ("a\x00", False)])
def test_an_idempotency_key_is_short_and_printable(key: str, *, valid: bool) -> None:
    headers = CIMultiDict({"Idempotency-Key": key})
    if valid:
        assert idempotency_key(headers) == key
        return
    with pytest.raises(ApiProblem) as refused:
        idempotency_key(headers)
    assert refused.value.errors[0].code == "bad_key"


@pytest.mark.parametrize("name", ["\u200b", " \u200b\u2060 ", "\u00ad", "\x00"])
def test_a_name_needs_a_visible_character(name: str) -> None:
    job = {"provider": "file", "job_type": "import"}
    assert CreateBody.model_validate(job | {"name": "zero\u200bwidth"})
    with pytest.raises(ValidationError):
        CreateBody.model_validate(job | {"name": name})
    with pytest.raises(ValidationError):
        PatchBody.model_validate({"name": name})


@pytest.mark.parametrize("unsafe", ["\x1b[2J", "\x9b2J", "\u202e", "\u2066", "\u061c", "\ufeff", "\r"])
def test_control_and_bidirectional_characters_are_refused(unsafe: str) -> None:
    job = {"provider": "file", "job_type": "import", "name": "Orders"}
    assert CreateBody.model_validate(job | {"description": "two\n\tlines"})
    for body in (job | {"name": f"a{unsafe}"}, job | {"name": "a\nb"}, job | {"description": unsafe}):
        with pytest.raises(ValidationError):
            CreateBody.model_validate(body)
    with pytest.raises(ValidationError):
        PatchBody.model_validate({"description": unsafe})
    with pytest.raises(ValidationError):
        RebuildBody.model_validate({"note": unsafe})
    assert not is_stream_name(f"a{unsafe}")
    assert not is_job_id(f"a{unsafe}")


def test_pointers_are_escaped() -> None:
    assert pointer(("a/b", 0, "~")) == "/a~1b/0/~0"


def test_a_configuration_of_an_unknown_provider_is_masked() -> None:
    assert "s3cret" not in str(redacted("gone", '{"password": "s3cret"}'))


def test_every_schema_has_a_subject() -> None:
    named = {version.id for those in subjects().values() for version in those}
    assert named == set(versions())
    assert "jobs.events-entrepot.jobs.events.JobCreated" in subjects()
    assert {
        "messages.realtime-entrepot.messages.MessageBatch",
        "messages.backfill-entrepot.messages.MessageBatch",
    } <= set(subjects())

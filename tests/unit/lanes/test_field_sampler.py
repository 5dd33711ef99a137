"""The sample of a stream: its first messages and every fiftieth, within limits."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from app.lanes import field_sampler as bounds
from app.lanes.field_sampler import DRAIN_INTERVAL, FIRST, FieldSample
from app.store.models import StreamDelta
from projections.fields.field_stats import FieldStats
from projections.mapping.raw_messages import Raw

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


def record(*messages: Any, stream: str = "people", stamps: Sequence[int] = ()) -> Raw:
    lines = [message if isinstance(message, bytes) else orjson.dumps(message) for message in messages]
    return Raw(stream, "b", 0, b"".join(line + b"\n" for line in lines), len(lines), stamps, 70)


def drained(sample: FieldSample, *seen: StreamDelta, now: datetime = NOW) -> dict[str, StreamDelta]:
    return {entry.stream: entry for entry in sample.drain({item.stream: item for item in seen}, now)}


def stats(sample: FieldSample, stream: str = "people") -> FieldStats:
    return FieldStats.from_json(drained(sample)[stream].fields)


@pytest.mark.parametrize("cut", [1, 7, 49, 50, 51, 333, 1_000])
def test_the_first_and_every_fiftieth_are_sampled_wherever_records_end(cut: int) -> None:
    sample = FieldSample("realtime")
    messages = [{f"m{n}": 1} for n in range(1_000)]
    for start in range(0, len(messages), cut):
        sample.inspect(record(*messages[start : start + cut]))
        sample.inspect(record())
    known = stats(sample)
    assert known.sampled == FIRST + 19
    assert {field.name for field in known.fields()} == {f"m{n}" for n in (*range(FIRST), *range(FIRST, 1_000, 50))}


def test_sketches_are_drained_once_an_interval() -> None:
    sample = FieldSample("realtime")
    sample.inspect(record({"a": 1}, {"b": 2}, stamps=(5, 6)))
    other = StreamDelta(stream="other", lane="realtime", count=3, bytes=9, last_message_at=NOW, last_arrival_at=NOW)
    counts = drained(sample, other)
    assert counts["other"] == other
    assert (
        counts["people"].count,
        counts["people"].bytes,
        counts["people"].last_message_at.year,
    ) == (0, 0, 1)
    assert [field.last_seen_at for field in FieldStats.from_json(counts["people"].fields).fields()] == [5, 6]
    assert not sample.is_due(NOW + DRAIN_INTERVAL), "there is nothing new"
    sample.inspect(record({"a": 1}))
    soon = NOW + DRAIN_INTERVAL - timedelta(seconds=1)
    assert drained(sample, other, now=soon) == {"other": other}
    assert sample.is_due(NOW + DRAIN_INTERVAL)
    assert sample.is_due(NOW - timedelta(hours=1)), "a clock that was set back doesn't hold it up"
    assert set(drained(sample, now=NOW + DRAIN_INTERVAL)) == {"people"}


def test_invalid_messages_are_skipped() -> None:
    sample = FieldSample("realtime")
    sample.inspect(record(b"{", b"[1]", {"a": 1}))
    assert stats(sample).sampled == 1


def test_invented_streams_and_fields_do_not_fill_the_memory() -> None:
    sample = FieldSample("realtime")
    for n in range(3 * bounds.MAX_NUMBERED_STREAMS):
        sample.inspect(record({}, stream=f"s{n}"))
    assert len(drained(sample)) == bounds.MAX_STREAMS
    for n in range(100):
        sample.inspect(record({f"{n} {m}": m for m in range(400)}, stream=f"s{n % 10}"))
    later = NOW + DRAIN_INTERVAL
    counts = drained(sample, now=later)
    held = sum(len(FieldStats.from_json(count.fields).fields()) for count in counts.values())
    assert bounds.MAX_FIELDS <= held < bounds.MAX_FIELDS + 600
    for _ in range(FIRST):
        sample.inspect(record({"long": "x" * (bounds.MAX_SAMPLE_BYTES // 8)}, stream="long"))
    assert FieldStats.from_json(drained(sample, now=later + DRAIN_INTERVAL)["long"].fields).sampled == 7

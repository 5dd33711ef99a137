"""Every outcome of a connector is reported, and nothing is written that would be refused."""

import struct
from collections.abc import AsyncIterator, Sequence
from math import nan
from typing import Any

import pytest

from app.kafka.producer_record import ProducerRecord
from app.kafka.transactions import UnknownOutcomeError
from app.records.message_batches import MAX_RECORD_PAYLOAD_BYTES
from app.runner import run as module
from app.runner.run import Run
from connectors.contract import FixConfiguration, Limits, RateLimited, Reject, RetryLater
from projections.jobs.decide import handle
from schemas.coded import are_bounded
from schemas.commands import ReportError, ReportProgress, ReportRateLimit
from schemas.events import CommandRefused
from schemas.json_values import MAX_JSON_DEPTH
from schemas.messages import MessageBatch
from schemas.policies import ONCE, Cadence
from schemas.wire.codec import decode
from tests.unit.runner.jobs import batch, job, reading, run_context, twin


async def submitted(monkeypatch: pytest.MonkeyPatch, *items: Any, read: Any = None, **fields: Any) -> list[list[Any]]:
    """Return the transactions of a run with this connector, decoded."""
    written: list[list[Any]] = []

    async def submit(records: Sequence[ProducerRecord]) -> None:
        written.append([decode(record.value or b"") for record in records])

    monkeypatch.setattr(module, "connector", twin(read or reading(*items)))
    await Run(job(**fields), run_context(partitions=4), submit).drive()
    return written


async def test_a_batch_is_written_with_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    first, last = await submitted(monkeypatch, batch())
    assert [type(record) for record in first] == [MessageBatch, ReportProgress]
    assert (first[1].report, last[0].report, last[0].pass_done) == (1, 2, True)
    assert last[0].cursor == first[1].cursor == '{"row":2}'


@pytest.mark.parametrize(("cadence", "recurring"), [(ONCE, [False]), (Cadence(kind="continuous"), [True])])
async def test_a_connector_knows_whether_its_job_recurs(
    monkeypatch: pytest.MonkeyPatch, cadence: Cadence, recurring: list[bool]
) -> None:
    received: list[bool] = []

    async def read(_config: Any, _cursor: Any, limits: Limits) -> AsyncIterator[Any]:
        received.append(limits.recurring)
        yield batch()

    await submitted(monkeypatch, read=read, cadence=cadence)
    assert received == recurring


DEEP: dict[str, Any] = {}
for _ in range(MAX_JSON_DEPTH + 1):
    DEEP = {"at": DEEP}

INVALID = {
    "negative counts": {"read": -1},
    "a count that no column holds": {"bytes_read": 10**30},
    "a cursor that is no JSON": {"cursor": {"at": object()}},
    "a cursor that is no object": {"cursor": [1]},
    "a huge cursor": {"cursor": {"at": "x" * 300_000}},
    "a deep cursor": {"cursor": DEEP},
    "an empty stream": {"stream": ""},
    "a stream with NUL": {"stream": "peo\0ple"},
    "half a surrogate pair": {"stream": "\ud800"},
    "no such lane": {"lane": "fast"},
    "a last line unended": {"payload": b'{"id":1}\n{"id":2}'},
    "no line ended at all": {"payload": b"{}", "count": 0},
    "another count": {"count": 3},
    "text for bytes": {"payload": "{}\n{}\n"},
    "too few timestamps": {"timestamps": bytes(8)},
    "half a timestamp": {"timestamps": bytes(7)},
    "a timestamp beyond all calendars": {"timestamps": struct.pack("<2q", 0, 2**62)},
    "a source that can't be encoded": {"source": "\ud800"},
}  # fmt: skip


@pytest.mark.parametrize("invalid", INVALID.values(), ids=INVALID.keys())
async def test_an_invalid_batch_is_an_error_of_the_job_and_not_written(
    monkeypatch: pytest.MonkeyPatch, invalid: dict[str, Any]
) -> None:
    first, *more, (error,) = await submitted(monkeypatch, batch(), batch(**invalid))
    assert more == []
    assert first[1].report == 1
    assert isinstance(error, ReportError)
    assert (error.fault, error.advice) == ("entrepot", "retry")
    assert error.code in {"bad_batch", "unexpected"}
    assert not isinstance(handle(job(report=1), error, 9)[1][0], CommandRefused)


async def test_an_oversized_record_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = b'"%s"\n' % (b"x" * MAX_RECORD_PAYLOAD_BYTES)
    ((error,),) = await submitted(monkeypatch, batch(payload=payload, count=1, read=1, first_row=7))
    assert isinstance(error, ReportError)
    assert (error.code, error.advice) == ("record_too_large", "fix_configuration")
    assert error.params.items() >= {"source": "people.csv", "first_row": 7}.items()


async def test_rejects_are_truncated(monkeypatch: pytest.MonkeyPatch) -> None:
    reject = Reject("row 1", "bad", {"why": "why " * 10_000_000}, b"x" * 20_000_000, "d" * 20_000_000)
    first, _ = await submitted(monkeypatch, batch(rejects=(reject,), read=3))
    letter = first[1]
    assert len(letter.excerpt) == 1024
    assert are_bounded(letter.params)
    assert len(letter.detail) < 5_000


@pytest.mark.parametrize(
    ("raised", "advice"),
    [
        (RetryLater("c", {"m\0": "m\0\ud800" * 10_000_000}, detail="d" * 20_000_000), "retry"),
        (RetryLater("c", retry_after=nan), "wait"),
        (RetryLater("c", retry_after="soon"), "wait"),  # type: ignore[arg-type]  # a connector's mistake
        (FixConfiguration(7, ValueError("not a text")), "fix_configuration"),  # type: ignore[arg-type]  # as above
        (ZeroDivisionError(), "retry"),
    ],
    ids=["long", "nan", "word", "object", "bug"],
)
async def test_an_invalid_error_is_reported(monkeypatch: pytest.MonkeyPatch, raised: Exception, advice: str) -> None:
    ((error,),) = await submitted(monkeypatch, raised)
    assert isinstance(error, ReportError)
    assert error.advice == advice
    assert are_bounded(error.params)
    assert len(error.detail) < 10_000
    assert "\0" not in repr(error.params)
    assert not isinstance(handle(job(), error, 9)[1][0], CommandRefused)


async def test_a_rate_limit_without_a_delay_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    ((limit,),) = await submitted(monkeypatch, RateLimited("c", retry_after=None))  # type: ignore[arg-type]  # a connector that breaks its contract
    assert isinstance(limit, ReportRateLimit)
    assert not isinstance(handle(job(), limit, 9)[1][0], CommandRefused)


async def test_a_connector_that_fails_before_reading_is_an_error_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    ((error,),) = await submitted(monkeypatch, read=lambda *_: 1 / 0)
    assert isinstance(error, ReportError)
    assert (error.code, error.params) == ("unexpected", {"error": "ZeroDivisionError"})


async def test_a_writer_error_is_not_an_error_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    async def submit(_records: Sequence[ProducerRecord]) -> None:
        raise UnknownOutcomeError("lost")

    monkeypatch.setattr(module, "connector", twin(reading(batch())))
    with pytest.raises(UnknownOutcomeError):
        await Run(job(), run_context(partitions=4), submit).drive()


@pytest.mark.parametrize(
    ("items", "end"),
    [
        ((batch(),), "run ended: job=orders run=1 type=twin/import read=2 accepted=2 rejected=0 seconds=0.0"),
        (
            (batch(), RetryLater("down")),
            "run failed with down: job=orders run=1 type=twin/import read=2 accepted=2 rejected=0 seconds=0.0",
        ),
        (
            (RateLimited("slow_down", retry_after=1.0),),
            "run failed with slow_down: job=orders run=1 type=twin/import read=0 accepted=0 rejected=0 seconds=0.0",
        ),
    ],
)
async def test_the_log_has_the_start_and_the_end_of_each_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, items: tuple[Any, ...], end: str
) -> None:
    caplog.set_level("INFO", "app.runner.run")
    await submitted(monkeypatch, *items)
    assert caplog.messages == ["run started: job=orders run=1 type=twin/import", end]

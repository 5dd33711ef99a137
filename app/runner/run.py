"""One run of a job, from its cursor to the current end of the source. Each batch is committed with its report."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from math import nan
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from app.kafka.producer_record import ProducerRecord, RecordTooLarge, check_size
from app.kafka.transactions import FencedError, UnknownOutcomeError
from app.process import Clock, Monotonic
from app.records.encoding import encoded
from app.records.envelopes import stamp
from app.records.message_batches import MAX_RECORD_PAYLOAD_BYTES, Origin, message_records, reject_records
from app.records.partitioning import partition_of
from app.runner.reports import counts_of, progress_report
from app.runner.secrets import ConnectorFailure, VaultUnavailable, open_configuration, redacted_batch
from app.runner.slots import Slots, Turn, TurnOver
from app.runner.source_reader import SourceReader
from app.sentences.validation import validation_sentence
from app.vault.master_key import KeyRing
from connectors.catalog import connector
from connectors.contract import (
    Batch,
    Connector,
    ConnectorError,
    FixConfiguration,
    JobType,
    Limits,
    RateLimited,
    Read,
    RenewAuthorization,
    RestoreSource,
    RetryLater,
)
from connectors.redaction import Redactor
from projections.jobs.decide import handle
from projections.jobs.recorder import MAX_TEXT_CHARACTERS
from projections.jobs.state import Job
from schemas.coded import caused_by, clean_text, fit_params, truncate
from schemas.commands import NO_COUNTS, ReportError, ReportProgress, ReportRateLimit
from schemas.events import CommandRefused
from schemas.json_values import json_pointer
from schemas.messages import BadBatchError, check_batch
from schemas.topics import JOBS_COMMANDS, LANES

Report = ReportProgress | ReportError | ReportRateLimit
Submit = Callable[[Sequence[ProducerRecord]], Awaitable[None]]  # returns once the records are committed

_log = logging.getLogger(__name__)


class ConnectorBug(RetryLater):
    """The connector violates its contract. Only a new version of the connector can fix it, not the configuration."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """The dependencies that runs share."""

    partitions: int
    limits: Limits
    clock: Clock
    monotonic: Monotonic
    slots: Mapping[str, Slots]  # by kind of job
    read_keys: Callable[[], KeyRing]  # for the secrets of configurations
    # Reads that can't be ended, by job.
    hanging: dict[str, asyncio.Task[None]] = field(default_factory=dict, init=False)


class Run:
    """The run `job.run` of a job. `read` provides the data of a pushed job."""

    def __init__(self, job: Job, context: RunContext, submit: Submit, read: Read | None = None) -> None:
        self.job = job
        self.report = job.report  # of the latest report submitted
        self._cursor = job.cursor
        self._context = context
        self._submit = submit
        self._partition = partition_of(job.job_id, context.partitions)
        self._read = read
        self._counts = NO_COUNTS
        self._redactor = Redactor({}, {})
        self._reader: SourceReader | None = None
        self.turn = Turn(context.slots[job.kind], evict=self._evict)

    @property
    def _names(self) -> tuple[str, int, str, str]:
        return self.job.job_id, self.job.run, self.job.provider, self.job.job_type

    async def drive(self) -> Report:
        """Read to the end, and report and return the outcome.

        Only writer errors, the end of the turn (`TurnOver`) and cancellation escape.
        """
        started = self._context.monotonic()
        outcome = "cancelled"
        _log.info("run started: job=%s run=%d type=%s/%s", *self._names)
        try:
            last = await self._report_outcome()
        except TurnOver:
            outcome = "interrupted, since other runs wait for its slot"
            raise
        else:
            outcome = "ended" if isinstance(last, ReportProgress) else f"failed with {last.code}"
            return last
        finally:
            self.turn.end()
            counts, seconds = self._counts, self._context.monotonic() - started
            numbers = (counts.read, counts.accepted, counts.rejected, seconds)
            text = "run %s: job=%s run=%d type=%s/%s read=%d accepted=%d rejected=%d seconds=%.1f"
            _log.info(text, outcome, *self._names, *numbers)

    def supervise(self) -> None:
        """Lend the slot while the source is slow, and give up on one that is too slow. Call it once a tick."""
        if self._reader is not None:
            self._reader.check()
            if self._reader.is_slow:
                self.turn.lend()

    def _evict(self) -> None:
        if self._reader is not None:
            self._reader.give_up(RetryLater("too_many_slow"))

    async def _report_outcome(self) -> Report:
        try:
            async with self._source() as reader:
                await self._write_all(reader)
            last: Report = self._pass_done()
        except (FencedError, UnknownOutcomeError, TurnOver):
            raise
        except ConnectorError as error:
            last = self._failure(error)
        except Exception as error:  # noqa: BLE001  # any failure of a connector is an error of its job only
            failure = ConnectorFailure(self._redactor.text(traceback.format_exc()))
            _log.error("unhandled exception in the connector of job %s", self.job.job_id, exc_info=failure)
            last = self._failure(ConnectorBug("unexpected", {"error": type(error).__name__}))
        await self._commit([encoded(JOBS_COMMANDS, last, last.job_id, self._partition)])
        return last

    async def _commit(self, records: Sequence[ProducerRecord]) -> None:
        await asyncio.shield(self._submit(records))  # they are committed even if the run is cancelled

    async def poll(self) -> bool:
        """Whether a run would read something, or fail. Writes nothing: a run reads or reports it again."""
        try:
            async with self._source() as reader:
                return await reader.next() is not None
        except Exception:  # noqa: BLE001  # the run fails again, and reports it
            return True
        finally:
            self.turn.end()

    @asynccontextmanager
    async def _source(self) -> AsyncIterator[SourceReader]:
        """Open the source at the cursor, once the run has a slot."""
        provider, job_type = _job_type(self.job)
        plain = open_configuration(self.job, self._context.read_keys)
        self._redactor = Redactor(plain, provider.redact(plain))
        configuration = _configuration(job_type, plain)
        read = self._read or job_type.read
        if read is None:
            raise FixConfiguration("pushed")
        if self.job.job_id in self._context.hanging:
            raise RetryLater("still_hanging")
        await self.turn.acquire()
        recurring = self.job.cadence.kind != "once"
        is_new_pass = self.job.synced_at is not None and not self.job.pass_counts.read
        limits = replace(self._context.limits, recurring=recurring, rereads=recurring or is_new_pass)
        batches: Any = partial(read, configuration, orjson.loads(self.job.cursor))
        self._reader = SourceReader(batches, limits, self._context.monotonic)
        try:
            yield self._reader
        finally:
            await self._reader.close(self._leave_behind)

    async def _write_all(self, reader: SourceReader) -> None:
        while (batch := await reader.next()) is not None:
            records = self._records(redacted_batch(batch, self._redactor))
            self.report += 1
            self._cursor = orjson.dumps(batch.cursor).decode()
            await self._commit(records)
            self._counts += counts_of(batch)
            self.turn.check()
            if not reader.is_slow:
                await self.turn.acquire()

    def _leave_behind(self, closing: asyncio.Task[None]) -> None:
        """Remember a read that can't be ended: it holds a thread, so there is at most one for each job."""
        _log.error("the connector of job %s hangs; its thread is left behind", self.job.job_id)
        hanging = self._context.hanging
        hanging[self.job.job_id] = closing
        closing.add_done_callback(lambda _: hanging.pop(self.job.job_id, None))

    def _records(self, batch: Batch) -> list[ProducerRecord]:
        """Return the records of a batch and its report. Raise if they are too large or would be refused."""
        context, now, report = self._context, self._context.clock(), self.report + 1
        origin = Origin(self.job.job_id, self.job.run, report, self.job.provider)
        try:
            check_batch(batch.stream, batch.count, batch.payload, batch.timestamps)
            _check_lane(batch.lane)
            report_command = progress_report(self._stamp(), self.job, batch, report)
            self._check_report(report_command)
        except BadBatchError as error:
            raise ConnectorBug("bad_batch", caused_by(error.code, error.params)) from error
        records = [
            *message_records(origin, batch, report % context.partitions, now),
            *reject_records(origin, batch, now),
            encoded(JOBS_COMMANDS, report_command, self.job.job_id, self._partition),
        ]
        try:
            for record in records:
                check_size(record.topic, record.key, record.value, MAX_RECORD_PAYLOAD_BYTES, record.headers)
        except RecordTooLarge as error:
            raise FixConfiguration(
                "record_too_large",
                {"source": batch.source, "first_row": batch.first_row, "max": MAX_RECORD_PAYLOAD_BYTES},
                detail=str(error),
            ) from error
        return records

    def _check_report(self, report: ReportProgress) -> None:
        """Decide the report in advance: after the commit a refusal is too late for the records of the batch."""
        before = replace(self.job, report=self.report)
        _, events = handle(before, report, before.command_offset + 1)
        for event in events:
            if isinstance(event, CommandRefused):
                raise BadBatchError(event.code, event.params)

    def _stamp(self) -> dict[str, Any]:
        return stamp(self.job.job_id, "runner", self._context.clock)

    def _pass_done(self) -> ReportProgress:
        self.report += 1
        return ReportProgress(
            **self._stamp(),
            run=self.job.run,
            report=self.report,
            cursor=self._cursor,
            counts=NO_COUNTS,
            stream="",
            lane="",
            pass_done=True,
        )

    def _failure(self, error: ConnectorError) -> ReportError | ReportRateLimit:
        params = fit_params(self._redactor.value(error.params))
        common = {**self._stamp(), "run": self.job.run, "code": _text(error.code), "params": params}
        if isinstance(error, RateLimited):
            return ReportRateLimit(**common, retry_after_seconds=_seconds(error.retry_after))
        return ReportError(**common, detail=_text(self._redactor.text(str(error.detail))), **_diagnosis(error))


def _check_lane(lane: str) -> None:
    if lane not in LANES:
        raise BadBatchError("unknown_lane", {"lane": lane, "lanes": tuple(LANES)})


def _job_type(job: Job) -> tuple[Connector, JobType]:
    provider = connector(job.provider)
    job_type = provider.job_type(job.job_type) if provider else None
    if provider is None or job_type is None:
        raise FixConfiguration("unknown_job_type", {"provider": job.provider, "job_type": job.job_type})
    return provider, job_type


def _configuration(job_type: JobType, values: Mapping[str, Any]) -> BaseModel:
    try:
        return job_type.config.model_validate_json(orjson.dumps(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise FixConfiguration(
            "bad_configuration",
            {"pointer": json_pointer(*first["loc"]), "problem": first["type"]},
            detail=validation_sentence(first),
        ) from error


def _diagnosis(error: ConnectorError) -> dict[str, Any]:
    match error:
        case RestoreSource():
            return {"fault": "provider", "advice": "restore_source"}
        case FixConfiguration():
            return {"fault": "configuration", "advice": "fix_configuration"}
        case RenewAuthorization():
            return {"fault": "authorization", "advice": "renew_authorization"}
        case ConnectorBug() | VaultUnavailable():
            return {"fault": "entrepot", "advice": "retry"}
        case RetryLater(retry_after=seconds) if seconds is not None:
            return {"fault": "provider", "advice": "wait", "retry_after_seconds": _seconds(seconds)}
        case _:
            return {"fault": "provider", "advice": "retry"}


def _text(value: object) -> str:
    """Return a message of a provider, truncated, and valid for every store."""
    return truncate(clean_text(str(value)), MAX_TEXT_CHARACTERS)


def _seconds(value: object) -> float:
    """Return the requested delay; NaN if it is not a number."""
    return float(value) if isinstance(value, int | float) else nan

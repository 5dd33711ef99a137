"""Pushed jobs in a runner: never driven, and given up when nobody reports on them."""

import asyncio
from datetime import timedelta
from typing import Any

from app.kafka.clients import KafkaCluster
from app.kafka.transactions import GroupCommit
from app.records.envelopes import stamp
from app.runner.partition import OwnedPartition, RunnerContext
from app.runner.run import Run, RunContext
from app.runner.stalled_uploads import ASK_AGAIN, REPORT_TIMEOUT, StalledUploads
from connectors.contract import Limits
from projections.jobs.decide import handle
from projections.jobs.evolve import evolve
from projections.jobs.state import Completed, Failed, Job
from schemas.commands import ReportError
from tests.unit.runner.jobs import START, job

UPLOAD = job(provider="collect", job_type="bulk_csv", configuration='{"stream":"people"}')
SECOND = timedelta(seconds=1)


def stamped(job_id: str) -> dict[str, Any]:
    return stamp(job_id, "runner", lambda: START)


def test_an_upload_that_nobody_reports_on_is_told_to_fail_until_it_does() -> None:
    unattended = StalledUploads()
    unattended.look_at(UPLOAD)
    assert list(unattended.due(START + REPORT_TIMEOUT - SECOND, stamped)) == []
    (report,) = unattended.due(START + REPORT_TIMEOUT, stamped)
    assert (report.code, report.advice, report.run) == ("upload_interrupted", "fix_configuration", 1)
    assert report.code == "upload_interrupted"
    assert list(unattended.due(START + REPORT_TIMEOUT + SECOND, stamped)) == [], "one is enough, for a while"
    assert len(list(unattended.due(START + REPORT_TIMEOUT + ASK_AGAIN, stamped))) == 1
    failed: Any = UPLOAD
    for event in handle(UPLOAD, report, 9)[1]:
        failed = evolve(failed, event)
    assert isinstance(failed, Job)
    assert isinstance(failed.phase, Failed)
    unattended.look_at(failed)
    assert list(unattended.due(START + 10 * REPORT_TIMEOUT, stamped)) == []


def test_a_report_is_a_sign_of_life() -> None:
    unattended = StalledUploads()
    unattended.look_at(UPLOAD)
    unattended.look_at(job(provider="collect", job_type="bulk_csv", updated_at=START + REPORT_TIMEOUT))
    assert list(unattended.due(START + 2 * REPORT_TIMEOUT - SECOND, stamped)) == []
    unattended.look_at(job(Completed(since=START), provider="collect", job_type="bulk_csv"))
    assert list(unattended.due(START + 9 * REPORT_TIMEOUT, stamped)) == []


async def test_a_partition_drives_no_upload() -> None:
    shop = RunnerContext(KafkaCluster("127.0.0.1:1"), "runner", 1, Limits(), lambda: START, asyncio.Semaphore(1))
    partition = OwnedPartition(0, shop, [UPLOAD])
    writer = GroupCommit(KafkaCluster("127.0.0.1:1"), "never entered")
    partition._reconcile(writer)
    await writer._producer.stop()
    assert partition._runs == {}


async def test_a_run_of_an_upload_without_its_request_is_an_error_of_the_job() -> None:
    told: list[Any] = []

    async def submit(records: Any) -> None:
        told.extend(records)

    last = await Run(UPLOAD, RunContext(Limits(), lambda: START, 0, 1, submit)).drive()
    assert isinstance(last, ReportError)
    assert (last.code, len(told)) == ("pushed", 1)

"""Pushed jobs in a runner are never run, and fail without progress reports."""

from datetime import timedelta
from typing import Any

from app.kafka.clients import KafkaCluster
from app.kafka.transactions import GroupCommit
from app.records.envelopes import stamp
from app.runner.partition import OwnedPartition
from app.runner.run import Run
from app.runner.stalled_uploads import REPORT_TIMEOUT, RETRY_DELAY, StalledUploads
from projections.jobs.decide import handle
from projections.jobs.evolve import evolve
from projections.jobs.state import Completed, Failed, Job
from schemas.commands import ReportError
from tests.unit.runner.jobs import START, job, run_context

UPLOAD = job(provider="collect", job_type="bulk_csv", configuration='{"stream":"people"}')
SECOND = timedelta(seconds=1)


def stamped(job_id: str) -> dict[str, Any]:
    return stamp(job_id, "runner", lambda: START)


def test_an_upload_without_reports_fails() -> None:
    uploads = StalledUploads()
    uploads.update(UPLOAD)
    assert list(uploads.due(START + REPORT_TIMEOUT - SECOND, stamped)) == []
    (report,) = uploads.due(START + REPORT_TIMEOUT, stamped)
    assert (report.code, report.advice, report.run) == ("upload_interrupted", "fix_configuration", 1)
    assert report.code == "upload_interrupted"
    assert list(uploads.due(START + REPORT_TIMEOUT + SECOND, stamped)) == [], "not repeated before the delay"
    assert len(list(uploads.due(START + REPORT_TIMEOUT + RETRY_DELAY, stamped))) == 1
    failed: Any = UPLOAD
    for event in handle(UPLOAD, report, 9)[1]:
        failed = evolve(failed, event)
    assert isinstance(failed, Job)
    assert isinstance(failed.phase, Failed)
    uploads.update(failed)
    assert list(uploads.due(START + 10 * REPORT_TIMEOUT, stamped)) == []


def test_a_report_resets_the_timeout() -> None:
    uploads = StalledUploads()
    uploads.update(UPLOAD)
    uploads.update(job(provider="collect", job_type="bulk_csv", updated_at=START + REPORT_TIMEOUT))
    assert list(uploads.due(START + 2 * REPORT_TIMEOUT - SECOND, stamped)) == []
    uploads.update(job(Completed(since=START), provider="collect", job_type="bulk_csv"))
    assert list(uploads.due(START + 9 * REPORT_TIMEOUT, stamped)) == []


async def test_a_partition_runs_no_upload() -> None:
    cluster = KafkaCluster("127.0.0.1:1")
    partition = OwnedPartition(0, cluster, run_context(), [UPLOAD])
    writer = GroupCommit(cluster, "never entered")
    partition._reconcile(writer)
    await writer._producer.stop()
    assert partition._runs == {}


async def test_running_an_upload_without_a_request_is_an_error_of_the_job() -> None:
    submitted: list[Any] = []

    async def submit(records: Any) -> None:
        submitted.extend(records)

    last = await Run(UPLOAD, run_context(), submit).drive()
    assert isinstance(last, ReportError)
    assert (last.code, len(submitted)) == ("pushed", 1)

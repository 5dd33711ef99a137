"""Reports of runs, and commands as Kafka records."""

import orjson

from app.kafka.producer_record import ProducerRecord
from connectors.contract import Batch
from projections.jobs.state import Job
from schemas.commands import Counts, JobCommand, ReportProgress
from schemas.topics import JOBS_COMMANDS
from schemas.wire.codec import encode
from schemas.wire.headers import headers_of


def progress_report(envelope: dict[str, object], job: Job, batch: Batch, report: int) -> ReportProgress:
    """Return the progress report of a batch."""
    return ReportProgress(
        **envelope,  # type: ignore[arg-type]  # the fields of Command, made by `stamp`
        run=job.run,
        report=report,
        cursor=orjson.dumps(batch.cursor).decode(),
        counts=Counts(
            read=batch.read,
            accepted=batch.count,
            rejected=len(batch.rejects) + batch.rejects_dropped,
            duplicate=batch.duplicate,
            omitted=batch.omitted,
        ),
        stream=batch.stream,
        lane=batch.lane,
        pass_done=False,
        bytes_read=batch.bytes_read,
        bytes_total=batch.bytes_total,
    )


def command_record(command: JobCommand, partition: int) -> ProducerRecord:
    """Return the record of a command, in the partition of its job."""
    return ProducerRecord(
        JOBS_COMMANDS.name,
        encode(command),
        key=command.job_id.encode(),
        partition=partition,
        headers=headers_of(command),
    )

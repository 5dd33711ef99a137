"""Commands against a real API in this process, and a runner whose reports a test writes."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from app.cli.main import cli
from app.kafka.clients import started
from app.kafka.producer_record import ProducerRecord, send
from app.records.encoding import encoded
from app.records.partitioning import partition_of
from schemas.coded import Params
from schemas.commands import Counts, JobCommand, ReportError, ReportProgress, ReportRateLimit
from schemas.messages import MessageRejected
from schemas.topics import JOBS_COMMANDS, MESSAGES_REJECTED
from tests.integration.api.rig import UNCHECKED, Client
from tests.integration.support.service import TOKEN
from tests.unit.api.conftest import (
    PARTITIONS,
    Api,
    WallClock,
    api,
    client,
    clock,
    cluster,
    control,
    data_dir,
    new_data,
    plane,
)

__all__ = ["api", "client", "clock", "cluster", "control", "data_dir", "new_data", "plane"]


@dataclass
class CommandLine:
    """Runs commands in a thread, against the API in this process."""

    client: Client

    async def run(self, *arguments: str, stdin: str | None = None) -> Result:
        options = ("--url", self.client.url, "--token", TOKEN)
        return await asyncio.to_thread(CliRunner().invoke, cli, [*arguments, *options], input=stdin)

    async def create(self, name: str = "People", **facts: Any) -> dict[str, Any]:
        """Create a job without the checks of the command."""
        configuration = {"source": "people.csv", "stream": "people"}
        body = {"name": name, "provider": "file", "job_type": "import", "configuration": configuration} | facts
        job: dict[str, Any] = await self.client.post(UNCHECKED, body)
        return job


@dataclass
class RunnerTwin:
    """Writes the reports and the dead letters of a runner, as a run would."""

    api: Api
    clock: WallClock
    reports: dict[str, int] = field(default_factory=dict)

    async def progress(self, job_id: str, read: int = 0, rejected: int = 0, *, done: bool = True, run: int = 1) -> None:
        self.reports[job_id] = self.reports.get(job_id, 0) + 1
        counts = Counts(read=read, accepted=read - rejected, rejected=rejected)
        await self.report(
            ReportProgress(
                **self._envelope(job_id), run=run, report=self.reports[job_id], cursor="{}", counts=counts,
                stream="people", lane="backfill", pass_done=done,
            )
        )  # fmt: skip

    async def error(self, job_id: str, *, permanent: bool = False, run: int = 1) -> None:
        advice: Any = "fix_configuration" if permanent else "retry"
        fault: Any = "configuration" if permanent else "network"
        await self.report(
            ReportError(
                **self._envelope(job_id), run=run, fault=fault, advice=advice, code="file_not_found",
                params={"source": "people.csv"},
            )
        )  # fmt: skip

    async def rate_limit(self, job_id: str, seconds: float, run: int = 1) -> None:
        params: Params = {"url": "https://example.org", "status": 429}
        await self.report(
            ReportRateLimit(
                **self._envelope(job_id), run=run, code="rate_limited", params=params, retry_after_seconds=seconds
            )
        )

    async def reject(self, job_id: str, *positions: str) -> None:
        letters = [
            MessageRejected(
                rejected_at=self.clock(), code="unclosed_quote", params={}, source="people.csv", position=position,
                stream="people", job_id=job_id,
            )
            for position in positions
        ]  # fmt: skip
        number = partition_of(job_id, PARTITIONS)
        await self._send([encoded(MESSAGES_REJECTED, letter, job_id, number) for letter in letters])

    async def report(self, command: JobCommand) -> None:
        number = partition_of(command.job_id, PARTITIONS)
        await self._send([encoded(JOBS_COMMANDS, command, command.job_id, number)])

    async def _send(self, records: Sequence[ProducerRecord]) -> None:
        producer = self.api.cluster.producer(compression=None, linger_ms=0, request_timeout_ms=1_000)
        async with started(producer):
            await send(producer, records)

    def _envelope(self, job_id: str) -> dict[str, Any]:
        return {"command_id": str(uuid4()), "job_id": job_id, "issued_at": self.clock(), "issued_by": "runner"}


@pytest.fixture
def entrepot(client: Client) -> CommandLine:
    return CommandLine(client)


@pytest.fixture
def runner(api: Api, clock: WallClock) -> RunnerTwin:
    return RunnerTwin(api, clock)

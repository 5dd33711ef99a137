"""Jobs and connectors for the tests of the runner."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from connectors.contract import Batch, Connector, JobType
from projections.jobs.state import Job, Phase, Running, Sleeping

START = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


class AnyConfig(BaseModel):
    """Takes everything."""


def job(phase: Phase | None = None, **facts: Any) -> Job:
    known = Job(
        job_id="orders", seq=2, command_offset=0, phase=phase or Running(since=START), provider="twin",
        job_type="import", kind="import", name="orders", description="", created_at=START, updated_at=START,
        configuration="{}", run=1,
    )  # fmt: skip
    return replace(known, **facts)


def sleeping(minutes: int = 1, **facts: Any) -> Job:
    return job(Sleeping(since=START, reason="cadence", until=START + timedelta(minutes=minutes)), **facts)


def batch(**facts: Any) -> Batch:
    usual = Batch(
        stream="people", lane="backfill", source="people.csv", payload=b'{"id":1}\n{"id":2}\n', count=2, timestamps=b"",
        first_row=1, read=2, cursor={"row": 2},
    )  # fmt: skip
    return replace(usual, **facts)


def twin(read: Callable[..., Any]) -> Callable[[str], Connector]:
    """A catalog of one connector that reads like this."""

    async def check(_config: Any, _limits: Any) -> tuple[()]:
        return ()

    job_type = JobType("import", "import", "", "", AnyConfig, check, read)
    return lambda _: Connector("twin", "", "", "", (job_type,))


def giving(*things: Any) -> Callable[..., AsyncIterator[Any]]:
    """Read these: batches are given, exceptions raised."""

    async def read(_config: Any, _cursor: Any, _limits: Any) -> AsyncIterator[Any]:
        for each in things:
            if isinstance(each, Exception):
                raise each
            yield each

    return read

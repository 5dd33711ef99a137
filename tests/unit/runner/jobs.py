"""Jobs and connectors for the tests of the runner."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict

from app.runner.run import RunContext
from app.runner.slots import Slots
from app.vault.master_key import no_keys
from connectors.contract import Batch, Connector, JobType, Limits
from projections.jobs.state import Job, Phase, Running, Sleeping
from tests.clock import ManualMonotonic

START = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


class AnyConfig(BaseModel):
    """Accepts any configuration."""

    model_config = ConfigDict(extra="allow")


def job(phase: Phase | None = None, **fields: Any) -> Job:
    default = Job(
        job_id="orders", seq=2, command_offset=0, phase=phase or Running(since=START), provider="twin",
        job_type="import", kind="import", name="orders", description="", created_at=START, updated_at=START,
        configuration="{}", run=1,
    )  # fmt: skip
    return replace(default, **fields)


def sleeping(minutes: int = 1, **fields: Any) -> Job:
    return job(Sleeping(since=START, reason="cadence", until=START + timedelta(minutes=minutes)), **fields)


def batch(**fields: Any) -> Batch:
    default = Batch(
        stream="people", lane="backfill", source="people.csv", payload=b'{"id":1}\n{"id":2}\n', count=2, timestamps=b"",
        first_row=1, read=2, cursor={"row": 2},
    )  # fmt: skip
    return replace(default, **fields)


def run_context(**fields: Any) -> RunContext:
    default = RunContext(
        partitions=1, limits=Limits(), clock=lambda: START, monotonic=ManualMonotonic(),
        slots=defaultdict(lambda: Slots(1, ManualMonotonic())), read_keys=no_keys,
    )  # fmt: skip
    return replace(default, **fields)


def twin(read: Callable[..., Any]) -> Callable[[str], Connector]:
    """Return a catalog with one connector that uses this `read`."""

    async def check(_config: Any, _limits: Any) -> tuple[()]:
        return ()

    job_type = JobType("import", "import", "", "", AnyConfig, check, read)
    return lambda _: Connector("twin", "", "", "", (job_type,))


def reading(*items: Any) -> Callable[..., AsyncIterator[Any]]:
    """Return a `read` that yields batches and raises exceptions."""

    async def read(_config: Any, _cursor: Any, _limits: Any) -> AsyncIterator[Any]:
        for item in items:
            if isinstance(item, Exception):
                raise item
            yield item

    return read

"""A countdown, as an example of a connector. Its interface is documented at en.wikipedia.org/wiki/Countdown."""

from collections.abc import AsyncIterator
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from connectors.contract import Batch, ConfigurationProblem, Connector, Cursor, FixConfiguration, JobType, Limits


class Config(BaseModel):
    """The start of a countdown, and the stream that its numbers go into."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stream: str = Field(title="Stream", description="name of the stream", examples=["launch"], pattern="^[a-z]+$")
    begin: int = Field(title="Begin", description="the number to count down from", examples=[10], ge=0, le=1_000_000)


def _job_types() -> tuple[JobType, ...]:
    return (JobType("import", "import", "Count down", "Imports the numbers down to zero.", Config, check, read),)


async def check(config: Config, limits: Limits) -> tuple[ConfigurationProblem, ...]:
    """Report no problems: `Config` validates everything, and there is no provider to contact."""
    return ()


async def read(config: Config, cursor: Cursor, limits: Limits) -> AsyncIterator[Batch]:
    """Yield the numbers after the cursor, one per batch."""
    if cursor.get("row", 0) > config.begin + 1:
        raise FixConfiguration("already_below", {"begin": config.begin})
    for row in range(cursor.get("row", 0) + 1, config.begin + 2):
        line = b'{"number":%d}\n' % (config.begin + 1 - row)
        yield Batch(config.stream, "backfill", "a countdown", line, 1, b"", first_row=row, read=1, cursor={"row": row})


SENTENCES: Final = {"already_below": "the countdown has passed {begin:,} already; begin with a larger number"}
LINK: Final = "https://en.wikipedia.org/wiki/Countdown"
CONNECTOR: Final = Connector("countdown", "Countdown", "Numbers down to zero.", LINK, _job_types(), sentences=SENTENCES)

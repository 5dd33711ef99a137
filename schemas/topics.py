"""Every topic of Entrepot, declared once, as data. Says nothing about how topics are made."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

FOR_EVER: Final = -1
DAY_MS: Final = 24 * 60 * 60 * 1000
DEFAULT_PARTITIONS: Final = 4
MAX_RECORD_BYTES: Final = 16 * 1024 * 1024
MAX_TRANSACTION_MS: Final = 60_000  # what producers ask for by default; who reads waits for an open transaction
FUTURE_BOUND_MS: Final = DAY_MS  # the broker's own bound; a connector refuses a future timestamp with a better message


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic; it has the deployment's partition count. `retention_ms` -1 keeps records for ever."""

    name: str
    key: str
    carries: str
    retention_ms: int = FOR_EVER
    cleanup: Literal["delete", "compact"] = "delete"

    def config(self) -> dict[str, str]:
        """The broker's settings for this topic, as Kafka spells them; these are also what is verified at start."""
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "message.timestamp.type": "CreateTime",  # retention looks at record timestamps, and history has old ones
            "max.message.bytes": str(MAX_RECORD_BYTES),
        }


JOBS_COMMANDS: Final = Topic(
    "jobs.commands", key="job id", carries="what was asked, by people, the runner and the clock"
)
JOBS_EVENTS: Final = Topic("jobs.events", key="job id", carries="what happened: the public contract")
MESSAGES_REALTIME: Final = Topic("messages.realtime", key="any", carries="raw messages, as they happen")
MESSAGES_BACKFILL: Final = Topic("messages.backfill", key="any", carries="raw messages, history")
MESSAGES_REJECTED: Final = Topic(
    "messages.rejected", key="as its source", carries="dead letters: why, and where from", retention_ms=30 * DAY_MS
)

DEFINITIONS_COMMANDS: Final = Topic(
    "definitions.commands", key="definition id", carries="what was asked of mappings and identity rules"
)
DEFINITIONS_EVENTS: Final = Topic(
    "definitions.events", key="definition id", carries="what became of mappings and identity rules"
)
UPDATES_REALTIME: Final = Topic(
    "updates.realtime",
    key="none",
    carries="what messages say about identities, as they happen",
    retention_ms=30 * DAY_MS,
)
UPDATES_BACKFILL: Final = Topic(
    "updates.backfill", key="none", carries="what messages say about identities, history", retention_ms=30 * DAY_MS
)

LANES: Final = MappingProxyType({"realtime": MESSAGES_REALTIME, "backfill": MESSAGES_BACKFILL})
UPDATES: Final = MappingProxyType({"realtime": UPDATES_REALTIME, "backfill": UPDATES_BACKFILL})
TOPICS: Final = MappingProxyType(
    {
        each.name: each
        for each in (
            JOBS_COMMANDS,
            JOBS_EVENTS,
            DEFINITIONS_COMMANDS,
            DEFINITIONS_EVENTS,
            MESSAGES_REALTIME,
            MESSAGES_BACKFILL,
            MESSAGES_REJECTED,
            UPDATES_REALTIME,
            UPDATES_BACKFILL,
        )
    }
)

"""All topics of Entrepot, as data. `app.kafka.topics` creates them."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

UNLIMITED_RETENTION: Final = -1
HOUR_MS: Final = 60 * 60 * 1000
DAY_MS: Final = 24 * HOUR_MS
DEFAULT_PARTITIONS: Final = 4
MAX_RECORD_BYTES: Final = 16 * 1024 * 1024
MAX_TRANSACTION_MS: Final = 60_000  # the default of producers; consumers wait for open transactions
FUTURE_BOUND_MS: Final = DAY_MS  # the bound of the broker; connectors check it first, with a better message


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic. The deployment sets its partition count. `retention_ms` -1 keeps records indefinitely."""

    name: str
    key: str
    carries: str
    retention_ms: int = UNLIMITED_RETENTION
    cleanup: Literal["delete", "compact"] = "delete"
    compaction_lag_ms: int = 0  # keeps superseded records for at least this time

    def config(self) -> dict[str, str]:
        """Return the topic configuration of Kafka, which is also verified at start."""
        return {
            "cleanup.policy": self.cleanup,
            "min.compaction.lag.ms": str(self.compaction_lag_ms),
            "retention.ms": str(self.retention_ms),
            "message.timestamp.type": "CreateTime",  # retention uses record timestamps, and history has old ones
            "max.message.bytes": str(MAX_RECORD_BYTES),
        }


JOBS_COMMANDS: Final = Topic("jobs.commands", key="job id", carries="commands from users, runners and the scheduler")
JOBS_EVENTS: Final = Topic("jobs.events", key="job id", carries="events: the public contract")
MESSAGES_REALTIME: Final = Topic("messages.realtime", key="any", carries="raw messages, current")
MESSAGES_BACKFILL: Final = Topic("messages.backfill", key="any", carries="raw messages, historical")
MESSAGES_REJECTED: Final = Topic(
    "messages.rejected", key="as its source", carries="dead letters with reason and origin", retention_ms=30 * DAY_MS
)

DEFINITIONS_COMMANDS: Final = Topic(
    "definitions.commands",
    key="definition id",
    carries="commands for mappings, identity rules, rebuilds, forgettings and tokens",
)
DEFINITIONS_EVENTS: Final = Topic(
    "definitions.events",
    key="definition id",
    carries="events of mappings, identity rules, rebuilds, forgettings and tokens",
)
ACCESS_SESSIONS: Final = Topic(
    "access.sessions",
    key="session or code id",
    carries="hashes of browser sessions and sign-in codes",
    cleanup="compact",
    compaction_lag_ms=HOUR_MS,  # longer than a code lives: a server that starts sees whether it was used
)
UPDATES_REALTIME: Final = Topic(
    "updates.realtime",
    key="none",
    carries="mapped messages, current",
    retention_ms=30 * DAY_MS,
)
UPDATES_BACKFILL: Final = Topic(
    "updates.backfill", key="none", carries="mapped messages, historical", retention_ms=30 * DAY_MS
)

LANES: Final = MappingProxyType({"realtime": MESSAGES_REALTIME, "backfill": MESSAGES_BACKFILL})
UPDATES: Final = MappingProxyType({"realtime": UPDATES_REALTIME, "backfill": UPDATES_BACKFILL})
TOPICS: Final = MappingProxyType(
    {
        topic.name: topic
        for topic in (
            JOBS_COMMANDS,
            JOBS_EVENTS,
            DEFINITIONS_COMMANDS,
            DEFINITIONS_EVENTS,
            ACCESS_SESSIONS,
            MESSAGES_REALTIME,
            MESSAGES_BACKFILL,
            MESSAGES_REJECTED,
            UPDATES_REALTIME,
            UPDATES_BACKFILL,
        )
    }
)

"""The tables of the read store. Those of a generation of views have its number in their names.

Instants are microseconds since 1970 UTC, in metrics minutes. Texts compare by their bytes, so that both databases sort
alike.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text, TypeDecorator
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from schemas.commands import COUNT_NAMES

VERSION: Final = 2  # of the contents of the views; a new one requires `entrepot views rebuild`
NEVER: Final = 2**63 - 1  # the next wake of a job without one; sorts last
NO_GENERATION: Final = 0  # of offsets that belong to no generation of views


class SafeText(TypeDecorator[str]):
    """Text that sorts by its bytes. Characters that a database rejects are replaced: U+0000 and lone surrogates."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Set the collation of PostgreSQL; SQLite compares bytes anyway."""
        return dialect.type_descriptor(Text(collation="C") if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002  # SQLAlchemy's signature
        """Replace the characters that a database rejects."""
        return value and value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


shared = MetaData()

generations = Table(
    "generations",
    shared,
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("state", SafeText, nullable=False),  # live, filling or retired
)

offsets = Table(
    "offsets",
    shared,
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("topic", SafeText, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)

streams = Table(
    "streams",
    shared,
    Column("stream", SafeText, primary_key=True),
    Column("lane", SafeText, primary_key=True),
    Column("topic", SafeText, primary_key=True),
    Column("partition", Integer, primary_key=True),  # one row each, so that writers never conflict
    Column("count", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("last_message_at", BigInteger, nullable=False),
    Column("last_arrival_at", BigInteger, nullable=False),
    Column("last_offset", BigInteger, nullable=False),  # of its records; -1: unknown
)

stream_fields = Table(
    "stream_fields",
    shared,
    Column("stream", SafeText, primary_key=True),
    Column("topic", SafeText, primary_key=True),
    Column("partition", Integer, primary_key=True),  # as above
    Column("format", Integer, primary_key=True, autoincrement=False),  # of the sketch, by version of Entrepot
    Column("sketch", LargeBinary, nullable=False),
)

blocked_identities = Table(
    "blocked_identities",
    shared,
    Column("stream", SafeText, primary_key=True),
    Column("lane", SafeText, primary_key=True),
    Column("topic", SafeText, primary_key=True),
    Column("partition", Integer, primary_key=True),  # as above
    Column("kind", SafeText, primary_key=True),
    Column("value", SafeText, primary_key=True),  # folded
    Column("count", BigInteger, nullable=False),
)

idempotency_records = Table(
    "idempotency_records",
    shared,
    Column("upload_id", SafeText, primary_key=True),
    Column("digest", LargeBinary, nullable=False),  # of the request
    Column("claimed_at", BigInteger, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("answer", LargeBinary, nullable=False),  # empty until the request is complete
)
Index("idempotency_records_by_time", idempotency_records.c.claimed_at)

lane_switches = Table(
    "lane_switches",
    shared,
    Column("lane", SafeText, primary_key=True),
    Column("paused", Integer, nullable=False),  # 0 or 1
    Column("by", SafeText, nullable=False),  # actor of the last switch
    Column("at", BigInteger, nullable=False),
)

mapped_jobs = Table(
    "mapped_jobs",
    shared,
    Column("job_id", SafeText, primary_key=True),
    Column("topic", SafeText, primary_key=True),
    Column("partition", Integer, primary_key=True),  # as above
    Column("count", BigInteger, nullable=False),  # of its mapped messages
    Column("mapped_at", BigInteger, nullable=False),  # when the last of them was sent to the profiles
)

lane_rejected = Table(
    "lane_rejected",
    shared,
    Column("topic", SafeText, primary_key=True),
    Column("partition", Integer, primary_key=True),  # as above
    Column("code", SafeText, primary_key=True),
    Column("count", BigInteger, nullable=False),  # of dead letters
)

lane_owners = Table(
    "lane_owners",
    shared,
    Column("topic", SafeText, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("owner", SafeText, nullable=False),  # the worker that claimed the partition last
)

applied_rules = Table(
    "applied_rules",
    shared,
    Column("topic", SafeText, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("offset", BigInteger, primary_key=True),  # of the first raw record mapped by these rules
    Column("rules_offset", BigInteger, nullable=False),
)

confirmed_rules = Table(
    "confirmed_rules",
    shared,
    Column("topic", SafeText, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("rules_offset", BigInteger, nullable=False),  # the lane uses these rules, or newer ones
)

profile_generations = Table(
    "profile_generations",
    shared,
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("state", SafeText, nullable=False),  # next, live or previous
)

profile_owners = Table(
    "profile_owners",
    shared,
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("url", SafeText, nullable=False),
    Column("secret", SafeText, nullable=False),
)

rebuild_progress = Table(
    "rebuild_progress",
    shared,
    Column("rebuild_id", SafeText, primary_key=True),
    Column("progress", LargeBinary, nullable=False),  # JSON
)

sealing_key = Table(
    "sealing_key",
    shared,
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("public_key", LargeBinary, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one generation."""

    generation: int
    metadata: MetaData
    jobs: Table
    states: Table
    log: Table
    metrics: Table
    totals: Table
    configurations: Table
    events: Table
    snapshots: Table


@cache
def tables_of(generation: int) -> Tables:
    """Return the tables of a generation, whether they exist or not."""
    metadata = MetaData()
    suffix = f"_g{generation}"
    return Tables(
        generation=generation,
        metadata=metadata,
        jobs=_jobs(metadata, suffix),
        states=_states(metadata, suffix),
        log=_log(metadata, suffix),
        metrics=_metrics(metadata, suffix),
        totals=_totals(metadata, suffix),
        configurations=_configurations(metadata, suffix),
        events=_events(metadata, suffix),
        snapshots=_snapshots(metadata, suffix),
    )


def _jobs(metadata: MetaData, suffix: str) -> Table:
    sorts = ("name_key", "status", "created_at", "updated_at", "next_wake")
    table = Table(
        f"jobs{suffix}",
        metadata,
        Column("job_id", SafeText, primary_key=True),
        Column("seq", BigInteger, nullable=False),
        Column("status", SafeText, nullable=False),
        Column("provider", SafeText, nullable=False),
        Column("job_type", SafeText, nullable=False),
        Column("kind", SafeText, nullable=False),
        Column("name_key", SafeText, nullable=False),  # case-folded
        Column("search", SafeText, nullable=False),  # name, description and id, case-folded
        Column("created_at", BigInteger, nullable=False),
        Column("updated_at", BigInteger, nullable=False),
        Column("next_wake", BigInteger, nullable=False),
    )
    for sort in sorts:
        columns = ("job_id",) if sort == "status" else (sort, "job_id")
        Index(f"jobs{suffix}_by_{sort}", table.c.status, *(table.c[name] for name in columns))
    return table


def _states(metadata: MetaData, suffix: str) -> Table:
    """The complete job states, beside the narrow rows that are searched."""
    return Table(
        f"states{suffix}",
        metadata,
        Column("job_id", SafeText, primary_key=True),
        Column("state", LargeBinary, nullable=False),
    )


def _log(metadata: MetaData, suffix: str) -> Table:
    table = Table(
        f"log{suffix}",
        metadata,
        Column("job_id", SafeText, primary_key=True),
        Column("at", BigInteger, primary_key=True),
        Column("seq", BigInteger, primary_key=True),
        Column("kind", SafeText, nullable=False),
        Column("message", SafeText, nullable=False),
        Column("by", SafeText, nullable=False),
        Column("detail", SafeText, nullable=False),
        Column("code", SafeText, nullable=False),
        Column("params", SafeText, nullable=False),  # JSON
        sqlite_with_rowid=False,
    )
    Index(f"log{suffix}_by_time", table.c.at, table.c.job_id, table.c.seq)
    return table


def _metrics(metadata: MetaData, suffix: str) -> Table:
    table = Table(
        f"metrics{suffix}",
        metadata,
        Column("grain", Integer, primary_key=True, autoincrement=False),  # minutes: 1 or 60
        Column("minute", BigInteger, primary_key=True),
        Column("job_id", SafeText, primary_key=True),
        Column("stream", SafeText, primary_key=True),
        Column("provider", SafeText, nullable=False),
        *(Column(name, BigInteger, nullable=False) for name in COUNT_NAMES),
        sqlite_with_rowid=False,
    )
    Index(f"metrics{suffix}_by_job", table.c.job_id, table.c.grain, table.c.minute)
    return table


def _totals(metadata: MetaData, suffix: str) -> Table:
    return Table(
        f"totals{suffix}",
        metadata,
        Column("provider", SafeText, primary_key=True),
        Column("job_type", SafeText, primary_key=True),
        Column("measure", SafeText, primary_key=True),
        Column("outcome", SafeText, primary_key=True),
        Column("partition", Integer, primary_key=True),  # one row each, so that writers never conflict
        Column("count", BigInteger, nullable=False),
    )


def _configurations(metadata: MetaData, suffix: str) -> Table:
    return Table(
        f"configurations{suffix}",
        metadata,
        Column("job_id", SafeText, primary_key=True),
        Column("version", BigInteger, primary_key=True),
        Column("seq", BigInteger, nullable=False),  # of the event that set it
    )


def _events(metadata: MetaData, suffix: str) -> Table:
    return Table(
        f"events{suffix}",
        metadata,
        Column("job_id", SafeText, primary_key=True),
        Column("seq", BigInteger, primary_key=True),
        Column("type", SafeText, nullable=False),
        Column("occurred_at", BigInteger, nullable=False),
        Column("partition", Integer, nullable=False),
        Column("offset", BigInteger, nullable=False),
        Column("value", LargeBinary, nullable=False),
    )


def _snapshots(metadata: MetaData, suffix: str) -> Table:
    """Job states at intervals, so that reading a past state folds few events."""
    return Table(
        f"snapshots{suffix}",
        metadata,
        Column("job_id", SafeText, primary_key=True),
        Column("at", BigInteger, primary_key=True),
        Column("seq", BigInteger, primary_key=True),
        Column("state", LargeBinary, nullable=False),
    )

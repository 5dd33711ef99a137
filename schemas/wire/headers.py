"""The Kafka headers of records: CloudEvents 1.0 attributes (Kafka protocol binding, binary mode) and `traceparent`.

Consumers can route by headers without decoding the body.
"""

from datetime import datetime
from typing import Final, assert_never

from schemas.commands import Command
from schemas.definitions import CommandEnvelope, EventEnvelope
from schemas.events import Event
from schemas.instants import rfc3339
from schemas.messages import MessageBatch, MessageRejected
from schemas.wire.catalog import newest

SOURCE: Final = b"/entrepot"
CONTENT_TYPE: Final = b"application/avro"

Headers = tuple[tuple[str, bytes], ...]
Routed = Command | Event | MessageBatch | MessageRejected | CommandEnvelope | EventEnvelope


def headers_of(record: Routed, traceparent: str = "") -> Headers:
    """Return the headers of a record. `ce_type` is the name of its Avro schema."""
    identifier, when, subject = _attributes(record)
    headers: Headers = (
        ("ce_specversion", b"1.0"),
        ("ce_id", identifier.encode()),
        ("ce_type", newest()[type(record)].name.encode()),
        ("ce_source", SOURCE),
        ("ce_time", rfc3339(when).encode()),
        ("content-type", CONTENT_TYPE),
    )
    optional = (("ce_subject", subject), ("traceparent", traceparent))
    return (*headers, *((name, value.encode()) for name, value in optional if value))


def _attributes(record: Routed) -> tuple[str, datetime, str]:
    match record:
        case Event():
            return record.event_id, record.occurred_at, record.job_id
        case Command():
            return record.command_id, record.issued_at, record.job_id
        case EventEnvelope():
            return record.event_id, record.occurred_at, record.definition_id
        case CommandEnvelope():
            return record.command_id, record.issued_at, record.definition_id
        case MessageBatch():
            return record.batch_id, record.ingested_at, record.stream
        case MessageRejected():
            return f"{record.source}#{record.position}", record.rejected_at, record.stream
        case _:
            assert_never(record)

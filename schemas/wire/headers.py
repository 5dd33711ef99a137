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


def headers_of(word: Routed, traceparent: str = "") -> Headers:
    """Return the headers of a record. `ce_type` is the name of its Avro schema."""
    identifier, when, subject = _attributes(word)
    headers: Headers = (
        ("ce_specversion", b"1.0"),
        ("ce_id", identifier.encode()),
        ("ce_type", newest()[type(word)].name.encode()),
        ("ce_source", SOURCE),
        ("ce_time", rfc3339(when).encode()),
        ("content-type", CONTENT_TYPE),
    )
    optional = (("ce_subject", subject), ("traceparent", traceparent))
    return (*headers, *((name, value.encode()) for name, value in optional if value))


def _attributes(word: Routed) -> tuple[str, datetime, str]:
    match word:
        case Event():
            return word.event_id, word.occurred_at, word.job_id
        case Command():
            return word.command_id, word.issued_at, word.job_id
        case EventEnvelope():
            return word.event_id, word.occurred_at, word.definition_id
        case CommandEnvelope():
            return word.command_id, word.issued_at, word.definition_id
        case MessageBatch():
            return word.batch_id, word.ingested_at, word.stream
        case MessageRejected():
            return f"{word.source}#{word.position}", word.rejected_at, word.stream
        case _:
            assert_never(word)

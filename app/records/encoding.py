"""Commands, events and dead letters as records to produce."""

from app.kafka.producer_record import ProducerRecord
from schemas.commands import JobCommand
from schemas.definitions import DefinitionCommand, DefinitionEvent
from schemas.events import JobEvent
from schemas.messages import MessageRejected
from schemas.topics import Topic
from schemas.wire.codec import encode
from schemas.wire.headers import headers_of

Encodable = JobCommand | JobEvent | DefinitionCommand | DefinitionEvent | MessageRejected


def encoded(
    topic: Topic, record: Encodable, key: str | bytes | None = None, partition: int | None = None, traceparent: str = ""
) -> ProducerRecord:
    """Return a command, an event or a dead letter as a record, with its headers."""
    return ProducerRecord(
        topic.name,
        encode(record),
        key=key.encode() if isinstance(key, str) else key,
        partition=partition,
        headers=headers_of(record, traceparent),
    )

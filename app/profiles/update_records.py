"""What a record of `updates.*` says. A stranger's says nothing: profiles pass over it, and go on."""

import logging
from typing import Final, Protocol

from schemas.topics import LANES
from schemas.updates import MappedBatch, NodeBatch, Update
from schemas.wire.catalog import UnknownSchemaError
from schemas.wire.codec import MalformedRecordError, decode

RAW_TOPICS: Final = frozenset(topic.name for topic in LANES.values())

MAX_PARTITION: Final = 0xFFFF  # as `REFERENCE` in app.profiles.partition has room for

_log: Final = logging.getLogger(__name__)


class UpdateRecord(Protocol):
    """A record as Kafka gives it."""

    topic: str
    partition: int
    offset: int
    value: bytes | None


def heard(record: UpdateRecord) -> Update | None:
    """Return what a record says; None, and a line in the log, when it is nothing that lanes or profiles write."""
    try:
        word = decode(record.value or b"")
    except (MalformedRecordError, UnknownSchemaError) as error:
        why = str(error)
    else:
        if isinstance(word, NodeBatch) or (isinstance(word, MappedBatch) and _is_of_ours(word)):
            return word
        why = f"this {type(word).__name__} is no update"
    _log.warning("%s/%d@%d is passed over: %s", record.topic, record.partition, record.offset, why)
    return None


def _is_of_ours(update: MappedBatch) -> bool:
    return update.topic in RAW_TOPICS and update.partition >= 0 and 0 <= update.first_offset < update.next_offset

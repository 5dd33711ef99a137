"""What a record of `updates.*` says. A stranger's says nothing: profiles pass over it, and go on."""

import logging
from typing import Final, Protocol

from schemas.catalog import UnknownSchemaError
from schemas.updates import MappedBatch, NodeBatch, Update
from schemas.wire import MalformedRecordError, decode

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
        if isinstance(word, MappedBatch | NodeBatch):
            return word
        why = f"a {type(word).__name__} is no update"
    _log.warning("%s/%d@%d is passed over: %s", record.topic, record.partition, record.offset, why)
    return None

"""Dead letters: records that can't be read go to `messages.rejected`, with their position and the reason."""

from datetime import datetime
from typing import Final, Protocol

from app.kafka.producer_record import ProducerRecord
from app.kafka.safe_faust.batching import AgentEvent
from app.records.encoding import encoded
from schemas.coded import CodedError, because, clean_text, fit_params, truncate
from schemas.messages import EXCERPT_BYTES, MessageRejected
from schemas.topics import MESSAGES_REJECTED

MAX_DETAIL_CHARACTERS: Final = 1024
KEY_BYTES: Final = 1024  # a longer key isn't kept: the letter has to fit where the record just did


class RecordPosition(Protocol):
    """The position of a record."""

    topic: str
    partition: int
    offset: int


def dead_letter(event: AgentEvent, code: str, error: CodedError, now: datetime) -> ProducerRecord:
    """Return the dead letter of a record that an agent was given."""
    return dead_letter_at(event.message, event.key, event.value, because(code, error), now)


def dead_letter_at(
    position: RecordPosition,
    key: bytes | None,
    excerpt: bytes | None,
    error: CodedError,
    now: datetime,
    *,
    stream: str = "",
    job_id: str = "",
) -> ProducerRecord:
    """Return the dead letter of a record, or of messages in it.

    After a crash it may come twice, with the same topic, partition, offset, code and parameters.
    """
    letter = MessageRejected(
        rejected_at=now,
        code=error.code,
        params=fit_params(error.params),
        source=f"{position.topic}/{position.partition}",
        position=f"offset {position.offset}",
        stream=stream,
        job_id=job_id,
        topic=position.topic,
        partition=position.partition,
        offset=position.offset,
        excerpt=(excerpt or b"")[:EXCERPT_BYTES],
        detail=truncate(clean_text(error.detail), MAX_DETAIL_CHARACTERS),
    )
    kept = key if len(key or b"") <= KEY_BYTES else None
    return encoded(MESSAGES_REJECTED, letter, kept)

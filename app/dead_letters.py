"""What is done with a record that can't be read: it goes to `messages.rejected`, with where it was found and why."""

from datetime import datetime
from typing import Final

from app.safe_faust.batching import Event
from app.safe_faust.publishing import Outgoing
from schemas.headers import headers_of
from schemas.messages import EXCERPT_BYTES, MessageRejected
from schemas.topics import MESSAGES_REJECTED
from schemas.wire import encode

REASON_CHARACTERS: Final = 1024
KEY_BYTES: Final = 1024  # a longer key isn't kept: the letter has to fit where the record just did


def dead_letter(event: Event, code: str, reason: str, now: datetime) -> Outgoing:
    """Return the dead letter of a record. After a crash it may come twice; topic, partition and offset tell."""
    found = event.message
    letter = MessageRejected(
        rejected_at=now,
        code=code,
        reason=reason[:REASON_CHARACTERS],
        source=f"{found.topic}/{found.partition}",
        position=f"offset {found.offset}",
        topic=found.topic,
        partition=found.partition,
        offset=found.offset,
        excerpt=(event.value or b"")[:EXCERPT_BYTES],
    )
    key = event.key if len(event.key or b"") <= KEY_BYTES else None
    return Outgoing(MESSAGES_REJECTED.name, encode(letter), key=key, headers=headers_of(letter))

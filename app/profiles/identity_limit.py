"""Profiles with more identities than are kept: each is told of once, as a dead letter, while its partition is open.

Usually it is one identity that many people share (a kiosk's cookie, the address of an office), or a producer's mistake.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from app.kafka.producer_record import ProducerRecord
from projections.definitions.rules import key_hash
from projections.profiles.profile_view import shown_key
from schemas.messages import MessageRejected
from schemas.topics import MESSAGES_REJECTED
from schemas.wire.codec import encode
from schemas.wire.headers import headers_of

CODE: Final = "too_many_identities"
MAX_REPORTED: Final = 10_000


class IdentityLimitReports:
    """Those that were told of. The reason names nobody; the excerpt has the best identity, as others have a message."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._told: set[str] = set()

    def letters(self, keys: Iterable[str], most: int, now: datetime) -> list[ProducerRecord]:
        """Return dead letters of those profiles, by their ranked keys, that weren't told of yet."""
        new = sorted(set(keys) - self._told)
        if len(self._told) + len(new) > MAX_REPORTED:
            self._told.clear()
        self._told.update(new[:MAX_REPORTED])
        return [self._letter(shown_key(each), most, now) for each in new]

    def _letter(self, key: str, most: int, now: datetime) -> ProducerRecord:
        reason = (
            f"a profile has more than {most:,} identities: only the first of them, by rank and name, and what these "
            "have counted, are kept. Look which identity many share and map it no more, or raise `max_identities`"
        )
        letter = MessageRejected(
            rejected_at=now, code=CODE, reason=reason, source=self._source,
            position=f"identity {key_hash(key)}", excerpt=key.encode(),
        )  # fmt: skip
        return ProducerRecord(MESSAGES_REJECTED.name, encode(letter), headers=headers_of(letter))

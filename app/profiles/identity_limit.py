"""Dead letters for profiles with more identities than are kept: one for each while its partition is open.

Usually many people share one identity (a kiosk's cookie, an office address), or a producer makes a mistake.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from app.kafka.producer_record import ProducerRecord
from app.records.encoding import encoded
from projections.definitions.rules import key_hash
from projections.profiles.profile_view import shown_key
from schemas.messages import MessageRejected
from schemas.topics import MESSAGES_REJECTED

CODE: Final = "too_many_identities"
MAX_REPORTED: Final = 10_000


class IdentityLimitReports:
    """The profiles that were reported. The reason holds no identity; the excerpt holds the best one."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._reported: set[str] = set()

    def letters(self, keys: Iterable[str], limit: int, now: datetime) -> list[ProducerRecord]:
        """Return dead letters for the profiles, by ranked key, that were not reported yet."""
        new = sorted(set(keys) - self._reported)
        if len(self._reported) + len(new) > MAX_REPORTED:
            self._reported.clear()
        self._reported.update(new[:MAX_REPORTED])
        return [self._letter(shown_key(key), limit, now) for key in new]

    def _letter(self, key: str, limit: int, now: datetime) -> ProducerRecord:
        letter = MessageRejected(
            rejected_at=now, code=CODE, params={"max": limit}, source=self._source,
            position=f"identity {key_hash(key)}", excerpt=key.encode(),
        )  # fmt: skip
        return encoded(MESSAGES_REJECTED, letter)

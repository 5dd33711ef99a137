"""Recognises that what was read before is still there, by the first and the last 64 KiB up to a place."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

PREFIX_BYTES: Final = 64 * 1024
DIGEST_BYTES: Final = 12


@dataclass(slots=True)
class Prefix:
    """The text from its start up to byte `at`; or from a later place, when the beginning's digest is known."""

    at: int = 0
    head: bytes = b""
    tail: bytes = b""
    head_digest: str = ""  # given when `at` was not 0 at first; then `head` stays empty

    def advance(self, text: bytes) -> None:
        """Go on behind `text`."""
        if not self.head_digest and len(self.head) < PREFIX_BYTES:
            self.head += text[: PREFIX_BYTES - len(self.head)]
        self.at += len(text)
        self.tail = text[-PREFIX_BYTES:] if len(text) >= PREFIX_BYTES else (self.tail + text)[-PREFIX_BYTES:]

    def digests(self) -> tuple[str, str]:
        """The digest of the first 64 KiB (or fewer), and of the last."""
        return self.head_digest or digest(self.head), digest(self.tail)


def digest(text: bytes) -> str:
    """A short digest, in hexadecimal."""
    return blake2b(text, digest_size=DIGEST_BYTES).hexdigest()

"""Detect changes to the text before a cursor: digests of its first and its last 64 KiB, and a checksum of all of it."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final
from zlib import crc32

PREFIX_BYTES: Final = 64 * 1024
DIGEST_BYTES: Final = 12


@dataclass(slots=True)
class Prefix:
    """The text before offset `at`, from its start or from a later offset if the digest of the start is known."""

    at: int = 0
    head: bytes = b""
    tail: bytes = b""
    head_digest: str = ""  # set if reading started after offset 0; then `head` stays empty
    checksum: int = 0  # of the text from where reading started

    def advance(self, text: bytes) -> None:
        """Append `text` and advance the offset."""
        if not self.head_digest and len(self.head) < PREFIX_BYTES:
            self.head += text[: PREFIX_BYTES - len(self.head)]
        self.at += len(text)
        self.checksum = crc32(text, self.checksum)
        self.tail = text[-PREFIX_BYTES:] if len(text) >= PREFIX_BYTES else (self.tail + text)[-PREFIX_BYTES:]

    def digests(self) -> tuple[str, str]:
        """Return the digests of the first and of the last 64 KiB (or fewer)."""
        return self.head_digest or digest(self.head), digest(self.tail)


def digest(text: bytes) -> str:
    """Return a short hexadecimal digest."""
    return blake2b(text, digest_size=DIGEST_BYTES).hexdigest()

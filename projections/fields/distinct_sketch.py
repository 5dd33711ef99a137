"""Estimate the number of distinct values with a k-minimum-values sketch, which stores hashes and no values.

The sketch keeps the `SKETCH_SIZE` smallest hashes, so order and repetition don't matter, and sketches can be merged.
Up to that size the count is exact, above it the standard error is about 9 % (Bar-Yossef et al., "Counting distinct
elements in a data stream", 2002).
"""

import struct
from base64 import b64decode, b64encode
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

SKETCH_SIZE: Final = 128
MAX_BUFFERED_HASHES: Final = 192  # hashes in memory before the largest are evicted
HASH_BYTES: Final = 8
HASH_RANGE: Final = 1 << 8 * HASH_BYTES


def hash_text(text: str) -> int:
    """Return a uniformly distributed 64-bit hash of a text, the same in every process."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest(), "little")


class DistinctSketch:
    """The smallest hashes. A hash at or above `limit` has no effect, which hot loops can check before the call."""

    __slots__ = ("_hashes", "limit")

    def __init__(self, hashes: Iterable[int] = ()) -> None:
        self._hashes: set[int] = set()
        self.limit = HASH_RANGE
        self._add_all(hashes)

    def add(self, value_hash: int) -> None:
        """Add the hash of a value."""
        if value_hash < self.limit:
            self._add_all((value_hash,))

    def merge(self, other: "DistinctSketch") -> None:
        """Add the values of another sketch."""
        self._add_all(other.hashes())

    def _add_all(self, hashes: Iterable[int]) -> None:
        self._hashes.update(hashes)
        if len(self._hashes) > MAX_BUFFERED_HASHES:
            smallest = self.hashes()
            self._hashes = set(smallest)
            self.limit = smallest[-1]

    def hashes(self) -> list[int]:
        """Return the stored hashes in order."""
        return sorted(self._hashes)[:SKETCH_SIZE]

    def estimate(self) -> int:
        """Return the estimated number of distinct values."""
        hashes = self.hashes()
        return len(hashes) if len(hashes) < SKETCH_SIZE else (SKETCH_SIZE - 1) * HASH_RANGE // max(hashes[-1], 1)

    def to_text(self) -> str:
        """Serialize the sketch to at most 1,368 characters."""
        hashes = self.hashes()
        return b64encode(struct.pack(f"<{len(hashes)}Q", *hashes)).decode()

    @classmethod
    def from_text(cls, text: str) -> "DistinctSketch":
        """Deserialize a sketch."""
        packed = b64decode(text)
        return cls(struct.unpack(f"<{len(packed) // HASH_BYTES}Q", packed))

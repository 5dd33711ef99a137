"""About how many different values there are: a sketch that keeps marks of some of them, and no values.

Of all marks the `KEPT` smallest stay, so neither the order nor repetitions matter, and the sketches of two parts make
that of the whole. Of fewer values the count is exact, of more within some 9 % (a standard deviation): how far the marks
reach says how densely they lie (Bar-Yossef and others, "Counting distinct elements in a data stream", 2002).
"""

import struct
from base64 import b64decode, b64encode
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

KEPT: Final = 128
MAX_MARKS: Final = 192  # marks that are held before the largest are let go
MARK_BYTES: Final = 8
EVERY: Final = 1 << 8 * MARK_BYTES  # above every mark


def mark_of(text: str) -> int:
    """Return the mark of a text: 64 bits that are the same in every process, and look as if drawn by chance."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=MARK_BYTES).digest(), "little")


class DistinctSketch:
    """The marks so far. One that is not below `limit` changes nothing; who adds many may ask first."""

    __slots__ = ("_marks", "limit")

    def __init__(self, marks: Iterable[int] = ()) -> None:
        self._marks: set[int] = set()
        self.limit = EVERY
        self._add_all(marks)

    def add(self, mark: int) -> None:
        """Count a value, unless it was counted before."""
        if mark < self.limit:
            self._add_all((mark,))

    def take_in(self, other: "DistinctSketch") -> None:
        """Count what another one has counted, too."""
        self._add_all(other.marks())

    def _add_all(self, marks: Iterable[int]) -> None:
        self._marks.update(marks)
        if len(self._marks) > MAX_MARKS:
            kept = self.marks()
            self._marks = set(kept)
            self.limit = kept[-1]

    def marks(self) -> list[int]:
        """Return what is kept, in order."""
        return sorted(self._marks)[:KEPT]

    def estimate(self) -> int:
        """Return about how many different values there were."""
        marks = self.marks()
        return len(marks) if len(marks) < KEPT else (KEPT - 1) * EVERY // max(marks[-1], 1)

    def to_text(self) -> str:
        """Return the sketch as a text of at most 1,368 characters."""
        marks = self.marks()
        return b64encode(struct.pack(f"<{len(marks)}Q", *marks)).decode()

    @classmethod
    def from_text(cls, text: str) -> "DistinctSketch":
        """Return the sketch of a text."""
        packed = b64decode(text)
        return cls(struct.unpack(f"<{len(packed) // MARK_BYTES}Q", packed))

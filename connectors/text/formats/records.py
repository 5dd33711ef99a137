"""What a format makes of a stretch of text: records as NDJSON lines, and rejects. Reads nothing by itself."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from connectors.contract import Reject

OnError = Literal["abort", "drop", "quarantine"]
EXCERPT_BYTES: Final = 1024
MAX_REJECTS: Final = 5_000  # in one stretch: bounds the memory that dead letters take
MAX_BYTES: Final = 16 * 1024 * 1024  # of NDJSON in one stretch; CSV repeats its field names in every record


@dataclass(frozen=True, slots=True)
class Parsed:
    """The records of the first `consumed` bytes of a text; the next record begins right behind them."""

    consumed: int
    payload: bytes = b""  # `count` NDJSON lines
    count: int = 0
    timestamps: bytes = b""  # `count` int64 in microseconds, or b"" without a timestamp field
    rejects: tuple[Reject, ...] = ()
    dropped: int = 0
    stop: Reject | None = None  # the record behind `consumed`, at which `on_error: abort` ends the reading
    ended: bool = False  # the format says that no record follows; only blanks may

    @property
    def read(self) -> int:
        """How many records there were."""
        return self.count + len(self.rejects) + self.dropped


class Skipper(Protocol):
    """Finds the end of one record that is too large to hold, piece by piece."""

    def skip(self, text: bytes, *, final: bool) -> tuple[int, bool]:
        """Return how many bytes of `text` belong to the record for sure, and whether it ends there."""
        ...

    @property
    def complaint(self) -> tuple[str, str]:
        """The code and the reason of the reject, once it ended."""
        ...


class Format(Protocol):
    """One way to write records into a text. It may remember what the text began with, such as a header."""

    @property
    def noun(self) -> str:
        """What one record is called, to a person."""
        ...

    @property
    def by_line(self) -> bool:
        """Whether a line end closes a record, so that a last one without it may not be complete."""
        ...

    @property
    def fields(self) -> Sequence[str] | None:
        """The field names that were read from the text itself, to go into the cursor."""
        ...

    def parse(self, text: bytes, first: int, *, final: bool) -> Parsed:
        """Read the complete records at the front of `text`; `final` says that nothing follows it."""
        ...

    def skipper(self, text: bytes) -> Skipper:
        """Begin to skip the record at the front of `text`."""
        ...


@dataclass(slots=True)
class Collector:
    """Gathers what becomes of records, one after the other, from ordinal `first` on."""

    noun: str
    first: int
    on_error: OnError
    lines: list[bytes] = field(default_factory=list)
    micros: "array[int]" = field(default_factory=lambda: array("q"))
    rejects: list[Reject] = field(default_factory=list)
    dropped: int = 0
    stop: Reject | None = None
    size: int = 0

    @property
    def full(self) -> bool:
        """Whether this stretch should end here."""
        return self.stop is not None or len(self.rejects) >= MAX_REJECTS or self.size >= MAX_BYTES

    @property
    def read(self) -> int:
        """How many records there were."""
        return len(self.lines) + len(self.rejects) + self.dropped

    def accept(self, line: bytes, micros: int | None) -> None:
        """One record that is taken, as its NDJSON line without the line end."""
        self.lines.append(line)
        self.size += len(line)
        if micros is not None:
            self.micros.append(micros)

    def reject(self, code: str, reason: str, record: bytes) -> None:
        """One record that can't be taken."""
        reject = Reject(f"{self.noun} {self.first + self.read}", code, reason, record[:EXCERPT_BYTES])
        match self.on_error:
            case "abort":
                self.stop = reject
            case "drop":
                self.dropped += 1
            case "quarantine":
                self.rejects.append(reject)

    def parsed(self, consumed: int) -> Parsed:
        """Everything gathered, out of `consumed` bytes."""
        payload = b"\n".join((*self.lines, b""))
        stamps = self.micros.tobytes()
        return Parsed(consumed, payload, len(self.lines), stamps, tuple(self.rejects), self.dropped, self.stop)

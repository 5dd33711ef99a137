"""The output of a format parser: records as NDJSON lines, and rejects. Does no I/O."""

from array import array
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from connectors.contract import Reject
from schemas.coded import Params

OnError = Literal["abort", "drop", "quarantine"]
EXCERPT_BYTES: Final = 1024
MAX_REJECTS: Final = 5_000  # per parse call: bounds the memory of dead letters
MAX_PAYLOAD_BYTES: Final = 16 * 1024 * 1024  # per parse call; CSV repeats its field names in every record


@dataclass(frozen=True, slots=True)
class Parsed:
    """The records in the first `consumed` bytes of a text. The next record starts right after them."""

    consumed: int
    payload: bytes = b""  # `count` NDJSON lines
    count: int = 0
    timestamps: bytes = b""  # `count` int64 in microseconds, or b"" without a timestamp field
    rejects: tuple[Reject, ...] = ()
    dropped: int = 0
    stop: Reject | None = None  # the record after `consumed` that ends reading, with `on_error: abort`
    ended: bool = False  # no record follows; only white space may

    @property
    def read(self) -> int:
        """Return the number of records, rejected ones included."""
        return self.count + len(self.rejects) + self.dropped


@dataclass(frozen=True, slots=True)
class Layout:
    """What a CSV text says about itself at its start. The cursor keeps it, for reading from the middle."""

    fields: tuple[str, ...] | None = None  # in the header row, or configured
    delimiter: str | None = None  # of a `sep=` line
    trailing_delimiter: bool = False
    padded: bool = False


NO_LAYOUT: Final = Layout()


class Skipper(Protocol):
    """Finds the end of a record that is too large to buffer, chunk by chunk."""

    def skip(self, text: bytes, *, final: bool) -> tuple[int, bool]:
        """Return how many bytes of `text` belong to the record, and whether it ends there."""
        ...

    @property
    def rejection(self) -> tuple[str, Params]:
        """Return the code and the parameters of the reject, once the record has ended."""
        ...


class Format(Protocol):
    """A parser of one text. It may keep state from the start of the text, such as the header."""

    @property
    def noun(self) -> str:
        """The word for a record in messages, such as `row`."""
        ...

    @property
    def line_based(self) -> bool:
        """Whether a line end terminates a record, so that an unterminated last record may be incomplete."""
        ...

    @property
    def layout(self) -> Layout:
        """What the text says about itself, to be stored in the cursor."""
        ...

    def parse(self, text: bytes, first: int, *, final: bool) -> Parsed:
        """Parse the complete records at the front of `text`. `final`: no text follows."""
        ...

    def skipper(self, text: bytes) -> Skipper:
        """Return a skipper for the record at the front of `text`."""
        ...


@dataclass(slots=True)
class Collector:
    """Collects accepted and rejected records in order, starting at ordinal `first`."""

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
        """Whether the parse call should end here."""
        return self.stop is not None or len(self.rejects) >= MAX_REJECTS or self.size >= MAX_PAYLOAD_BYTES

    @property
    def read(self) -> int:
        """Return the number of records, rejected ones included."""
        return len(self.lines) + len(self.rejects) + self.dropped

    def accept(self, line: bytes, micros: int | None) -> None:
        """Add a valid record: its NDJSON line without the line end."""
        self.lines.append(line)
        self.size += len(line)
        if micros is not None:
            self.micros.append(micros)

    def reject(self, code: str, params: Params, record: bytes, detail: str = "") -> None:
        """Add an invalid record, handled according to `on_error`."""
        reject = Reject(f"{self.noun} {self.first + self.read}", code, params, record[:EXCERPT_BYTES], detail)
        match self.on_error:
            case "abort":
                self.stop = reject
            case "drop":
                self.dropped += 1
            case "quarantine":
                self.rejects.append(reject)

    def abort(self, code: str, params: Params, record: bytes) -> None:
        """End reading at a record, however invalid records are handled."""
        self.stop = Reject(f"{self.noun} {self.first + self.read}", code, params, record[:EXCERPT_BYTES])

    def parsed(self, consumed: int) -> Parsed:
        """Return the collected records, parsed from `consumed` bytes."""
        payload = b"\n".join((*self.lines, b""))
        stamps = self.micros.tobytes()
        return Parsed(consumed, payload, len(self.lines), stamps, tuple(self.rejects), self.dropped, self.stop)

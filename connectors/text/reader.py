"""Raw bytes of one source to batches: unpacks, transcodes, cuts into records, and keeps the cursor.

Does no I/O and knows no provider: whoever has the bytes feeds them. Meant to run in a thread, one call at a time.
"""

from dataclasses import dataclass, field
from typing import Final

from connectors.contract import Batch, FixConfiguration, Lane, Limits, Reject
from connectors.text.compression import Decoder
from connectors.text.cursor import TextCursor
from connectors.text.encoding import ToUtf8, after_bom
from connectors.text.fingerprint import Prefix
from connectors.text.formats.records import MAX_REJECTS, Collector, Format, OnError, Parsed, Skipper

STRETCH: Final = 1024 * 1024  # of text at a time: a column-wise parser is as fast on it, and holds less
SOURCE_CHANGED: Final = (
    "the source isn't the one that was read before: what lies before the cursor is different now; restore it, or reset "
    "the job's cursor to {} to read the new one from the start"
)


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """What stays the same for a whole reading."""

    stream: str
    lane: Lane
    source: str
    on_error: OnError
    plain: bool
    validator: str | None
    bytes_total: int | None


@dataclass(slots=True)
class Gathered:
    """The stretches that will make the next batch."""

    parts: list[Parsed] = field(default_factory=list)
    text_bytes: int = 0
    rejects: int = 0

    def add(self, part: Parsed) -> None:
        """One more stretch."""
        self.parts.append(part)
        self.text_bytes += max(part.consumed, len(part.payload) // 4)
        self.rejects += len(part.rejects)


class Reading:
    """One pass through a source, from a cursor to its end. `start` is where the text that will be fed begins."""

    def __init__(
        self,
        plan: ReadPlan,
        limits: Limits,
        cursor: TextCursor,
        start: int,
        unpack: tuple[Decoder, ToUtf8],
        form: Format,
    ) -> None:
        self._plan = plan
        self._batch_bytes = limits.batch_bytes
        self._record_bytes = limits.record_bytes
        self._cursor = cursor
        self._decoder, self._transcoder = unpack
        self._format = form
        self._prefix = Prefix(start, head_digest=(cursor.head or "") if start else "")
        self._to_check = cursor.byte - start  # bytes of text that were read before
        self._raw_at = start
        self._pieces: list[bytes] = []
        self._held = 0
        self._window = self._narrow = min(limits.batch_bytes, limits.record_bytes, STRETCH)
        self._fed_all = self._text_ended = self._array_ended = self._leaves_rest = False
        self._row = cursor.row
        self._gathered = Gathered()
        self._skipping: tuple[Skipper, bytes] | None = None
        self._too_large = False
        self._stop: Reject | None = None
        self.ended = False

    def feed(self, raw: bytes, *, may_go_on: bool = False) -> None:
        """Take the next raw bytes of the source; b"" says that it ended.

        With `may_go_on` a last line that has no end is left for another time: it may be half of one.
        """
        self._leaves_rest = may_go_on and self._format.by_line
        self._raw_at += len(raw)
        self._decoder.feed(raw)
        self._fed_all = not raw

    def next_batch(self) -> Batch | None:
        """The next full batch, or what is left at the end. None: feed more, or `ended`."""
        while not self._full() and not self.ended:
            if not self._fill():
                return None
            if self._array_ended:
                self.ended = self._text_ended
            else:
                self._parse()
        return self.flush()

    def salvage(self) -> Batch | None:
        """What is complete in what came before the source failed; to be called until it gives None."""
        held = -1
        while self._held not in {0, held} and not self._full():
            held = self._held
            self._parse()
        return self.flush()

    def flush(self) -> Batch | None:
        """What was gathered so far, as a batch; None when that is nothing. Raises when `on_error: abort` ended it."""
        gathered, self._gathered = self._gathered, Gathered()
        if gathered.parts:
            return self._batch(gathered)
        if self._stop:
            raise aborted(self._stop)
        return None

    def _full(self) -> bool:
        gathered = self._gathered
        return (
            bool(self._stop)
            or gathered.text_bytes >= self._batch_bytes * 7 // 8
            or gathered.rejects >= MAX_REJECTS
            or (self._too_large and bool(gathered.parts))
        )

    def _fill(self) -> bool:
        """Have a window of text ready; False when raw bytes are needed first."""
        while self._held < self._window and not self._text_ended:
            piece = self._decoder.read()
            if not piece:
                if not self._fed_all:
                    return False
                self._decoder.finish()
                self._text_ended = True
            self._take_text(self._transcoder.convert(piece, final=self._text_ended))
        return True

    def _take_text(self, text: bytes) -> None:
        if self._to_check:
            known, text = text[: self._to_check], text[self._to_check :]
            self._prefix.advance(known)
            self._to_check -= len(known)
            if not self._to_check and self._prefix.digests() != (self._cursor.head, self._cursor.tail):
                raise FixConfiguration("source_changed", SOURCE_CHANGED)
        if self._text_ended and self._to_check:
            raise FixConfiguration("source_changed", SOURCE_CHANGED)
        if self._array_ended and text.strip():
            raise FixConfiguration("trailing_text", "there is more text behind the `]` that closes the array")
        if text and not self._array_ended:
            self._pieces.append(text)
            self._held += len(text)

    def _parse(self) -> None:
        text = b"".join(self._pieces)
        self._look_at_start(text)
        if self._prefix.at == 0 and (mark := after_bom(text)):
            self._prefix.advance(text[:mark])
            text = text[mark:]
        if self._skipping or self._too_large:
            part, left = self._skip(text), False
        else:
            some = text[: self._record_bytes]
            last = self._text_ended and len(some) == len(text)
            final = last and not self._leaves_rest
            part = self._format.parse(some, self._row + 1, final=final)
            left = last and not final and not part.consumed and not part.stop
            assert part.consumed or part.stop or not (final and text), "a format takes all of the last text"
        if not part.ended:
            self._prefix.advance(text[: part.consumed])
        self._pieces = [text[part.consumed :]]
        self._held = len(text) - part.consumed
        self.ended = left or (self._text_ended and not text)  # a format has its say also where nothing is left
        self._settle(part)

    def _settle(self, part: Parsed) -> None:
        if part.read:
            self._gathered.add(part)
            self._row += part.read
        self._stop = part.stop
        if part.ended:
            rest, self._pieces, self._held, self._array_ended = self._pieces, [], 0, True
            self._take_text(b"".join(rest))
        if part.consumed or part.stop or self._skipping:
            self._window = self._narrow
        elif self._held > self._record_bytes:
            self._too_large = True
        else:
            self._window = min(2 * self._held, self._record_bytes) + 1

    def _skip(self, text: bytes) -> Parsed:
        """Go through a record that is too large to hold; what it is called is known at its end."""
        self._too_large = False
        skipper, excerpt = self._skipping = self._skipping or (
            self._format.skipper(text),
            text[: self._record_bytes],
        )
        consumed, ended = skipper.skip(text, final=self._text_ended and not self._leaves_rest)
        if not ended:
            return Parsed(consumed)
        self._skipping = None
        code, reason = skipper.complaint
        if code == "record_too_large":
            reason = f"{reason} ({self._record_bytes:,} bytes)"
        collector = Collector(self._format.noun, self._row + 1, self._plan.on_error)
        collector.reject(code, reason, excerpt)
        return collector.parsed(consumed)

    def _look_at_start(self, text: bytes) -> None:
        """A last record without a line end was taken as complete; what is there now has to agree."""
        continued = self._cursor.open and self._prefix.at == self._cursor.byte and not text.startswith((b"\n", b"\r"))
        if continued and text:
            raise FixConfiguration(
                "source_changed", f"the last record, taken as complete, was continued: {SOURCE_CHANGED}"
            )

    def _batch(self, gathered: Gathered) -> Batch:
        parts, plan = gathered.parts, self._plan
        read = sum(each.read for each in parts)
        counted, self._cursor = self._cursor.source_bytes, self._behind()
        return Batch(
            stream=plan.stream,
            lane=plan.lane,
            source=plan.source,
            payload=b"".join(each.payload for each in parts),
            count=sum(each.count for each in parts),
            timestamps=b"".join(each.timestamps for each in parts),
            first_row=self._row - read + 1,
            read=read,
            cursor=self._cursor.to_json(),
            rejects=tuple(reject for each in parts for reject in each.rejects),
            rejects_dropped=sum(each.dropped for each in parts),
            bytes_read=self._cursor.source_bytes - counted,
            bytes_total=plan.bytes_total,
        )

    def _behind(self) -> TextCursor:
        head, tail = self._prefix.digests()
        fields = self._format.fields
        return TextCursor(
            byte=self._prefix.at,
            row=self._row,
            head=head,
            tail=tail,
            fields=tuple(fields) if fields else None,
            source_bytes=max(self._raw_at, self._cursor.source_bytes),
            plain=self._plan.plain,
            open=self._format.by_line and self._text_ended and not self._prefix.tail.endswith(b"\n"),
            validator=self._plan.validator,
        )


def aborted(stop: Reject) -> FixConfiguration:
    """What `on_error: abort` says."""
    return FixConfiguration(
        "record_rejected",
        f"{stop.position} {stop.reason}; correct the source, or set `on_error` to `quarantine` or `drop`",
        detail=stop.code,
    )

"""Convert the raw bytes of a source to batches: decompress, transcode, parse, and advance the cursor.

Does no I/O: the caller feeds the bytes. Runs in a thread, one call at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from connectors.contract import Batch, FixConfiguration, LaneName, Limits, Reject
from connectors.text.compression import Uncompressed, Unpacker
from connectors.text.config import FormatName
from connectors.text.cursor import TextCursor
from connectors.text.detection import choose_format
from connectors.text.encoding import ToUtf8, bom_length
from connectors.text.fingerprint import Prefix
from connectors.text.formats.records import MAX_REJECTS, Collector, Format, OnError, Parsed, Skipper
from schemas.coded import caused_by

MakeFormat = Callable[[FormatName], Format]
BLOCK_BYTES: Final = 1024 * 1024  # of text per parse call: parsing by column is as fast as with more


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """The constants of one pass through a source."""

    stream: str
    lane: LaneName
    source: str
    on_error: OnError
    utf8: bool
    proposed: FormatName | None
    validator: str | None
    bytes_total: int | None


@dataclass(slots=True)
class BatchBuffer:
    """The parsed blocks of the next batch."""

    parts: list[Parsed] = field(default_factory=list)
    text_bytes: int = 0
    rejects: int = 0

    def add(self, part: Parsed) -> None:
        """Add a parsed block."""
        self.parts.append(part)
        self.text_bytes += max(part.consumed, len(part.payload) // 4)
        self.rejects += len(part.rejects)


class TextReader:
    """One pass through a source, from a cursor to its end. `start` is the offset of the first byte that will be fed."""

    def __init__(
        self,
        plan: ReadPlan,
        limits: Limits,
        cursor: TextCursor,
        start: int,
        decoders: tuple[Unpacker | Uncompressed, ToUtf8],
        make_format: MakeFormat,
    ) -> None:
        self._plan = plan
        self._batch_bytes = limits.batch_bytes
        self._record_bytes = limits.record_bytes
        self._cursor = cursor
        self._decoder, self._transcoder = decoders
        self._make_format = make_format
        self._format_name = (cursor.format or plan.proposed) if cursor.byte else None
        self._format = make_format(self._format_name) if self._format_name else None
        self._prefix = Prefix(start, head_digest=(cursor.head or "") if start else "")
        self._unverified = cursor.byte - start  # bytes of text before the cursor
        self._raw_offset = start
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._window = self._narrow = min(limits.batch_bytes, limits.record_bytes, BLOCK_BYTES)
        self._input_ended = self._text_ended = self._array_ended = self._may_continue = False
        self._row = cursor.row
        self._buffer = BatchBuffer()
        self._skipping: tuple[Skipper, bytes] | None = None
        self._too_large = False
        self._stop: Reject | None = None
        self.ended = False

    def feed(self, raw: bytes, *, may_continue: bool = False) -> None:
        """Add the next raw bytes of the source; b"" marks its end.

        With `may_continue` an unterminated last line is left for the next pass: it may be incomplete.
        """
        self._may_continue = may_continue
        self._raw_offset += len(raw)
        self._decoder.feed(raw)
        self._input_ended = not raw

    def next_batch(self) -> Batch | None:
        """Return the next full batch, or the remainder at the end. None: feed more input, or `ended`."""
        while not self._full() and not self.ended:
            if not self._fill():
                return None
            if self._array_ended:
                self.ended = self._text_ended
            else:
                self._parse()
        return self.flush()

    def salvage(self) -> Batch | None:
        """Return the complete records received before the source failed. Call it until it returns None."""
        previous = -1
        while self._buffered not in {0, previous} and not self._full():
            previous = self._buffered
            self._parse()
        return self.flush()

    def flush(self) -> Batch | None:
        """Return the buffered records as a batch; None if there are none. Raise if `on_error: abort` ended reading."""
        buffer, self._buffer = self._buffer, BatchBuffer()
        if buffer.parts:
            return self._batch(buffer)
        if self._stop:
            raise abort_error(self._stop)
        return None

    def _full(self) -> bool:
        buffer = self._buffer
        return (
            bool(self._stop)
            or buffer.text_bytes >= self._batch_bytes * 7 // 8
            or buffer.rejects >= MAX_REJECTS
            or (self._too_large and bool(buffer.parts))
        )

    def _fill(self) -> bool:
        """Buffer a window of text; False if more raw bytes are needed."""
        while self._buffered < self._window and not self._text_ended:
            chunk = self._decoder.read()
            if not chunk:
                if not self._input_ended:
                    return False
                self._decoder.finish()
                self._text_ended = True
            self._add_text(self._transcoder.convert(chunk, final=self._text_ended))
        return True

    def _add_text(self, text: bytes) -> None:
        if self._unverified:
            skipped = text[: self._unverified]
            text = text[self._unverified :]
            self._prefix.advance(skipped)
            self._unverified -= len(skipped)
            if not self._unverified:
                self._verify()
        if self._text_ended and self._unverified:
            raise FixConfiguration("source_changed")
        if self._array_ended and text.strip():
            raise FixConfiguration("trailing_text")
        if text and not self._array_ended:
            self._chunks.append(text)
            self._buffered += len(text)

    def _verify(self) -> None:
        """Fail if the text before the cursor changed. The checksum needs all of it: it goes on from the cursor's."""
        cursor, prefix = self._cursor, self._prefix
        if prefix.head_digest:
            prefix.checksum = cursor.checksum or 0
        if prefix.digests() != (cursor.head, cursor.tail) or cursor.checksum not in {None, prefix.checksum}:
            raise FixConfiguration("source_changed")

    def _parse(self) -> None:
        text = b"".join(self._chunks)
        self._check_continuation(text)
        if self._prefix.at == 0 and (bom := bom_length(text)):
            self._prefix.advance(text[:bom])
            text = text[bom:]
        text_format = self._format or self._choose_format(text)
        if text_format is None:
            self._chunks, self._buffered = [text], len(text)
            self._window = min(2 * self._buffered, self._record_bytes) + 1
            return
        if self._skipping or self._too_large:
            parsed, left = self._skip(text_format, text), False
        else:
            block = text[: self._record_bytes]
            last = self._text_ended and len(block) == len(text)
            final = last and not (self._may_continue and text_format.line_based)
            parsed = text_format.parse(block, self._row + 1, final=final)
            left = last and not final and not parsed.consumed and not parsed.stop
            assert parsed.consumed or parsed.stop or not (final and text), "a format consumes all of the final text"
        if not parsed.ended:
            self._prefix.advance(text[: parsed.consumed])
        self._chunks = [text[parsed.consumed :]]
        self._buffered = len(text) - parsed.consumed
        self.ended = left or (self._text_ended and not text)  # an empty final text is parsed once, too
        self._settle(parsed)

    def _settle(self, parsed: Parsed) -> None:
        if parsed.read:
            self._buffer.add(parsed)
            self._row += parsed.read
        self._stop = parsed.stop
        if parsed.ended:
            rest = self._chunks
            self._chunks, self._buffered, self._array_ended = [], 0, True
            self._add_text(b"".join(rest))
        if parsed.consumed or parsed.stop or self._skipping:
            self._window = self._narrow
        elif self._buffered > self._record_bytes:
            self._too_large = True
        else:
            self._window = min(2 * self._buffered, self._record_bytes) + 1

    def _choose_format(self, text: bytes) -> Format | None:
        """Return the format of the text once its start is sufficient."""
        final = self._text_ended or len(text) > self._record_bytes
        self._format_name = choose_format(self._plan.proposed, text, final=final)
        self._format = self._make_format(self._format_name) if self._format_name else None
        return self._format

    def _skip(self, text_format: Format, text: bytes) -> Parsed:
        """Skip a record that is too large to buffer. Its end decides the reject."""
        self._too_large = False
        skipper, excerpt = self._skipping = self._skipping or (
            text_format.skipper(text[: self._record_bytes]),
            text[: self._record_bytes],
        )
        consumed, ended = skipper.skip(
            text, final=self._text_ended and not (self._may_continue and text_format.line_based)
        )
        if not ended:
            return Parsed(consumed)
        self._skipping = None
        code, params = skipper.rejection
        collector = Collector(text_format.noun, self._row + 1, self._plan.on_error)
        collector.reject(code, {**params, "max": self._record_bytes}, excerpt)
        return collector.parsed(consumed)

    def _check_continuation(self, text: bytes) -> None:
        """Fail if an unterminated record that was accepted as complete has been continued."""
        continued = self._cursor.open and self._prefix.at == self._cursor.byte and not text.startswith((b"\n", b"\r"))
        if continued and text:
            raise FixConfiguration("source_changed", {"continued": True})

    def _batch(self, buffer: BatchBuffer) -> Batch:
        parts, plan = buffer.parts, self._plan
        read = sum(part.read for part in parts)
        counted, self._cursor = self._cursor.source_bytes, self._next_cursor()
        return Batch(
            stream=plan.stream,
            lane=plan.lane,
            source=plan.source,
            payload=b"".join(part.payload for part in parts),
            count=sum(part.count for part in parts),
            timestamps=b"".join(part.timestamps for part in parts),
            first_row=self._row - read + 1,
            read=read,
            cursor=self._cursor.to_json(),
            rejects=tuple(reject for part in parts for reject in part.rejects),
            rejects_dropped=sum(part.dropped for part in parts),
            bytes_read=self._cursor.source_bytes - counted,
            bytes_total=plan.bytes_total,
        )

    def _next_cursor(self) -> TextCursor:
        head, tail = self._prefix.digests()
        assert self._format is not None, "a batch has records"
        layout = self._format.layout
        return TextCursor(
            byte=self._prefix.at,
            row=self._row,
            head=head,
            tail=tail,
            checksum=self._prefix.checksum,
            fields=layout.fields,
            delimiter=layout.delimiter,
            trailing_delimiter=layout.trailing_delimiter,
            padded=layout.padded,
            source_bytes=max(self._raw_offset, self._cursor.source_bytes),
            plain=self._plan.utf8 and self._decoder.plain,
            open=self._format.line_based and self._text_ended and not self._prefix.tail.endswith(b"\n"),
            format=self._format_name if self._format_name != self._plan.proposed else None,
            validator=self._plan.validator,
        )


def abort_error(stop: Reject) -> FixConfiguration:
    """Return the error for the record that ends reading with `on_error: abort`."""
    params = {"position": stop.position, **caused_by(stop.code, stop.params)}
    return FixConfiguration("record_rejected", params, detail=stop.detail)

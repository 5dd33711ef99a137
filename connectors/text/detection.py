"""Choose the format of a text: the name, the content type or the configuration propose it, the content decides."""

from email.message import Message
from pathlib import PurePosixPath
from typing import Final, Literal, NamedTuple

import orjson

from connectors.contract import FixConfiguration
from connectors.text.compression import SUFFIXES, Compression
from connectors.text.config import FORMAT_SUFFIXES, FORMAT_TYPES, FormatName, TextConfig
from connectors.text.content import refuse_foreign
from connectors.text.formats.json_scanner import closing_end, skip_blanks

TABS: Final = "text/tab-separated-values"
HTML_TYPES: Final = frozenset({"text/html", "application/xhtml+xml"})
JsonKind = Literal["json_array", "ndjson", "object", "unknown"]  # `object`: a single one; `unknown`: more is needed


class ContentType(NamedTuple):
    """A parsed `Content-Type` header; `media_type` is empty without one."""

    media_type: str = ""
    charset: str | None = None
    header: str | None = None  # `present` or `absent` (RFC 4180)


class Proposal(NamedTuple):
    """What configuration, name and content type say about a text."""

    format: FormatName | None
    compression: Compression | None = None
    tabs: bool = False
    header_row: bool = True


def parse_content_type(header: str) -> ContentType:
    """Parse a `Content-Type` header."""
    if not header:
        return ContentType()
    message = Message()
    message["Content-Type"] = header
    charset, present = (message.get_param(name) for name in ("charset", "header"))
    return ContentType(
        message.get_content_type(),
        charset if isinstance(charset, str) else None,
        present.lower() if isinstance(present, str) else None,
    )


def propose(config: TextConfig, path: str, content_type: ContentType) -> Proposal:
    """Return what configuration, file name and content type say about a text.

    Raises:
        FixConfiguration: the server says that it is a page.

    """
    if config.format == "auto" and content_type.media_type in HTML_TYPES:
        raise FixConfiguration("html_type")
    *_, suffix = ["", *(suffix for suffix in PurePosixPath(path.lower()).suffixes if suffix not in SUFFIXES)]
    by_name = FORMAT_SUFFIXES.get(suffix) or FORMAT_TYPES.get(content_type.media_type)
    tabs = suffix == ".tsv" or content_type.media_type == TABS
    compression = SUFFIXES.get(PurePosixPath(path.lower()).suffix)
    proposed = by_name if config.format == "auto" else config.format
    return Proposal(proposed, compression, tabs, header_row=content_type.header != "absent")


def choose_format(proposed: FormatName | None, text: bytes, *, final: bool) -> FormatName | None:
    """Return the format of a text by its start; None if more of it is needed. `final`: no more follows.

    Raises:
        FixConfiguration: it is JSON instead of CSV, unknown, or no text of records.

    """
    if not refuse_foreign(text, final=final):  # again, for a text that was transcoded
        return None
    start = skip_blanks(text, 0)
    if start == len(text) and not final:
        return None
    if proposed == "ndjson" and not text.startswith(b"[", start):
        return "ndjson"  # also one object, which may be large
    found = _json_kind(text, start, final=final)
    if found == "unknown":
        return None
    if proposed == "csv" and found:
        raise FixConfiguration("json_not_csv", {"format": "json_array" if found == "object" else found})
    if found is None and proposed is None:
        raise FixConfiguration("unknown_format", {"suffixes": tuple(FORMAT_SUFFIXES)})
    if found == "object":
        return "json_array"  # it explains what it expects
    return found or proposed


def _json_kind(text: bytes, start: int, *, final: bool) -> JsonKind | None:
    """Return what JSON begins a text; None if it is no JSON."""
    more: JsonKind | None = None if final else "unknown"
    if text.startswith(b"[", start):
        first = skip_blanks(text, start + 1)
        is_array = text.startswith(b"{", first) or (text.startswith(b"]", first) and not text[first + 1 :].strip())
        return "json_array" if is_array else more if first == len(text) else None
    if not text.startswith(b"{", start):
        return None
    end = closing_end(text, start)
    if end is None or not _is_object(text[start:end]):
        return more if end is None else None
    after = skip_blanks(text, end)
    if after == len(text):
        return "object" if final else "unknown"
    if b"\n" not in text[end:after]:
        return None
    return "ndjson" if text.startswith(b"{", after) and b"\n" not in text[start:end] else "object"


def _is_object(record: bytes) -> bool:
    try:
        return isinstance(orjson.loads(record), dict)
    except orjson.JSONDecodeError:
        return False

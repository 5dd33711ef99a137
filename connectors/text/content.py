"""Recognize data that is no text of records by its first bytes, so that it is never read as CSV or JSON.

The content decides, not the name: an expired link responds with a page, and a workbook may be named `.csv`.
"""

import codecs
import re
from typing import Final

from connectors.contract import FixConfiguration

MAX_HEAD_BYTES: Final = 4096  # the first entries of a ZIP archive show whether it is a workbook
MAX_MARKUP_BYTES: Final = 512
TAR_BYTES: Final = 262
BLANKS: Final = b" \t\r\n"

WORKBOOK: Final = "workbook"
ARCHIVE: Final = "archive"
OTHER: Final = "unsupported_content"
ZIP: Final = b"PK\x03\x04"
SIGNATURES: Final[tuple[tuple[bytes, str, str], ...]] = (
    (b"PK\x05\x06", ARCHIVE, "ZIP"),
    (b"PK\x07\x08", ARCHIVE, "ZIP"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", WORKBOOK, "XLS"),
    (b"%PDF-", OTHER, "PDF"),
    (b"\x89PNG\r\n", OTHER, "PNG"),
    (b"\xff\xd8\xff", OTHER, "JPEG"),
    (b"GIF87a", OTHER, "GIF"),
    (b"GIF89a", OTHER, "GIF"),
    (b"II*\0", OTHER, "TIFF"),
    (b"MM\0*", OTHER, "TIFF"),
    (b"\0\0\1\0", OTHER, "ICO"),
    (b"8BPS\0\1", OTHER, "PSD"),
    (b"\x1aE\xdf\xa3", OTHER, "WebM"),
    (b"ID3\2\0", OTHER, "MP3"),
    (b"ID3\3\0", OTHER, "MP3"),
    (b"ID3\4\0", OTHER, "MP3"),
    (b"\x7fELF", OTHER, "ELF"),
    (b"MZ\x90\0", OTHER, "EXE"),
    (b"{\\rtf", OTHER, "RTF"),
    (b"%!PS", OTHER, "PostScript"),
    (b"PAR1\x15", OTHER, "Parquet"),
    (b"\x89HDF\r\n\x1a\n", OTHER, "HDF5"),
    (b"FEA1\0", OTHER, "Feather"),
    (b"Obj\x01", OTHER, "Avro"),
    (b"ARROW1\0\0", OTHER, "Arrow"),
    (b"SQLite format 3\0", OTHER, "SQLite"),
    (b"BZh91AY&SY", ARCHIVE, "bzip2"),
    (b"\xfd7zXZ\0", ARCHIVE, "xz"),
    (b"7z\xbc\xaf\x27\x1c", ARCHIVE, "7z"),
    (b"Rar!\x1a\x07", ARCHIVE, "RAR"),
    (b"\x04\x22\x4d\x18", ARCHIVE, "lz4"),
    (b"\x1f\x9d", ARCHIVE, "compress"),
    (b"]\0\0", ARCHIVE, "LZMA"),
    (b"LZIP\1", ARCHIVE, "lzip"),
    (b"\xff\x06\0\0sNaPpY", ARCHIVE, "Snappy"),
    (b"MSCF\0", ARCHIVE, "CAB"),
    (b"version https://git-lfs.github.com/", "git_lfs_pointer", ""),
    (b"-----BEGIN ", "encrypted_content", ""),
    (b"age-encryption.org/v1", "encrypted_content", ""),
)
_HTML: Final = re.compile(  # but not a header of `<TITLE>,<LINK>`
    rb"<(?:!doctype\s+html|(?:html|head|body|title|meta|link|base|script|style|div|span|p|h[1-6]|hr|table|thead|tbody|tr|"
    rb"t[dh]|form|center|br|b|strong|a|img|pre|iframe|frameset|noframes|font|noscript|nav|main|section|article|aside|"
    rb"header|footer|ul|ol|dl)(?:\s|/?>(?!\s*[,;|])))",
    re.IGNORECASE,
)
_PATTERNS: Final = (
    (_HTML, "html_page", ""),
    (re.compile(rb"<[!?][^\0]{0,400}<html", re.IGNORECASE), "html_page", ""),
    (re.compile(rb"<(?:\?xml|!DOCTYPE|!--|[\w:.-]+(?:\s[^<>]*)?>\s*<[\w:])"), OTHER, "XML"),
    (re.compile(rb"<([\w:.-]+)(?:\s[^<>]*)?>[^<]*</\1\s*>|<[\w:.-]+\s+[\w:.-]+\s*=\s*[\"'][^<>]*>"), OTHER, "XML"),
    (re.compile(rb"--[^\r\n]{1,70}\r?\ncontent-(?:disposition|type):", re.IGNORECASE), "multipart_form", ""),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), OTHER, "WebP"),
    (re.compile(rb"BM.{4}\0{4}.{2}\0\0", re.DOTALL), OTHER, "BMP"),
    (re.compile(rb"\0{3}.ftyp(?:hei|hevc|mif1|msf1)", re.DOTALL), OTHER, "HEIC"),
    (re.compile(rb"\0{3}.ftypavi", re.DOTALL), OTHER, "AVIF"),
    (re.compile(rb"\0{3}.ftyp", re.DOTALL), OTHER, "MP4"),
    (re.compile(rb"x[\x01\x9c\xda].{0,100}?[\0-\x08\x0e-\x1f]", re.DOTALL), ARCHIVE, "zlib"),
    (re.compile(rb".{257}ustar", re.DOTALL), ARCHIVE, "tar"),
)


def refuse_foreign(head: bytes, *, final: bool) -> bool:
    """Refuse data that is no text of records; return False if more of its start is needed. `final`: no more follows.

    Raises:
        FixConfiguration: the data is a page, a workbook, an archive or the like.

    """
    text = head.removeprefix(codecs.BOM_UTF8).lstrip(BLANKS)
    is_complete = final or not _is_undecided(head, text)
    for signature, code, kind in SIGNATURES:
        if head.startswith(signature) or text.startswith(signature):
            raise FixConfiguration(code, {"kind": kind} if kind else {})
    if head.startswith(ZIP) and is_complete:
        raise _zip_error(head)
    for pattern, code, kind in _PATTERNS if is_complete else ():
        if pattern.match(text):
            raise FixConfiguration(code, {"kind": kind} if kind else {})
    return is_complete


def _is_undecided(head: bytes, text: bytes) -> bool:
    if head.startswith(ZIP) or len(head) >= MAX_HEAD_BYTES:
        return len(head) < MAX_HEAD_BYTES
    if text.startswith((b"<", b"--")):
        return len(text) < MAX_MARKUP_BYTES
    if b"\n" not in text or b"\0" in head:
        return len(text) < TAR_BYTES
    return any(signature.startswith(head) for signature, _, _ in SIGNATURES)


def _zip_error(head: bytes) -> FixConfiguration:
    if b"opendocument.spreadsheet" in head:
        return FixConfiguration(WORKBOOK, {"kind": "ODS"})
    if b"xl/" in head:
        return FixConfiguration(WORKBOOK, {"kind": "XLSX"})
    if b"[Content_Types].xml" in head or b"docProps/" in head:
        return FixConfiguration(OTHER, {"kind": "Office"})
    return FixConfiguration(ARCHIVE, {"kind": "ZIP"})

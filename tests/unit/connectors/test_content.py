"""The content decides, not the name: files without records are refused by name, JSON is never read as CSV."""

import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from app.sentences.sentence import sentence_of
from connectors.contract import FixConfiguration, Limits
from connectors.text.compression import Unpacker
from tests.unit.connectors.test_compression import unpack
from tests.unit.connectors.texts import NOW, Outcome, read_all

WIDE = Limits(clock=lambda: NOW)


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, "content " * 50)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("people.csv"), io.BytesIO())
    return file.getvalue()


PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n"
FOREIGN: dict[str, tuple[bytes, str, str | None]] = {
    "a page": (PAGE, "html_page", None),
    "a page behind a mark": (b"\xef\xbb\xbf \r\n" + PAGE.lower(), "html_page", None),
    "a page without a head": (b"<HTML lang=en>\nsigned out, sorry\n", "html_page", None),
    "a page with a long comment": (b"<!-- " + b"x" * 300 + b" -->\n<html>", "html_page", None),
    "a page as XML": (b'<?xml version="1.0"?>\n<!DOCTYPE html>\n<html xmlns="x">', "html_page", None),
    "a fragment of a page": (b"<div class='error'>Forbidden, sorry</div>", "html_page", None),
    "an error of PHP": (b"<br />\n<b>Warning</b>:  mysqli, line 7\n", "html_page", None),
    "an error of S3": (
        b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>',
        "unsupported_content",
        "XML",
    ),
    "XML without a declaration": (b"<feed>\n <entry/>\n</feed>", "unsupported_content", "XML"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3", "unsupported_content", "PDF"),
    "ZIP": (zipped("people.csv"), "archive", "ZIP"),
    "an empty ZIP": (zipped(), "archive", "ZIP"),
    "XLSX": (zipped("[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"), "workbook", "XLSX"),
    "ODS": (b"PK\3\4" + bytes(26) + b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "workbook", "ODS"),
    "a document": (zipped("[Content_Types].xml", "word/document.xml"), "unsupported_content", "Office"),
    "XLS": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "workbook", "XLS"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(8), "unsupported_content", "PNG"),
    "JPEG": (b"\xff\xd8\xff\xe0\0\x10JFIF", "unsupported_content", "JPEG"),
    "GIF": (b"GIF89a\1\0\1\0", "unsupported_content", "GIF"),
    "WebP": (b"RIFF\x24\0\0\0WEBPVP8 ", "unsupported_content", "WebP"),
    "Parquet": (b"PAR1\x15\x04\x15\x10", "unsupported_content", "Parquet"),
    "Avro": (b"Obj\1\4\x16avro.schema", "unsupported_content", "Avro"),
    "a section of a page": (b"<section class=error>\nSign in, please\n</section>\n", "html_page", None),
    "rows of a page": (b"<tr><td>1</td><td>Ann, Bob</td></tr>\n", "html_page", None),
    "an element of its own": (b"<my-app></my-app>\n", "unsupported_content", "XML"),
    "an element with text": (b"<error>expired, sorry\n</error>\n", "unsupported_content", "XML"),
    "an element with an attribute": (b'<feed version="1">\ntext, text\n', "unsupported_content", "XML"),
    "PDF behind blanks": (b"\r\n%PDF-1.4\n%\xe2", "unsupported_content", "PDF"),
    "a part of a split ZIP": (b"PK\7\b" + zipped("people.csv"), "archive", "ZIP"),
    "BMP": (b"BM\xe8\3\0\0\0\0\0\0\x36\0\0\0" + bytes(40), "unsupported_content", "BMP"),
    "ICO": (b"\0\0\1\0\1\0\x10\x10" + bytes(40), "unsupported_content", "ICO"),
    "HEIC": (b"\0\0\0\x18ftypheic" + bytes(40), "unsupported_content", "HEIC"),
    "AVIF": (b"\0\0\0\x1cftypavif" + bytes(40), "unsupported_content", "AVIF"),
    "MP4": (b"\0\0\0\x20ftypisom" + bytes(40), "unsupported_content", "MP4"),
    "MP3": (b"ID3\3\0\0\0\0\0\x21" + bytes(40), "unsupported_content", "MP3"),
    "a program": (b"\x7fELF\2\1\1" + bytes(40), "unsupported_content", "ELF"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(40), "unsupported_content", "HDF5"),
    "zlib": (zlib.compress(b"id,name\n1,Ann\n" * 9), "archive", "zlib"),
    "LZMA": (lzma.compress(b"id\n1\n", lzma.FORMAT_ALONE), "archive", "LZMA"),
    "SQLite": (b"SQLite format 3\0\x10\0", "unsupported_content", "SQLite"),
    "bzip2": (b"BZh91AY&SY\x94", "archive", "bzip2"),
    "xz": (b"\xfd7zXZ\0\0\4", "archive", "xz"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "archive", "7z"),
    "tar": (tarred(), "archive", "tar"),
    "a form": (
        b'--------ab1\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nid\n1\n\r\n--------ab1--',
        "multipart_form",
        None,
    ),
    "a pointer of Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 12\n",
        "git_lfs_pointer",
        None,
    ),
    "an encrypted file": (b"-----BEGIN PGP MESSAGE-----\n\nhQEMA\n", "encrypted_content", None),
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "compressed"])
@pytest.mark.parametrize("config", [{}, {"format": "csv"}, {"format": "ndjson"}], ids=str)
@pytest.mark.parametrize("kind", FOREIGN)
def test_data_that_is_no_text_is_named_and_never_imported(
    kind: str, config: dict[str, Any], pack: Callable[[bytes], bytes]
) -> None:
    data, code, name = FOREIGN[kind]
    outcome = read_all(pack(data), "people.csv", limits=WIDE, **config)
    assert outcome.batches == []
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.params.get("kind")) == (code, name)
    assert len(sentence_of(outcome.error)) > 20


@pytest.mark.parametrize("config", [{"path": "people.csv.gz"}, {"path": "people.csv", "compression": "gzip"}], ids=str)
@pytest.mark.parametrize("kind", ["PDF", "bzip2", "zlib", "a page", "XLS"])
def test_data_with_another_compression_than_expected_is_named_for_what_it_is(kind: str, config: dict[str, Any]) -> None:
    data, code, _ = FOREIGN[kind]
    outcome = read_all(data, limits=WIDE, **config)
    assert outcome.error is not None
    assert outcome.error.code == code


@pytest.mark.parametrize("kind", FOREIGN)
def test_data_that_arrives_in_pieces_is_named_too(kind: str) -> None:
    data, code, _ = FOREIGN[kind]
    with pytest.raises(FixConfiguration, match=code):
        assert unpack(Unpacker("auto"), data, 1) == b""


def test_a_page_in_another_encoding_is_named() -> None:
    for encoding in ("utf-16", "utf-16-le", "cp037"):
        outcome = read_all(PAGE.decode().encode(encoding), "people.csv", limits=WIDE, encoding=encoding)
        assert outcome.error is not None
        assert outcome.error.code == "html_page"


@pytest.mark.parametrize(
    "header",
    [
        b"<TICKER>,<DATE>,<CLOSE>",
        b"<title>;<link>",
        b"PK,name",
        b"%PDF,name",
        b"GIF,BMP",
        b"--id--,name",
        b"BZh,x",
        b"RIFF,x",
        b"MM,YY",
        b"7z,x",
        b"-1,x",
        b"{id},{name}",
        b"[Date],[Amount]",
        b"[],x",
        b"{},x",
        b"version,x",
        b"<id>",
        b"<header>;<nav>",
        b"<user id>,<c>",
        b"PARENT,ORC",
        b"BM,x",
        b"ID3,x",
        b"MZ,x",
        b"]x,y",
        b"x,y",
        b"P,Q",
    ],
)
@pytest.mark.parametrize("end", [b"\n", b""])
def test_unusual_headers_are_read(header: bytes, end: bytes) -> None:
    outcome = read_all(header + b"\n1;2,3" + end, "a.csv")
    assert outcome.error is None
    assert outcome.batches or outcome.rejects


def records(outcome: Outcome) -> list[bytes]:
    assert outcome.error is None, outcome.error
    return [line.rstrip(b"\n") for line in outcome.lines]


ARRAY = b'[{"id":1},{"id":2},{"id":3}]'
LINES = b'{"id":1}\n{"id":2}\n{"id":3}\n'
EXPECTED = [b'{"id":1}', b'{"id":2}', b'{"id":3}']


@pytest.mark.parametrize("path", ["a.json", "a.ndjson", "a.jsonl.gz", "export", "a.txt"])
@pytest.mark.parametrize(
    "data", [ARRAY, LINES, b"\xef\xbb\xbf \n" + ARRAY, b" " * 100 + LINES, ARRAY.replace(b",", b"\n,\n")]
)
def test_arrays_and_lines_are_told_apart_by_their_first_bytes(path: str, data: bytes) -> None:
    outcome = read_all(data, path)
    assert records(outcome) == EXPECTED
    for batch in outcome.batches:  # the remainder has no beginning that decides
        rest = read_all(data, path, dict(batch.cursor))
        assert records(rest) == EXPECTED[batch.first_row + batch.read - 1 :]


def test_an_array_that_resumes_is_still_truncated() -> None:
    cursor = dict(read_all(ARRAY, "export").batches[-1].cursor)
    outcome = read_all(ARRAY[:-1], "export", cursor)
    assert outcome.error is not None
    assert outcome.error.code == "truncated"


def test_an_object_with_a_multi_line_array_is_no_file_of_lines() -> None:
    for data, advice in (
        (b'{"data": [{"id": 1}, {"id": 2}]}', {"member": "data"}),
        (b'{"meta": {}, "page": [],\n "rows": [{"id": 1}]}\n', {"member": "rows"}),
        (b'{"id": 1}', {"format": "ndjson"}),
        (b'{\n "id": 1\n}\n', {}),
    ):
        outcome = read_all(data, "a.json", limits=WIDE)
        assert outcome.error is not None
        assert outcome.error.code == "not_an_array_of_objects"
        assert {
            name: outcome.error.params[name] for name in ("member", "format") if name in outcome.error.params
        } == advice


@pytest.mark.parametrize(
    "data",
    [ARRAY, LINES, b'{"error": "expired"}', b'{\n "error": "expired"\n}\n', b'[\n {"id": 1}\n]\n', b"[]"],
)
@pytest.mark.parametrize("config", [{}, {"format": "csv"}], ids=["by name", "configured"])
def test_json_is_not_read_as_csv(data: bytes, config: dict[str, Any]) -> None:
    outcome = read_all(data, "people.csv", limits=WIDE, **config)
    assert outcome.batches == []
    assert outcome.error is not None
    assert outcome.error.code == "json_not_csv"


def test_a_column_may_hold_json() -> None:
    data = b'{"a":1}\t5\n{"a":2}\t6\n'
    outcome = read_all(data, "a.tsv", fields=["event", "count"], header_row=False, quote="'")
    assert len(records(outcome)) == 2


@pytest.mark.parametrize(
    ("path", "data", "good", "codes"),
    [
        ("a.ndjson", b'{"a":1}\n{"a":2}TRAILER\n{"a":3}\n', 2, ["invalid_json"]),
        ("a.ndjson", b'{"a":1}{"a":2}\n{"a":3}\n', 1, ["invalid_json"]),
        ("a.ndjson", b'{"a":1},\n{"a":2}\n', 1, ["invalid_json"]),
        ("a.ndjson", b'{"a":NaN}\n{"a":-Infinity}\n{"a":01}\n{"a":1}\n', 1, ["invalid_json"] * 3),
        ("a.ndjson", b"{'a':1}\n// a\n{\"a\":1}\n", 1, ["invalid_json"] * 2),
        ("a.ndjson", b'\x1e{"a":1}\n{"a":2}\n\x1a', 1, ["invalid_json"] * 2),
        ("a.ndjson", b'[1]\nnull\n{"a":2}\n', 1, ["not_an_object"] * 2),
        ("a.ndjson", b'{"a":1413617112501850121}\r\n\r\n{"a":"\\u0000"}\n', 2, []),
        ("a.json", b'{"data":[{"a":1}]}', 0, "not_an_array_of_objects"),
        ("a.json", b'{"a":1},\n{"a":2}\n', 0, "not_an_array_of_objects"),
        ("a.json", b'{\n "a":1\n}\n{\n "a":2\n}\n', 0, "not_an_array_of_objects"),
        ("a.json", b'callback([{"a":1}])', 0, "not_an_array_of_objects"),
        ("a.json", b')]}\',\n[{"a":1}]', 0, "not_an_array_of_objects"),
        ("a.json", b'[{"a":1}]\n[{"a":2}]\n', 1, "trailing_text"),
        ("a.csv", b'{\n  "error": "expired"\n}', 0, "json_not_csv"),
    ],
)
def test_json_that_others_accept_in_part_is_reported(path: str, data: bytes, good: int, codes: list[str] | str) -> None:
    outcome = read_all(data, path, limits=WIDE)
    found = outcome.error.code if outcome.error else [code for _, code in outcome.rejects]
    assert (len(outcome.lines), found) == (good, codes)

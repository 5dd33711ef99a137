"""Options of uploads from query, headers and content type; and the bounds of admission."""

import re
from typing import Any

import pytest

from app.api.collect.config import BulkQuery, ContentHeaders, config_of
from app.api.http.problems import ApiProblem
from app.api.services.admission import OVERHEAD_BYTES, Admission
from app.sentences.sentence import sentence
from connectors.text.compression import Compression
from connectors.text.config import TextConfig
from connectors.text.detection import parse_content_type
from connectors.text.importer import FIELD_OF


def described(content_type: str, compression: Compression | None = None) -> ContentHeaders:
    return ContentHeaders(parse_content_type(content_type), compression)


CSV = described("text/csv")


def config(described_by: ContentHeaders = CSV, **query: Any) -> tuple[str, dict[str, Any]]:
    job_type, found = config_of("people", BulkQuery.model_validate(query), described_by)
    return job_type, found.model_dump()


@pytest.mark.parametrize(
    ("headers", "filename", "job_type", "form", "delimiter"),
    [
        (described("text/csv"), "", "bulk_csv", "csv", None),
        (described("application/csv"), "people.json", "bulk_csv", "csv", None),
        (described("text/tab-separated-values"), "", "bulk_csv", "csv", "\t"),
        (described("application/octet-stream"), "people.tsv.gz", "bulk_csv", "csv", "\t"),
        (described("application/gzip"), "people.csv.gz", "bulk_csv", "csv", None),
        (described("application/x-ndjson"), "", "bulk_json", "ndjson", None),
        (described("application/json"), "", "bulk_json", "ndjson", None),
        (described("application/json"), "people.ndjson", "bulk_json", "ndjson", None),
        (described("application/json"), "people.json.zst", "bulk_json", "json_array", None),
        (described("application/zstd"), "People.JSONL.ZST", "bulk_json", "ndjson", None),
    ],
)
def test_formats_by_content_type_and_name(
    headers: ContentHeaders, filename: str, job_type: str, form: str, delimiter: str | None
) -> None:
    found_type, found = config(headers, filename=filename)
    assert (found_type, found["format"], found["delimiter"]) == (job_type, form, delimiter)


def test_defaults_of_an_upload() -> None:
    _, found = config()
    assert (found["lane"], found["on_error"], found["header_row"]) == ("backfill", "quarantine", True)
    _, found = config(lane="realtime", droperrors="true", headers="id,name", delimiter="tab")
    assert (found["lane"], found["on_error"], found["delimiter"]) == ("realtime", "drop", "\t")
    assert (found["header_row"], found["fields"]) == (False, ("id", "name"))
    _, found = config(
        described("text/csv; charset=latin-1", "gzip"), filename="C:\\files\\people.csv", append='{"a": 1}'
    )
    assert (found["encoding"], found["compression"], found["filename"]) == ("latin-1", "gzip", "people.csv")
    assert found["append"] == {"a": 1}


def test_a_dialect_of_an_upload() -> None:
    _, found = config(quote="", escape="\\", comment="#", skip_lines="2")
    assert (found["quote"], found["escape"], found["comment"], found["skip_lines"]) == ("", "\\", "#", 2)
    _, found = config()
    assert (found["quote"], found["escape"], found["comment"], found["skip_lines"]) == ('"', "", "", 0)


def test_uploads_have_the_options_of_jobs() -> None:
    _, found = config(
        described("application/octet-stream"),
        format="csv",
        encoding="cp1252",
        quote="",
        timestamp_field="at",
        timestamp_format="%d.%m.%Y",
        time_zone="Europe/Vienna",
        escape="\\",
        comment="#",
        skip_lines="2",
    )
    options = ("format", "encoding", "quote", "timestamp_field", "timestamp_format", "time_zone")
    assert [found[name] for name in options] == ["csv", "cp1252", "", "at", ("%d.%m.%Y",), "Europe/Vienna"]
    assert [found[name] for name in ("escape", "comment", "skip_lines")] == ["\\", "#", 2]
    _, found = config(described("text/csv; charset=latin-1"), encoding="utf-16", format="ndjson")
    assert (found["encoding"], found["format"]) == ("utf-16", "ndjson")
    elsewhere = {"stream", "fields", "header_row", "compression"}  # path, `headers`, `header` and Content-Encoding
    assert set(TextConfig.model_fields) - elsewhere <= set(BulkQuery.model_fields)


@pytest.mark.parametrize(
    ("content_type", "query", "header"),
    [
        ("text/csv", {}, "present"),
        ("text/csv", {"headers": "a,b"}, "absent"),
        ("text/csv; header=present", {"headers": "a,b"}, "present"),
        ("text/csv; header=absent; charset=utf-8", {"headers": "a,b"}, "absent"),
        ('Text/CSV; Header="Absent"', {"headers": "a,b"}, "absent"),
        ("text/csv", {"headers": "a,b", "header": "present"}, "present"),
        ("text/csv; header=absent", {"header": "present"}, "present"),
    ],
)
def test_a_header_row_is_present_or_absent(content_type: str, query: dict[str, str], header: str) -> None:
    _, found = config(described(content_type), **query)
    assert (found["header_row"], found["fields"]) == (header == "present", ("a", "b") if "headers" in query else None)


@pytest.mark.parametrize("content_type", ["text/csv; header=absent", "text/csv;header=ABSENT"])
def test_without_a_header_row_columns_need_names(content_type: str) -> None:
    with pytest.raises(ApiProblem) as refused:
        config(described(content_type))
    assert (refused.value.errors[0].pointer, refused.value.errors[0].code) == ("?headers", "columns_unnamed")


@pytest.mark.parametrize("code", sorted({*FIELD_OF, "duplicate_field_name", "columns_unnamed", "quote_is_delimiter"}))
def test_advice_about_uploads_names_options_of_uploads(code: str) -> None:
    named = set(re.findall(r"`([a-z_]+)`", sentence(code, {}, "collect")))
    assert not named & (set(TextConfig.model_fields) - set(BulkQuery.model_fields))


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"droperrors": "true", "on_error": "abort"}, "?droperrors"),
        ({"append": "[1]"}, "?append"),
        ({"append": "{"}, "?append"),
        ({"append": '{"account": {"id": 894301012345678901231}}'}, "?append"),
        ({"append": '{"a":' + "[" * 200 + "]" * 200 + "}"}, "?append"),
        ({"append": '{"a":' + "[" * 400 + "]" * 400 + "}"}, "?append"),
        ({"append": '{"' + "ä" * 510 + '":1}'}, "?append"),
        ({"headers": "a,a"}, "?headers"),
        ({"headers": "a,b", "timestamp_field": "c"}, "?headers"),
        ({"delimiter": "ab"}, "?delimiter"),
        ({"encoding": "klingon"}, "?encoding"),
        ({"time_zone": "Vienna"}, "?time_zone"),
        ({"timestamp_format": "%H"}, "?timestamp_format"),
        ({"quote": ","}, "?delimiter"),
        ({"header": "absent"}, "?headers"),
        ({"delimiter": '"'}, "?delimiter"),
        ({"filename": "a\n.csv"}, "?filename"),
        ({"escape": "x"}, "?escape"),
        ({"quote": "é"}, "?quote"),
        ({"comment": "ä"}, "?comment"),
        ({"comment": ";", "delimiter": ";"}, "?delimiter"),
    ],
)
def test_invalid_options_are_named(query: dict[str, str], pointer: str) -> None:
    with pytest.raises(ApiProblem) as refused:
        config(**query)
    assert refused.value.status == 422
    assert refused.value.errors[0].pointer == pointer


@pytest.mark.parametrize("name", ["a\u202evsc.exe", "\ufeffa.csv"])
def test_a_file_name_with_unsafe_characters_is_refused(name: str) -> None:
    with pytest.raises(ApiProblem) as refused:
        config(filename=name)
    assert [(error.pointer, error.code) for error in refused.value.errors] == [("?filename", "bad_filename")]


@pytest.mark.parametrize(
    "headers", [described("image/png"), described("application/octet-stream"), described("text/html")]
)
def test_an_unknown_format_is_rejected(headers: ContentHeaders) -> None:
    with pytest.raises(ApiProblem) as refused:
        config(headers, filename="people")
    assert (refused.value.status, refused.value.code) == (415, "wrong_content_type")
    with pytest.raises(ApiProblem) as refused:
        config(described("text/csv; charset=klingon"))
    assert refused.value.errors[0].pointer == "?encoding"


def test_admission_is_bounded() -> None:
    admission = Admission(max_uploads=1, max_bytes=2 * OVERHEAD_BYTES + 10)
    with admission.body(10), pytest.raises(ApiProblem) as refused, admission.body(OVERHEAD_BYTES):
        raise AssertionError("admitted beyond the limit")
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "1")
    with admission.upload(), pytest.raises(ApiProblem) as refused, admission.upload():
        raise AssertionError("admitted beyond the limit")
    assert (refused.value.status, refused.value.code) == (429, "too_many_uploads")
    with admission.upload(), admission.body(OVERHEAD_BYTES + 10):
        pass

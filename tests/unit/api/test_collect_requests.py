"""Options of uploads from query, headers and content type; and the bounds of admission."""

from typing import Any

import pytest

from app.api.collect.config import BulkQuery, ContentHeaders, config_of
from app.api.http.problems import ApiProblem
from app.api.services.admission import OVERHEAD_BYTES, Admission

CSV = ContentHeaders("text/csv")


def config(described_by: ContentHeaders = CSV, **query: Any) -> tuple[str, dict[str, Any]]:
    job_type, found = config_of("people", BulkQuery.model_validate(query), described_by)
    return job_type, found.model_dump()


@pytest.mark.parametrize(
    ("headers", "filename", "job_type", "form", "delimiter"),
    [
        (ContentHeaders("text/csv"), "", "bulk_csv", "csv", None),
        (ContentHeaders("application/csv"), "people.json", "bulk_csv", "csv", None),
        (ContentHeaders("text/tab-separated-values"), "", "bulk_csv", "csv", "\t"),
        (ContentHeaders("application/octet-stream"), "people.tsv.gz", "bulk_csv", "csv", "\t"),
        (ContentHeaders("application/gzip"), "people.csv.gz", "bulk_csv", "csv", None),
        (ContentHeaders("application/x-ndjson"), "", "bulk_json", "ndjson", None),
        (ContentHeaders("application/json"), "", "bulk_json", "ndjson", None),
        (ContentHeaders("application/json"), "people.ndjson", "bulk_json", "ndjson", None),
        (ContentHeaders("application/json"), "people.json.zst", "bulk_json", "json_array", None),
        (ContentHeaders("application/zstd"), "People.JSONL.ZST", "bulk_json", "ndjson", None),
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
        ContentHeaders("text/csv", "latin-1", "gzip"), filename="C:\\files\\people.csv", append='{"a": 1}'
    )
    assert (found["encoding"], found["compression"], found["filename"]) == ("latin-1", "gzip", "people.csv")
    assert found["append"] == {"a": 1}


def test_a_dialect_of_an_upload() -> None:
    _, found = config(quote="", escape="\\", comment="#", skip_lines="2")
    assert (found["quote"], found["escape"], found["comment"], found["skip_lines"]) == ("", "\\", "#", 2)
    _, found = config()
    assert (found["quote"], found["escape"], found["comment"], found["skip_lines"]) == ('"', "", "", 0)


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


@pytest.mark.parametrize(
    "headers", [ContentHeaders("image/png"), ContentHeaders("application/octet-stream"), ContentHeaders("text/html")]
)
def test_an_unknown_format_is_rejected(headers: ContentHeaders) -> None:
    with pytest.raises(ApiProblem) as refused:
        config(headers, filename="people")
    assert (refused.value.status, refused.value.code) == (415, "wrong_content_type")
    with pytest.raises(ApiProblem) as refused:
        config(ContentHeaders("text/csv", "klingon"))
    assert refused.value.errors[0].pointer == "Content-Type"


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

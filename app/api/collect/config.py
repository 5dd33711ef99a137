"""Upload options: content type, file name and query become the configuration of the upload's job."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import Field, ValidationError

from app.api.collect.requests import FORMATS, CollectQuery
from app.api.http.problems import ApiProblem, FieldError, field_errors, invalid
from app.api.http.request_body import content_encoding
from app.api.routing.routes import Query
from connectors.providers.collect import Config
from connectors.text.compression import SUFFIXES, Compression
from connectors.text.config import FORMAT_SUFFIXES, FORMAT_TYPES

TABS: Final = "text/tab-separated-values"
QUERY_OF: Final = {
    "/fields": "?headers",
    "/delimiter": "?delimiter",
    "/filename": "?filename",
    "/timestamp_field": "?timestamp_field",
    "/append": "?append",
    "/encoding": "Content-Type",
    "/quote": "?quote",
    "/escape": "?escape",
    "/comment": "?comment",
    "/skip_lines": "?skip_lines",
}
DIALECT: Final = frozenset({"quote", "escape", "comment", "skip_lines"})  # of CSV, the same as in jobs


class FileQuery(Query):
    """Options that describe a file."""

    filename: Annotated[
        str, Field(max_length=255, description="file name; its extensions determine compression and format")
    ] = ""
    headers: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=3_000,
            description="comma-separated field names, if the file has no header row",
        ),
    ] = None
    delimiter: Annotated[
        str | None, Field(min_length=1, max_length=3, description="CSV delimiter: one ASCII character, or `tab`")
    ] = None
    quote: Annotated[
        str | None, Field(max_length=1, description='CSV quote: one ASCII character; empty: no quoting; default: `"`')
    ] = None
    escape: Annotated[str | None, Field(max_length=1, description="CSV escape: a backslash; default: none")] = None
    comment: Annotated[
        str | None, Field(max_length=1, description="CSV: lines that start with this ASCII character are skipped")
    ] = None
    skip_lines: Annotated[
        int | None, Field(ge=0, le=10_000, description="CSV: number of lines before the header row to skip")
    ] = None


class BulkQuery(FileQuery, CollectQuery):
    """Options of a file upload."""


@dataclass(frozen=True, slots=True)
class ContentHeaders:
    """The headers that describe a body."""

    content_type: str
    charset: str | None = None
    compression: Compression | None = None


def content_headers(request: web.Request) -> ContentHeaders:
    """Return the headers that describe the body of a request.

    Raises:
        ApiProblem: 415, unknown compression.

    """
    return ContentHeaders(request.content_type, request.charset, content_encoding(request))


def config_of(stream: str, query: BulkQuery, headers: ContentHeaders) -> tuple[str, Config]:
    """Return the job type of an upload and its configuration.

    Raises:
        ApiProblem: 415, unknown format; or 422.

    """
    kind = headers.content_type
    suffix = _suffix(query.filename)
    form = FORMAT_TYPES.get(kind)
    if form is None or (kind == "application/json" and FORMAT_SUFFIXES.get(suffix) == "json_array"):
        form = FORMAT_SUFFIXES.get(suffix)
    if form is None:
        accepted = "text/csv, application/x-ndjson"
        detail = f"unsupported content type {kind}: expected {accepted}, or a `filename` with .csv, .ndjson, …"
        raise ApiProblem(415, "wrong_content_type", detail, headers={"Accept-Post": accepted})
    values: dict[str, Any] = {
        "stream": stream,
        "format": form,
        "timestamp_format": FORMATS,
        "on_error": query.errors_are("quarantine"),
        "lane": query.lane or "backfill",
        "filename": query.filename.replace("\\", "/").rpartition("/")[2],
        "timestamp_field": query.timestamp_field,
        "append": query.appended(),
        "encoding": headers.charset or "utf-8",
        "compression": headers.compression or "auto",
    }
    if form == "csv":
        values |= _csv(query, tabs=kind == TABS or suffix == ".tsv")
    try:
        return "bulk_csv" if form == "csv" else "bulk_json", Config.model_validate(values)
    except ValidationError as error:
        raise invalid([_in_query(field) for field in field_errors(error)]) from error


def _csv(query: BulkQuery, *, tabs: bool) -> dict[str, Any]:
    delimiter = "\t" if query.delimiter in {"tab", "\\t"} or (tabs and not query.delimiter) else query.delimiter
    fields = query.headers.split(",") if query.headers else None
    given = query.model_dump(include=set(DIALECT), exclude_none=True)
    return {"delimiter": delimiter, "fields": fields, "header_row": fields is None, **given}


def _suffix(filename: str) -> str:
    """Return the extension for the format, before the one for the compression."""
    name = filename.lower()
    for compressed in SUFFIXES:
        name = name.removesuffix(compressed)
    return f".{name.rpartition('.')[2]}"


def _in_query(error: FieldError) -> FieldError:
    """Return an error under the name of the field in the request."""
    top = f"/{error.pointer.split('/')[1]}" if error.pointer else ""
    if not top:  # about several fields: the message names them
        top = next((pointer for pointer in QUERY_OF if f"`{pointer[1:]}`" in error.message), "")
    return FieldError(QUERY_OF.get(top, error.pointer), error.code, error.message.replace("`fields`", "`headers`"))

"""Upload options: content type, file name and query become the configuration of the upload's job."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from aiohttp import web
from pydantic import Field, ValidationError

from app.api.collect.requests import FORMATS, CollectQuery
from app.api.http.problems import ApiProblem, FieldError, field_errors, invalid
from app.api.http.request_body import content_encoding
from app.api.jobs.checks import ValidateQuery
from app.api.routing.routes import Query
from connectors.providers.collect import Config
from connectors.text.compression import SUFFIXES, Compression
from connectors.text.config import FORMAT_SUFFIXES, FORMAT_TYPES, FormatName
from connectors.text.detection import TABS, ContentType, parse_content_type

QUERY_OF: Final = {
    "/fields": "?headers",
    "/header_row": "?header",
    "/compression": "Content-Encoding",
}
DIALECT: Final = frozenset({"quote", "escape", "comment", "skip_lines"})  # of CSV, the same as in jobs
FORM: Final = "application/x-www-form-urlencoded"
TYPES_HINT: Final = "text/csv, application/x-ndjson"


class FileOptions(Query):
    """The format of a file in a request. Options without a value are those of import jobs by the same name."""

    filename: Annotated[str, Field(max_length=255, description="file name; its extensions propose the format")] = ""
    format: Annotated[
        FormatName | None, Field(description="format; by default that of Content-Type, or of the file name")
    ] = None
    encoding: Annotated[
        str | None, Field(max_length=40, description="text encoding; by default the charset of Content-Type, or UTF-8")
    ] = None
    header: Annotated[
        Literal["present", "absent"] | None,
        Field(
            description="whether a CSV file has a header row; by default the `header` of Content-Type, or absent with "
            "`headers`"
        ),
    ] = None
    headers: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=3_000,
            description="comma-separated CSV field names; they replace those of a header row that is `present`",
        ),
    ] = None
    delimiter: Annotated[
        str | None, Field(min_length=1, max_length=3, description="CSV delimiter: one ASCII character, or `tab`")
    ] = None
    quote: Annotated[
        str | None, Field(max_length=4, description="CSV quote: one ASCII character; empty or `none`: no quoting")
    ] = None
    escape: Annotated[
        str | None, Field(max_length=4, description="CSV escape character: a backslash, or `none` (default)")
    ] = None
    comment: Annotated[
        str | None, Field(max_length=4, description="skip CSV lines that begin with this ASCII character, or `none`")
    ] = None
    skip_lines: Annotated[int | None, Field(ge=0, description="CSV lines to skip before the header row")] = None
    timestamp_format: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=200,
            description="format of the event time, as for import jobs; by default ISO 8601 or seconds, milliseconds or "
            "microseconds since 1970",
        ),
    ] = None
    time_zone: Annotated[
        str | None, Field(max_length=60, description="IANA time zone of timestamps without an offset; default UTC")
    ] = None


class BulkQuery(FileOptions, CollectQuery, ValidateQuery):
    """Options of a file upload."""


@dataclass(frozen=True, slots=True)
class ContentHeaders:
    """The headers that describe a body."""

    content_type: ContentType
    compression: Compression | None = None


def content_headers(request: web.Request) -> ContentHeaders:
    """Return the headers that describe the body of a request.

    Raises:
        ApiProblem: 415, a form or unknown compression.

    """
    content_type = parse_content_type(request.headers.get("Content-Type", ""))
    is_multipart = content_type.media_type.startswith("multipart/")
    if is_multipart or content_type.media_type == FORM:
        form = "a multipart form" if is_multipart else "a form"
        detail = f"the body is {form}: send the file itself as the body, with its Content-Type (curl: -T FILE -X POST)"
        raise ApiProblem(415, "form_body", detail, headers={"Accept-Post": TYPES_HINT})
    return ContentHeaders(content_type, content_encoding(request))


def config_of(stream: str, query: BulkQuery, headers: ContentHeaders) -> tuple[str, Config]:
    """Return the job type of an upload and its configuration.

    Raises:
        ApiProblem: 415, unknown format; or 422.

    """
    suffix = _suffix(query.filename)
    form = query.format or _format(headers.content_type.media_type, suffix)
    values: dict[str, Any] = {
        "stream": stream,
        "format": form,
        "timestamp_format": query.timestamp_format or FORMATS,
        "on_error": query.error_policy("quarantine"),
        "lane": query.lane or "backfill",
        "filename": query.filename.replace("\\", "/").rpartition("/")[2],
        "timestamp_field": query.timestamp_field,
        "append": query.appended(),
        "encoding": query.encoding or headers.content_type.charset or "utf-8",
        "compression": headers.compression or "auto",
    }
    if query.time_zone is not None:
        values["time_zone"] = query.time_zone
    if form == "csv":
        values |= _csv(query, headers.content_type, suffix)
    try:
        return "bulk_csv" if form == "csv" else "bulk_json", Config.model_validate(values)
    except ValidationError as error:
        raise invalid([_in_query(field) for field in field_errors(error)]) from error


def _format(media_type: str, suffix: str) -> FormatName:
    by_name, by_type = FORMAT_SUFFIXES.get(suffix), FORMAT_TYPES.get(media_type)
    if by_type is None or (media_type == "application/json" and by_name == "json_array"):
        by_type = by_name
    if by_type is None:
        detail = f"unsupported content type {media_type or 'application/octet-stream'}: expected {TYPES_HINT}, a "
        detail += "`filename` with .csv, .ndjson, …, or the `format`"
        raise ApiProblem(415, "wrong_content_type", detail, headers={"Accept-Post": TYPES_HINT})
    return by_type


def _csv(query: BulkQuery, content_type: ContentType, suffix: str) -> dict[str, Any]:
    has_tabs = content_type.media_type == TABS or suffix == ".tsv"
    delimiter = "\t" if query.delimiter in {"tab", "\\t"} or (has_tabs and not query.delimiter) else query.delimiter
    fields = query.headers.split(",") if query.headers else None
    header = query.header or content_type.header or ("absent" if fields else "present")
    dialect = query.model_dump(include=set(DIALECT), exclude_none=True)
    signs = {name: "" if sign == "none" else sign for name, sign in dialect.items()}
    return {"delimiter": delimiter, "fields": fields, "header_row": header != "absent", **signs}


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
        names = (f"/{name}" for name in Config.model_fields if f"`{name}`" in error.message)
        top = next(names, "")
    pointer = QUERY_OF.get(top, f"?{top[1:]}" if top[1:] in BulkQuery.model_fields else error.pointer)
    return FieldError(pointer, error.code, error.message.replace("`fields`", "`headers`"))

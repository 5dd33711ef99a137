"""How an uploaded file is written: from its content type, its name and the query to the configuration of its job."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import Field, ValidationError

from app.api.collect.requests import FORMATS, CollectQuery
from app.api.http.problems import ApiProblem, FieldError, field_errors, invalid
from app.api.http.request_body import content_encoding
from connectors.providers.collect import Config
from connectors.text.compression import SUFFIXES, Compression
from connectors.text.config import FORMAT_SUFFIXES, FormatName

BY_TYPE: Final[dict[str, FormatName]] = {
    "text/csv": "csv",
    "application/csv": "csv",
    "text/tab-separated-values": "csv",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/x-jsonlines": "ndjson",
    "application/json": "ndjson",
}
TABS: Final = "text/tab-separated-values"
QUERY_OF: Final = {
    "/fields": "?headers",
    "/delimiter": "?delimiter",
    "/filename": "?filename",
    "/timestamp_field": "?timestamp_field",
    "/append": "?append",
    "/encoding": "Content-Type",
}


class BulkQuery(CollectQuery):
    """How a file is to be taken."""

    filename: Annotated[
        str, Field(max_length=255, description="what it is called; its endings say how it is packed and written")
    ] = ""
    headers: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=3_000,
            description="field names, with commas between; then no row of the file has them",
        ),
    ] = None
    delimiter: Annotated[
        str | None, Field(min_length=1, max_length=3, description="of CSV: one ASCII character, or `tab`")
    ] = None


@dataclass(frozen=True, slots=True)
class ContentHeaders:
    """What the headers say of a body."""

    content_type: str
    charset: str | None = None
    packed: Compression | None = None


def said_of(request: web.Request) -> ContentHeaders:
    """Return what the headers of a request say.

    Raises:
        Problem: 415, the body is packed with something that is not known here.

    """
    return ContentHeaders(request.content_type, request.charset, content_encoding(request))


def config_of(stream: str, query: BulkQuery, said: ContentHeaders) -> tuple[str, Config]:
    """Return the job type of an upload and its configuration.

    Raises:
        Problem: 415, it isn't known how the file is written; or 422.

    """
    kind = said.content_type
    suffix = _suffix(query.filename)
    form = BY_TYPE.get(kind)
    if form is None or (kind == "application/json" and FORMAT_SUFFIXES.get(suffix) == "json_array"):
        form = FORMAT_SUFFIXES.get(suffix)
    if form is None:
        known = "text/csv or application/x-ndjson"
        detail = f"the content type says {kind}: it has to be {known}, or `filename` has to end with .csv, .ndjson, …"
        raise ApiProblem(415, "wrong_content_type", detail, headers={"Accept-Post": "text/csv, application/x-ndjson"})
    values: dict[str, Any] = {
        "stream": stream,
        "format": form,
        "timestamp_format": FORMATS,
        "on_error": query.errors_are("quarantine"),
        "lane": query.lane or "backfill",
        "filename": query.filename.replace("\\", "/").rpartition("/")[2],
        "timestamp_field": query.timestamp_field,
        "append": query.appended(),
        "encoding": said.charset or "utf-8",
        "compression": said.packed or "auto",
    }
    if form == "csv":
        values |= _csv(query, tabs=kind == TABS or suffix == ".tsv")
    try:
        return "bulk_csv" if form == "csv" else "bulk_json", Config.model_validate(values)
    except ValidationError as error:
        raise invalid([_in_query(each) for each in field_errors(error)]) from error


def _csv(query: BulkQuery, *, tabs: bool) -> dict[str, Any]:
    delimiter = "\t" if query.delimiter in {"tab", "\\t"} or (tabs and not query.delimiter) else query.delimiter
    fields = query.headers.split(",") if query.headers else None
    return {"delimiter": delimiter, "fields": fields, "header_row": fields is None}


def _suffix(filename: str) -> str:
    """Return the ending that says how a file is written, behind the one that says how it is packed."""
    name = filename.lower()
    for packed in SUFFIXES:
        name = name.removesuffix(packed)
    return f".{name.rpartition('.')[2]}"


def _in_query(error: FieldError) -> FieldError:
    """Return an error under the name that the field has in the request."""
    top = f"/{error.pointer.split('/')[1]}" if error.pointer else ""
    if not top:  # of several fields together: the message names them
        top = next((each for each in QUERY_OF if f"`{each[1:]}`" in error.message), "")
    return FieldError(QUERY_OF.get(top, error.pointer), error.code, error.message.replace("`fields`", "`headers`"))

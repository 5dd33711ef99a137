"""Options and responses of `/collect`, shared by single messages and file uploads."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode
from uuid import UUID, uuid4, uuid5

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from app.api.http.headers import idempotency_key
from app.api.http.problems import ApiProblem, FieldError, invalid
from app.api.routing.responses import View, respond
from app.api.routing.routes import STREAM_PATTERN, Query, RequestContext
from app.sentences.sentence import sentence
from connectors.contract import LaneName, Reject
from connectors.providers.collect import MAX_APPENDED_BYTES, PROVIDER
from connectors.text.formats.records import OnError
from projections.mapping.numbers import is_inexact
from schemas.json_values import MAX_JSON_DEPTH, is_too_deep, json_levels

UPLOAD_ID_NAMESPACE: Final = UUID("3f1b9a52-6c0e-5c38-9d0a-8a4f5f7c21de")  # of ids from idempotency keys
FORMATS: Final = ("epoch", "auto")  # of timestamps: numbers by magnitude, strings as ISO 8601
_STREAM: Final = re.compile(STREAM_PATTERN, re.ASCII)


class CollectQuery(Query):
    """Options of ingestion."""

    timestamp_field: Annotated[
        str | None, Field(min_length=1, max_length=200, description="field that holds the event time")
    ] = None
    dryrun: Annotated[bool, Field(description="validate and count without storing")] = False
    append: Annotated[
        str | None,
        Field(
            max_length=MAX_APPENDED_BYTES, description="JSON object of default fields, added to messages that lack them"
        ),
    ] = None
    droperrors: Annotated[bool, Field(description="same as `on_error=drop`")] = False
    on_error: Annotated[
        OnError | None, Field(description="handling of invalid records: abort, drop, or quarantine as a dead letter")
    ] = None
    lane: Annotated[LaneName | None, Field(description="`realtime` for current messages, `backfill` for history")] = (
        None
    )

    def error_policy(self, default: OnError) -> OnError:
        """Return the handling of invalid records.

        Raises:
            ApiProblem: 422, `droperrors` contradicts `on_error`.

        """
        if self.droperrors and self.on_error not in {None, "drop"}:
            message = f"`droperrors` means `on_error=drop`, which contradicts `on_error={self.on_error}`"
            raise invalid([FieldError("?droperrors", "contradiction", message)])
        return "drop" if self.droperrors else self.on_error or default

    def appended(self) -> dict[str, Any]:
        """Return the fields to append.

        Raises:
            ApiProblem: 422, not a JSON object, too large, nested too deep, or with a number that would be rounded.

        """
        if self.append is None:
            return {}
        try:
            fields = orjson.loads(self.append)
        except orjson.JSONDecodeError:
            fields = None
        if not isinstance(fields, dict):
            raise _bad_append("expected a JSON object")
        if len(self.append.encode()) > MAX_APPENDED_BYTES:
            raise _bad_append(f"limited to {MAX_APPENDED_BYTES:,} bytes")
        if is_too_deep(fields):
            raise _bad_append(f"nested deeper than {MAX_JSON_DEPTH} levels")
        if any(is_inexact(value) for level in json_levels(fields) for value in level):
            raise _bad_append("integers of more than 64 bits would be rounded; append them as text")
        return fields


def _bad_append(message: str) -> ApiProblem:
    return invalid([FieldError("?append", "bad_append", message)])


class RejectedView(View):
    """One rejected record; `reason` is the sentence of `code` and `params`."""

    position: str
    code: str
    params: dict[str, Any]
    reason: str


class CollectedView(BaseModel):
    """The counts of the records of an upload."""

    upload_id: str | None = Field(description="null for a dry run")
    message_count: int = Field(description="messages stored; of a dry run: valid messages")
    rejected_count: int
    duplicate_count: int = Field(description="messages of `message_count` that an earlier request has stored")
    dryrun: bool
    dead_letters: str | None = Field(description="path of the list of dead letters")
    first_rejects: list[RejectedView] = Field(description="the first ten of this request")
    columns: list[str] | None = Field(default=None, description="the columns of a CSV file")
    duplicate_of: str | None = Field(
        default=None, description="an earlier upload of the same file to the stream, whose messages count, too"
    )


def collected_view(
    upload_id: str | None, message_count: int, rejected_count: int, duplicate_count: int, first: Sequence[Reject]
) -> CollectedView:
    """Return the counts of an upload; of a dry run without an id."""
    return CollectedView(
        upload_id=upload_id,
        message_count=message_count,
        rejected_count=rejected_count,
        duplicate_count=duplicate_count,
        dryrun=upload_id is None,
        dead_letters=None,
        first_rejects=[_rejected_view(reject) for reject in first],
    )


def _rejected_view(reject: Reject) -> RejectedView:
    return RejectedView.of(reject, reason=sentence(reject.code, reject.params, PROVIDER))


def respond_replayed(call: RequestContext[Any, Any], view: CollectedView) -> web.Response:
    """Return the response to a repeated request."""
    message = "duplicate request; replaying the original response"
    return respond(call, view, message=message, headers={"Idempotency-Replayed": "true"})


def dead_letters_path(upload_id: str, since: datetime) -> str:
    """Return the path of the list of an upload's dead letters."""
    moment = since.replace(microsecond=0, tzinfo=None).isoformat() + "Z"
    return "/v2/dead-letters?" + urlencode({"upload_id": upload_id, "since": moment})


def stream_in_path(call: RequestContext[Any, Any]) -> str:
    """Return the stream in the path.

    Raises:
        ApiProblem: 422, it is not a valid name.

    """
    name = call.path("stream")
    if not _STREAM.fullmatch(name):
        message = "expected 1 to 100 letters, digits, `_`, `.` and `-`, beginning with a letter or a digit"
        raise invalid([FieldError("stream", "bad_stream", message)])
    return name


def upload_id_of(call: RequestContext[Any, Any], route: Literal["json", "bulk"]) -> tuple[str, bool]:
    """Return the id of an upload, and whether a repeated request has the same id."""
    key = idempotency_key(call.request.headers)
    if key is None:
        return str(uuid4()), False
    return str(uuid5(UPLOAD_ID_NAMESPACE, f"{route}\n{call.caller.token_id}\n{key}")), True

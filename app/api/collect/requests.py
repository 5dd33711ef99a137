"""What `/collect` is asked, and what it answers: shared by single messages and files. Takes nothing by itself."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode
from uuid import UUID, uuid4, uuid5

import orjson
from pydantic import BaseModel, Field

from app.api.http.headers import idempotency_key
from app.api.http.problems import ApiProblem, FieldError, invalid
from app.api.routing.routes import STREAM_PATTERN, Query, RequestContext
from connectors.contract import Lane, Reject
from connectors.providers.collect import MAX_APPENDED_BYTES
from connectors.text.formats.records import OnError
from schemas.json_depth import MAX_JSON_DEPTH, is_too_deep

UPLOADS: Final = UUID("3f1b9a52-6c0e-5c38-9d0a-8a4f5f7c21de")  # names upload ids that come from idempotency keys
FORMATS: Final = ("epoch", "auto")  # of timestamps: numbers by their size, texts as ISO 8601
_STREAM: Final = re.compile(STREAM_PATTERN, re.ASCII)


class CollectQuery(Query):
    """How messages are to be taken."""

    timestamp_field: Annotated[
        str | None, Field(min_length=1, max_length=200, description="the field that says when a message happened")
    ] = None
    dryrun: Annotated[bool, Field(description="check and count, and keep nothing")] = False
    append: Annotated[
        str | None,
        Field(
            max_length=MAX_APPENDED_BYTES, description="a JSON object: fields that a message gets, unless it has them"
        ),
    ] = None
    droperrors: Annotated[bool, Field(description="another name of `on_error=drop`")] = False
    on_error: Annotated[
        OnError | None, Field(description="on a bad record: stop, leave it out, or keep it as a dead letter")
    ] = None
    lane: Annotated[Lane | None, Field(description="`realtime` for what has just happened, `backfill` for history")] = (
        None
    )

    def errors_are(self, default: OnError) -> OnError:
        """Return what is done with a bad record.

        Raises:
            Problem: 422, `droperrors` and `on_error` contradict each other.

        """
        if self.droperrors and self.on_error not in {None, "drop"}:
            message = f"`droperrors` is `on_error=drop`, and `on_error={self.on_error}` is asked for as well"
            raise invalid([FieldError("?droperrors", "contradiction", message)])
        return "drop" if self.droperrors else self.on_error or default

    def appended(self) -> dict[str, Any]:
        """Return the fields to append.

        Raises:
            Problem: 422, they are no JSON object, or too much of one.

        """
        if self.append is None:
            return {}
        try:
            found = orjson.loads(self.append)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise _bad_append("a JSON object is needed")
        if len(self.append.encode()) > MAX_APPENDED_BYTES:
            raise _bad_append(f"the fields to append have at most {MAX_APPENDED_BYTES:,} bytes as JSON")
        if is_too_deep(found):
            raise _bad_append(f"it is nested over {MAX_JSON_DEPTH} levels deep")
        return found


def _bad_append(message: str) -> ApiProblem:
    return invalid([FieldError("?append", "bad_append", message)])


class RejectedView(BaseModel):
    """One record that could not be taken."""

    position: str
    code: str
    reason: str


class CollectedView(BaseModel):
    """What became of the records that were sent."""

    upload_id: str | None = Field(description="null when nothing was kept: a dry run")
    message_count: int = Field(description="messages that are kept; of a dry run: that would be")
    rejected_count: int
    duplicate_count: int = Field(description="of `message_count`, how many an earlier request brought")
    dryrun: bool
    rejects: str | None = Field(description="where the dead letters are listed")
    first_rejects: list[RejectedView] = Field(description="the first ten of this request")


def collected_view(
    upload_id: str | None, message_count: int, rejected_count: int, duplicate_count: int, first: Sequence[Reject]
) -> CollectedView:
    """Return what became of the records of an upload; without an id, of a dry run."""
    return CollectedView(
        upload_id=upload_id,
        message_count=message_count,
        rejected_count=rejected_count,
        duplicate_count=duplicate_count,
        dryrun=upload_id is None,
        rejects=None,
        first_rejects=[RejectedView(position=each.position, code=each.code, reason=each.reason) for each in first],
    )


def listing(upload_id: str, since: datetime) -> str:
    """Return where the dead letters of an upload are listed."""
    moment = since.replace(microsecond=0, tzinfo=None).isoformat() + "Z"
    return "/v2/dead-letters?" + urlencode({"upload_id": upload_id, "since": moment})


def stream_of(call: RequestContext[Any, Any]) -> str:
    """Return the stream in the path.

    Raises:
        Problem: 422, none can be called that.

    """
    name = call.path("stream")
    if not _STREAM.fullmatch(name):
        message = "a stream's name has 1 to 100 letters, digits, `_`, `.` and `-`, and begins with a letter or a digit"
        raise invalid([FieldError("stream", "bad_stream", message)])
    return name


def upload_id_of(call: RequestContext[Any, Any], route: Literal["json", "bulk"]) -> tuple[str, bool]:
    """Return the id of an upload, and whether a request that is repeated has the same."""
    key = idempotency_key(call.request.headers)
    if key is None:
        return str(uuid4()), False
    return str(uuid5(UPLOADS, f"{route}\n{call.caller.token_id}\n{key}")), True

"""Dead letters over HTTP: `messages.rejected` read from a moment on, or its end; bounded in time and in number."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Final

from aiohttp import web
from aiokafka.errors import KafkaError
from pydantic import BaseModel, Field, TypeAdapter

from app.api.http.param_types import Limit, PageCursor, Text, TimestampText
from app.api.http.problems import ApiProblem, FieldError, invalid
from app.api.routing.responses import respond_page
from app.api.routing.routes import Query, RequestContext, ResponseSpec, Routes
from app.kafka.partition_reader import LogRecord, PartitionReader
from app.records.partitioning import partition_of
from schemas.messages import MessageRejected
from schemas.topics import MESSAGES_REJECTED
from schemas.wire.catalog import UnknownSchemaError
from schemas.wire.codec import MalformedRecordError, decode

READ_SECONDS: Final = 5.0
TAIL: Final = 1_000  # records of each partition that are looked at when nothing says from where on

Offset = Annotated[int, Field(ge=-TAIL, le=2**62)]
Places = dict[int, int | datetime]  # where to go on, by partition
_CURSOR: Final[TypeAdapter[Places]] = TypeAdapter(dict[Annotated[int, Field(ge=0, le=255)], Offset | TimestampText])


class DeadLetterQuery(Query):
    """Which dead letters. `upload_id` and `job_id` are the same: an upload of a file is a job."""

    upload_id: Text = ""
    job_id: Text = ""
    stream: Text = ""
    since: Annotated[
        TimestampText | None, Field(description="by default: since the job was made, or the last thousand")
    ] = None
    limit: Limit = 50
    cursor: PageCursor | None = None


class DeadLetterView(BaseModel):
    """One dead letter; `excerpt` is the beginning of the record as it was found."""

    rejected_at: datetime
    code: str
    reason: str
    source: str
    position: str
    stream: str
    job_id: str
    run: int
    topic: str
    partition: int | None
    offset: int | None
    excerpt: str


ROUTES: Final = Routes("collect", "/v2/dead-letters")


@ROUTES(
    "GET",
    "",
    "List dead letters: rejected records with the reason and an excerpt",
    ResponseSpec("a page of dead letters", list[DeadLetterView], headers=("Link",)),
    role="operator",
)
async def list_dead_letters(call: RequestContext[DeadLetterQuery, None]) -> web.Response:
    """Return a page of dead letters, the oldest first in each partition; without a next page there are no more."""
    owner = call.query.upload_id or call.query.job_id
    partitions = call.api.settings.partitions
    if call.query.job_id not in {"", owner}:
        raise invalid([FieldError("?job_id", "contradiction", "`upload_id` and `job_id` name different uploads")])
    places = _places(call) or await _start(call, owner)
    found: list[DeadLetterView] = []
    deadline = asyncio.get_running_loop().time() + READ_SECONDS
    try:
        for partition in sorted(each for each in places if each < partitions):
            places = await _read(call, owner, partition, places, found, deadline)
            if partition in places:
                break
    except (KafkaError, OSError) as error:
        raise ApiProblem(503, "kafka_unreachable", "Kafka can't be asked now", headers={"Retry-After": "5"}) from error
    return respond_page(call, found, _cursor(places) if places else None)


async def _start(call: RequestContext[DeadLetterQuery, None], owner: str) -> Places:
    """Return where to begin: the dead letters of an upload are all in the partition of its id."""
    since: int | datetime = call.query.since or -TAIL
    if owner and call.query.since is None:
        job = await call.api.store.jobs.get(owner)
        since = job.created_at if job else since
    partitions = call.api.settings.partitions
    return {partition_of(owner, partitions): since} if owner else dict.fromkeys(range(partitions), since)


async def _read(
    call: RequestContext[DeadLetterQuery, None],
    owner: str,
    partition: int,
    places: Places,
    found: list[DeadLetterView],
    deadline: float,
) -> Places:
    """Add what fits of a partition, and return where to go on: without the partition, when it has no more."""
    rest = {number: place for number, place in places.items() if number != partition}
    async with PartitionReader(call.api.kafka, MESSAGES_REJECTED.name, partition, places[partition]) as log:
        async for record in log.records():
            if len(found) >= call.query.limit or asyncio.get_running_loop().time() > deadline:
                return rest | {partition: record.offset}
            found += _wanted(record, owner, call.query.stream)
    return rest


def _wanted(record: LogRecord, owner: str, stream: str) -> Iterator[DeadLetterView]:
    if owner and record.key != owner.encode():
        return
    try:
        word = decode(record.value)
    except (MalformedRecordError, UnknownSchemaError):
        return  # not one of ours
    if isinstance(word, MessageRejected) and word.job_id.startswith(owner) and stream in {"", word.stream}:
        yield _view(word)


def _view(letter: MessageRejected) -> DeadLetterView:
    values: dict[str, Any] = {name: getattr(letter, name) for name in DeadLetterView.model_fields}
    return DeadLetterView(**values | {"excerpt": letter.excerpt.decode("utf-8", "replace")})


def _cursor(places: Places) -> str:
    return _CURSOR.dump_json(places).hex()


def _places(call: RequestContext[DeadLetterQuery, None]) -> Places:
    if call.query.cursor is None:
        return {}
    try:
        return _CURSOR.validate_json(bytes.fromhex(call.query.cursor))
    except ValueError as error:
        message = "take `next_cursor` as it was given, with the same filter"
        raise invalid([FieldError("?cursor", "bad_cursor", message)]) from error

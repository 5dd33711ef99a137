"""Dead letters over HTTP: `messages.rejected`, read from a time or from its end, bounded in time and number."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Final

from aiohttp import web
from aiokafka.errors import KafkaError
from pydantic import Field, TypeAdapter

from app.api.http.param_types import Limit, PageCursor, Text, TimestampText
from app.api.http.problems import FieldError, invalid, kafka_unreachable
from app.api.routing.responses import View, respond_page
from app.api.routing.routes import Query, RequestContext, ResponseSpec, Routes
from app.kafka.partition_reader import LogRecord, PartitionReader
from app.records.partitioning import partition_of
from app.sentences.sentence import letter_sentence
from schemas.messages import MessageRejected
from schemas.topics import MESSAGES_REJECTED
from schemas.wire.catalog import UnreadableRecordError
from schemas.wire.codec import decode

READ_TIMEOUT_SECONDS: Final = 5.0
TAIL_RECORDS: Final = 1_000  # of each partition, when the request has no start

Offset = Annotated[int, Field(ge=-TAIL_RECORDS, le=2**62)]
LetterPositions = dict[int, int | datetime]  # offset or time to resume at, by partition
_CURSOR: Final[TypeAdapter[LetterPositions]] = TypeAdapter(
    dict[Annotated[int, Field(ge=0, le=255)], Offset | TimestampText]
)


class DeadLetterQuery(Query):
    """Filter of dead letters. `upload_id` and `job_id` mean the same: a file upload is a job."""

    upload_id: Annotated[Text, Field(description="only dead letters of this upload")] = ""
    job_id: Annotated[Text, Field(description="only dead letters of this job")] = ""
    stream: Annotated[Text, Field(description="only dead letters of this stream")] = ""
    since: Annotated[
        TimestampText | None, Field(description="default: since the job was created, or the last thousand")
    ] = None
    limit: Limit = 50
    cursor: PageCursor | None = None


class DeadLetterView(View):
    """One dead letter: `reason` is the sentence of `code` and `params`, `excerpt` the start of the original record."""

    rejected_at: datetime
    code: str
    params: dict[str, Any]
    reason: str
    detail: Annotated[str, Field(description="the message of a provider or a library, verbatim")]
    source: Annotated[str, Field(description="file, or topic and partition")]
    position: Annotated[str, Field(description="of the record in the source")]
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
    """Return a page of dead letters, oldest first in each partition."""
    owner = call.query.upload_id or call.query.job_id
    partitions = call.api.settings.partitions
    if call.query.job_id not in {"", owner}:
        raise invalid([FieldError("?job_id", "contradiction", "`upload_id` and `job_id` name different uploads")])
    positions = _positions(call) or await _start(call, owner)
    letters: list[DeadLetterView] = []
    deadline = asyncio.get_running_loop().time() + READ_TIMEOUT_SECONDS
    try:
        for partition in sorted(number for number in positions if number < partitions):
            positions = await _read(call, owner, partition, positions, letters, deadline)
            if partition in positions:
                break
    except (KafkaError, OSError) as error:
        raise kafka_unreachable("the dead letters") from error
    return respond_page(call, letters, _cursor(positions) if positions else None)


async def _start(call: RequestContext[DeadLetterQuery, None], owner: str) -> LetterPositions:
    """Return the start positions: all dead letters of an upload are in the partition of its id."""
    since: int | datetime = call.query.since or -TAIL_RECORDS
    if owner and call.query.since is None:
        job = await call.api.store.jobs.get(owner)
        since = job.created_at if job else since
    partitions = call.api.settings.partitions
    return {partition_of(owner, partitions): since} if owner else dict.fromkeys(range(partitions), since)


async def _read(
    call: RequestContext[DeadLetterQuery, None],
    owner: str,
    partition: int,
    positions: LetterPositions,
    letters: list[DeadLetterView],
    deadline: float,
) -> LetterPositions:
    """Add letters of a partition up to the limit; return the positions to resume at, without an exhausted partition."""
    rest = {number: position for number, position in positions.items() if number != partition}
    async with PartitionReader(call.api.kafka, MESSAGES_REJECTED.name, partition, positions[partition]) as log:
        async for record in log.records():
            if len(letters) >= call.query.limit or asyncio.get_running_loop().time() > deadline:
                return rest | {partition: record.offset}
            letters += _matching(record, owner, call.query.stream)
    return rest


def _matching(record: LogRecord, owner: str, stream: str) -> Iterator[DeadLetterView]:
    if owner and record.key != owner.encode():
        return
    try:
        letter = decode(record.value)
    except UnreadableRecordError:
        return  # not a record of Entrepot
    if isinstance(letter, MessageRejected) and letter.job_id.startswith(owner) and stream in {"", letter.stream}:
        yield _view(letter)


def _view(letter: MessageRejected) -> DeadLetterView:
    reason = letter_sentence(letter.code, letter.params, letter.provider)
    return DeadLetterView.of(letter, reason=reason, excerpt=letter.excerpt.decode("utf-8", "replace"))


def _cursor(positions: LetterPositions) -> str:
    return _CURSOR.dump_json(positions).hex()


def _positions(call: RequestContext[DeadLetterQuery, None]) -> LetterPositions:
    if call.query.cursor is None:
        return {}
    try:
        return _CURSOR.validate_json(bytes.fromhex(call.query.cursor))
    except ValueError as error:
        message = "expected the `next_cursor` of the previous page, with the same filter"
        raise invalid([FieldError("?cursor", "bad_cursor", message)]) from error

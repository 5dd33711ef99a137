"""The `lane` roles, real time and backfill: check every raw message, and keep what is known of each stream.

Messages that can't be read become dead letters with their offset; the partition goes on. It maps nothing yet.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from app.dead_letters import dead_letter
from app.safe_faust.app import SafeApp, make_app
from app.safe_faust.batching import Event, ack, batches
from app.safe_faust.publishing import Outgoing, publish
from app.safe_faust.worker import run_worker
from app.settings import Settings
from app.stamp import Clock, utc_now
from app.store.questions import StreamDelta
from app.store.read_store import ReadStore
from projections.metrics import EPOCH
from schemas.catalog import UnknownSchemaError
from schemas.messages import BadBatchError, MessageBatch, check_batch
from schemas.stream_names import STREAM_NAME, is_stream_name
from schemas.topics import LANES, Topic
from schemas.wire import MAGIC, MalformedRecordError, decode

APP_ID: Final = "entrepot.lane"
DEFAULT_STREAM: Final = "default"
BUFFER_RECORDS: Final = 64  # packed records are a megabyte each

_log = logging.getLogger(__name__)


class UnreadableMessageError(ValueError):
    """The record is no batch and no JSON object. The message says what was found."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What one record of `messages.*` brought."""

    stream: str
    count: int
    last_message_at: datetime
    arrived_at: datetime


def arrival(event: Event) -> Arrival:
    """Check one record and say what it brought.

    Raises:
        UnreadableMessageError, BadBatchError, MalformedRecordError, UnknownSchemaError: it is a dead letter.

    """
    value = event.value or b""
    if value[:1] == bytes([MAGIC]):
        return _packed(decode(value))
    return _single(value, event)


def _packed(word: object) -> Arrival:
    if not isinstance(word, MessageBatch):
        raise UnreadableMessageError(f"a {type(word).__name__} is not a batch of messages")
    check_batch(word.stream, word.count, word.payload, word.timestamps)
    newest = max(memoryview(word.timestamps).cast("q"), default=None)
    last = word.ingested_at if newest is None else _moment(newest)
    return Arrival(word.stream, word.count, last, word.ingested_at)


def _single(value: bytes, event: Event) -> Arrival:
    try:
        message = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise UnreadableMessageError(f"the record is neither a framed batch nor JSON: {error}") from error
    if not isinstance(message, dict):
        raise UnreadableMessageError(f"a message is a JSON object, not a {type(message).__name__}")
    named = dict(event.message.headers or ()).get("stream") or b""
    stream = named.decode("utf-8", "replace") or DEFAULT_STREAM
    _check_stream(stream)
    written = _moment(round(event.message.timestamp * 1e6))
    return Arrival(stream, 1, last_message_at=written, arrived_at=written)


def _check_stream(stream: str) -> None:
    if not is_stream_name(stream):
        raise UnreadableMessageError(STREAM_NAME)


def _moment(micros: int) -> datetime:
    try:
        return EPOCH + timedelta(microseconds=micros)
    except OverflowError as error:
        raise UnreadableMessageError(f"{micros} microseconds since 1970 is not a time") from error


class Lane:
    """One lane's agent."""

    def __init__(self, app: SafeApp, name: str, store: ReadStore, clock: Clock) -> None:
        self._app = app
        self._name = name
        self._store = store
        self._clock = clock

    async def check_messages(self, stream: Any) -> None:
        """Take what has arrived, dead letters first, so that counting a record says that it was dealt with."""
        async for batch in batches(stream):
            by_partition: dict[int, list[Event]] = defaultdict(list)
            for event in batch:
                by_partition[event.message.partition].append(event)
            for partition, events in by_partition.items():
                while not await self._take(partition, events):
                    _log.warning("another worker has counted records of partition %d; counting again", partition)
            ack(batch)

    async def _take(self, partition: int, events: Sequence[Event]) -> bool:
        """Count what wasn't counted yet; False when another worker counted some of it meanwhile."""
        topic = events[0].message.topic
        done = await self._store.next_offset(topic, partition)
        seen: dict[str, StreamDelta] = {}
        letters: list[Outgoing] = []
        for event in events:
            if event.message.offset < done:
                continue
            try:
                self._add(seen, arrival(event), event)
            except (UnreadableMessageError, BadBatchError, MalformedRecordError, UnknownSchemaError) as error:
                _log.warning("%s/%d@%d: %s", topic, partition, event.message.offset, error)
                letters.append(dead_letter(event, "malformed_message", str(error), self._clock()))
        await publish(self._app, letters)
        reached = max(done, events[-1].message.offset + 1)
        return await self._store.apply_streams(topic, partition, done, reached, tuple(seen.values()))

    def _add(self, seen: dict[str, StreamDelta], brought: Arrival, event: Event) -> None:
        known = seen.get(brought.stream)
        if known is None:
            known = StreamDelta(
                stream=brought.stream,
                lane=self._name,
                count=0,
                bytes=0,
                last_message_at=brought.last_message_at,
                last_arrival_at=brought.arrived_at,
            )
        seen[brought.stream] = replace(
            known,
            count=known.count + brought.count,
            bytes=known.bytes + len(event.value or b""),
            last_message_at=max(known.last_message_at, brought.last_message_at),
            last_arrival_at=max(known.last_arrival_at, brought.arrived_at),
        )


async def run_lane(settings: Settings, name: str, clock: Clock = utc_now) -> int:
    """Run the lane `realtime` or `backfill` until it is told to stop; return the process's exit code."""
    topic: Topic = LANES[name]
    store = await ReadStore.open(settings.database())
    try:
        app_id = f"{APP_ID}.{name}"
        app = make_app(
            app_id,
            settings.bootstrap_servers,
            instance_id=f"{app_id}-{settings.worker_id}",
            data_dir=settings.data_dir / "faust",
            partitions=settings.partitions,
            buffer_records=BUFFER_RECORDS,
        )
        lane = Lane(app, name, store, clock)
        app.agent(app.topic(topic.name), name=f"check_{name}")(lane.check_messages)
        return await run_worker(app, replication_factor=settings.replication_factor)
    finally:
        await store.close()

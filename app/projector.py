"""From a micro-batch of `jobs.events` to the read store: one transaction for each partition in it."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Final, get_args

from app.dead_letters import dead_letter
from app.safe_faust.app import SafeApp
from app.safe_faust.batching import Event
from app.safe_faust.publishing import Outgoing, publish
from app.stamp import Clock
from app.store.read_store import ReadStore, Record
from schemas.catalog import UnknownSchemaError
from schemas.events import JobEvent
from schemas.wire import MalformedRecordError, decode

EVENTS: Final = get_args(JobEvent)

_log = logging.getLogger(__name__)


async def project(app: SafeApp, store: ReadStore, batch: Sequence[Event], clock: Clock) -> None:
    """Apply the events to the views; returns when they are visible. What can't be read becomes a dead letter."""
    records: dict[int, list[Record]] = defaultdict(list)
    letters: list[Outgoing] = []
    for event in batch:
        found = event.message
        try:
            word = decode(event.value or b"")
        except (MalformedRecordError, UnknownSchemaError) as error:
            _log.warning("%s/%d@%d: %s", found.topic, found.partition, found.offset, error)
            letters.append(dead_letter(event, "malformed_event", str(error), clock()))
            continue
        if isinstance(word, EVENTS):
            records[found.partition].append(Record(found.offset, word, event.value or b""))
        else:
            letters.append(dead_letter(event, "malformed_event", f"a {type(word).__name__} is not an event", clock()))
    await publish(app, letters)
    for partition, those in records.items():
        await store.apply(partition, those)

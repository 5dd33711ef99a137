"""From a micro-batch of `jobs.events` to the read store: one transaction for each partition in it."""

import logging
from collections import defaultdict
from collections.abc import Sequence

from app.clock import Clock
from app.kafka.producer_record import ProducerRecord
from app.kafka.safe_faust.app import SafeApp
from app.kafka.safe_faust.batching import Event
from app.kafka.safe_faust.publishing import publish
from app.records.dead_letters import dead_letter
from app.sentences.sentence import sentence_of
from app.store.models import EventRecord
from app.store.read_store import ReadStore
from projections.jobs.event_checks import UnreadableEventError, read_event

_log = logging.getLogger(__name__)


async def project(app: SafeApp, store: ReadStore, batch: Sequence[Event], clock: Clock) -> None:
    """Apply the events to the views; returns when they are visible. What can't be read becomes a dead letter."""
    records: dict[int, list[EventRecord]] = defaultdict(list)
    letters: list[ProducerRecord] = []
    for event in batch:
        found = event.message
        try:
            told = read_event(event.value)
        except UnreadableEventError as error:
            _log.warning("%s/%d@%d: %s", found.topic, found.partition, found.offset, sentence_of(error))
            letters.append(dead_letter(event, "malformed_event", error, clock()))
        else:
            records[found.partition].append(EventRecord(found.offset, told, event.value or b""))
    await publish(app, letters)
    for partition, those in records.items():
        await store.views.apply(partition, those)

"""Write micro-batches of `jobs.events` to the read store: one transaction for each partition."""

import logging
from collections import defaultdict
from collections.abc import Sequence

from app.kafka.producer_record import ProducerRecord
from app.kafka.safe_faust.app import SafeApp
from app.kafka.safe_faust.batching import AgentEvent
from app.kafka.safe_faust.publishing import publish
from app.process import Clock
from app.records.dead_letters import dead_letter
from app.sentences.sentence import sentence_of
from app.store.models import EventRecord
from app.store.read_store import ReadStore
from projections.jobs.event_checks import UnreadableEventError, read_event

_log = logging.getLogger(__name__)


async def project(app: SafeApp, store: ReadStore, batch: Sequence[AgentEvent], clock: Clock) -> None:
    """Apply the events to the views; return once they are visible. Unreadable records become dead letters."""
    records: dict[int, list[EventRecord]] = defaultdict(list)
    letters: list[ProducerRecord] = []
    for event in batch:
        message = event.message
        try:
            decoded = read_event(event.value)
        except UnreadableEventError as error:
            _log.warning("%s/%d@%d: %s", message.topic, message.partition, message.offset, sentence_of(error))
            letters.append(dead_letter(event, "malformed_event", error, clock()))
        else:
            records[message.partition].append(EventRecord(message.offset, decoded, event.value or b""))
    await publish(app, letters)
    for partition, events in records.items():
        await store.views.apply(partition, events)

"""Control restores definitions by folding their events, and publishes before it acknowledges."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from aiokafka.errors import KafkaError

from app.control.definitions import DefinitionsAgent
from app.kafka.clients import started
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord, send
from app.kafka.safe_faust.batching import FaustMessage
from app.records.commands import EXIT_NEWER_RULES, NewerRulesError
from projections.jobs.event_checks import read_definition_event
from schemas.definitions import PARTITION, DefinitionCommand, DefinitionEvent
from schemas.messages import MessageRejected
from schemas.topics import DEFINITIONS_COMMANDS, DEFINITIONS_EVENTS, MESSAGES_REJECTED
from schemas.wire.codec import decode, encode
from tests.unit.projections.definitions.scenario import START, apply, draft, identity, mapping

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
OWNED = frozenset({(DEFINITIONS_COMMANDS.name, PARTITION)})


@dataclass
class Position:
    topic: str
    partition: int
    offset: int
    timestamp: float = 0.0
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass
class QueuedCommand:
    """A record of `definitions.commands`, as Faust hands it to an agent."""

    key: bytes | None
    value: bytes | None
    message: FaustMessage
    acked: bool = field(default=False)

    def ack(self) -> bool:
        self.acked = True
        return True


def queued(*commands: DefinitionCommand, first: int = 0) -> list[QueuedCommand]:
    batch = []
    for offset, command in enumerate(commands, first):
        stamped = replace(command, command_id=f"command-{offset}", issued_at=START)
        position = Position(DEFINITIONS_COMMANDS.name, PARTITION, offset)
        batch.append(QueuedCommand(command.definition_id.encode(), encode(stamped), position))
    return batch


class Control:
    """An agent on a cluster in memory; another one on the same cluster is its successor."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.cluster = cluster
        self.agent = DefinitionsAgent(cluster, self._publish, lambda: NOW)

    async def _publish(self, records: Iterable[ProducerRecord]) -> None:
        producer = self.cluster.producer(compression=None, linger_ms=0, request_timeout_ms=1_000)
        async with started(producer):
            await send(producer, records)

    @property
    def events(self) -> list[DefinitionEvent]:
        records = self.cluster.records(DEFINITIONS_EVENTS.name, PARTITION)
        return [read_definition_event(record.value) for record in records]


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster({DEFINITIONS_COMMANDS.name: 1, DEFINITIONS_EVENTS.name: 1, MESSAGES_REJECTED.name: 1})


COMMANDS = (
    draft("identity", identity()),
    apply("identity"),
    draft(body=mapping(seen="count")),
    apply(),
    draft(body=mapping(seen="max")),
    apply(version=2),
)


@pytest.mark.parametrize("published", range(len(COMMANDS) + 1))
async def test_a_successor_publishes_what_is_missing_and_repeats_nothing(
    cluster: MemoryCluster, published: int
) -> None:
    first = Control(cluster)
    await first.agent.on_assigned(OWNED)
    batch = queued(*COMMANDS)
    await first.agent.handle_batch(batch[:published])
    successor = Control(cluster)
    await successor.agent.on_assigned(OWNED)
    await successor.agent.handle_batch(batch)
    assert [type(event).__name__ for event in successor.events] == ["DefinitionDrafted", "DefinitionApplied"] * 3
    assert [event.command_offset for event in successor.events] == list(range(len(COMMANDS)))
    assert all(command.acked for command in batch)


async def test_commands_are_acknowledged_once_the_broker_has_acked_their_events(cluster: MemoryCluster) -> None:
    control = Control(cluster)
    await control.agent.on_assigned(OWNED)
    batch = queued(*COMMANDS[:2])
    cluster.withhold_acks()
    handling = asyncio.create_task(control.agent.handle_batch(batch))
    async with asyncio.timeout(10):
        while len(control.events) < 2:
            await asyncio.sleep(0)
    assert not any(command.acked for command in batch)
    cluster.release_acks()
    await handling
    assert all(command.acked for command in batch)


async def test_after_a_failed_write_the_batch_is_handled_again(cluster: MemoryCluster) -> None:
    control = Control(cluster)
    await control.agent.on_assigned(OWNED)
    batch = queued(*COMMANDS[:2])
    cluster.set_available(available=False)
    with pytest.raises(KafkaError):
        await control.agent.handle_batch(batch)
    assert not any(command.acked for command in batch)
    cluster.set_available(available=True)
    await control.agent.handle_batch(batch)
    assert len(control.events) == 2


async def test_without_the_partition_nothing_is_folded(cluster: MemoryCluster) -> None:
    control = Control(cluster)
    await control.agent.on_assigned(OWNED)
    await control.agent.handle_batch(queued(*COMMANDS[:2]))
    await control.agent.on_assigned(frozenset())
    await control.agent.handle_batch(queued(*COMMANDS[:2]))
    assert len(control.events) == 4


async def test_an_unreadable_command_becomes_a_dead_letter(cluster: MemoryCluster) -> None:
    control = Control(cluster)
    await control.agent.on_assigned(OWNED)
    stray, good = queued(COMMANDS[0], COMMANDS[0])
    stray.value = b"garbage"
    await control.agent.handle_batch([stray, good])
    (letter,) = [decode(record.value or b"") for record in cluster.records(MESSAGES_REJECTED.name)]
    assert isinstance(letter, MessageRejected)
    assert (letter.code, letter.topic, letter.offset) == ("malformed_command", DEFINITIONS_COMMANDS.name, 0)
    assert len(control.events) == 1
    assert stray.acked


async def test_a_command_under_newer_rules_stops_the_agent_before_anything_is_published(
    cluster: MemoryCluster,
) -> None:
    control = Control(cluster)
    await control.agent.on_assigned(OWNED)
    batch = queued(COMMANDS[0], replace(COMMANDS[1], rules=2))
    with pytest.raises(NewerRulesError, match="upgrade it") as stop:
        await control.agent.handle_batch(batch)
    assert stop.value.exit_code == EXIT_NEWER_RULES
    assert control.events == []
    assert not any(command.acked for command in batch), "the offset isn't committed"

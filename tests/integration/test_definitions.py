"""Readers get the current rules and those at an offset, and the same ones after every restart."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from app.control.verify import audit
from app.definitions.rules import RulesReader
from app.definitions.tail import DefinitionsTail, NoSuchOffsetError
from app.supervisor.broker.server import Broker
from projections.definitions.rules import NO_RULES, Rules, key_hash
from schemas.definitions import (
    ApplyDefinition,
    CommandEnvelope,
    DefinitionApplied,
    DefinitionRefused,
    DraftDefinition,
    ForgetPerson,
)
from schemas.messages import MessageRejected
from schemas.wire.codec import decode, encode
from tests.integration.support.service import Service, service

FLIGHTS, IDENTITY = "mapping:flights", "identity"
LONG_AGO = datetime.now(UTC) - timedelta(days=1)


def mapping(merge: str) -> str:
    attribute = {"name": "origin", "field": "origin", "type": "string", "merge": merge}
    identities = [{"field": "tailnum", "kind": "tail"}]
    return json.dumps({"identities": identities, "attributes": [attribute], "timestamp": None})


def identity() -> str:
    return json.dumps({"kinds": [{"kind": "tail", "rank": 0, "title": "Tail number"}], "max_identities": 1000})


async def send(running: Service, command: type[CommandEnvelope], definition_id: str, **fields: Any) -> int:
    """Write a command as the API would, and return its offset."""
    record: Any = command(
        command_id=str(uuid4()), definition_id=definition_id, issued_at=datetime.now(UTC), issued_by="user:test",
        **fields,
    )  # fmt: skip
    assert running.producer
    sent = await running.producer.send_and_wait(
        "definitions.commands", encode(record), key=definition_id.encode(), partition=0
    )
    return int(sent.offset)


async def draft_and_apply(running: Service, definition_id: str, version: int, body: str) -> None:
    await send(running, DraftDefinition, definition_id, body=body)
    await send(running, ApplyDefinition, definition_id, version=version)


async def test_applied_rules_reach_every_reader_and_survive_kills_of_control(
    tmp_path: Path, empty_broker: Broker
) -> None:
    async with service(tmp_path, empty_broker, ("control",)) as running, asyncio.timeout(180):
        tail = DefinitionsTail(running.broker.cluster)
        reader = RulesReader(tail)
        tail.start()
        await tail.caught_up()
        try:
            assert (reader.rules, reader.rules_offset, tail.alive) == (NO_RULES, 0, True)
            await draft_and_apply(running, IDENTITY, 1, identity())
            await draft_and_apply(running, FLIGHTS, 1, mapping("latest"))
            first = await until_rules(reader, 4)
            assert first.mappings["flights"].body == mapping("latest")
            assert first.identity
            await send(running, ForgetPerson, "forgetting:1", key_hashes=(key_hash("tail:N14228"),), at=LONG_AGO)
            assert key_hash("tail:N14228") in (await until_rules(reader, 5)).forgotten

            # Control is killed twice while it works: decided events remain, and no command is decided twice.
            for version in range(2, 12):
                await draft_and_apply(running, FLIGHTS, version, mapping("first" if version % 2 else "latest"))
                if version in {4, 8}:
                    await running.kill("control")
            await running.stop_role("control")
            await running.start_role("control")
            await send(running, ApplyDefinition, FLIGHTS, version=1)
            await until_refused(running, reader)
            assert reader.rules.mappings["flights"].version == 11

            assert await reader.at(4) == first
            assert await reader.at(0) == NO_RULES
            assert await reader.at(reader.rules_offset) == reader.rules
            with pytest.raises(NoSuchOffsetError):
                await reader.at(10_000)
        finally:
            await tail.stop()
        other_tail = DefinitionsTail(running.broker.cluster)
        other = RulesReader(other_tail)
        other_tail.start()
        await other_tail.caught_up()
        assert (other.rules, other.rules_offset) == (reader.rules, reader.rules_offset)
        await other_tail.stop()
        events = (await running.committed("definitions.events"))[0]
        distinct = {event.event_id: event for event in events}
        assert [encode(distinct[event.event_id]) for event in events] == [encode(event) for event in events]
        assert sum(isinstance(event, DefinitionApplied) for event in distinct.values()) == 12
        proof = await audit(running.broker.cluster, running.settings.partitions, None, lambda *_: None)
        assert [tally.difference_count for tally in proof.values()] == [0] * len(proof)
        assert proof["definitions", 0].events - proof["definitions", 0].repeats == len(distinct)


async def until_rules(reader: RulesReader, offset: int) -> Rules:
    """Wait for the rules of `offset` or later; the caller's timeout bounds the wait."""
    while reader.rules_offset < offset:
        await asyncio.sleep(0.01)
    return reader.rules


async def until_refused(running: Service, reader: RulesReader) -> None:
    """Wait for the refusal of the last command."""
    async with running.consumer("definitions.events") as consumer:
        while not isinstance(decode((await consumer.getone()).value), DefinitionRefused):
            pass
        (end,) = [
            offset
            for partition, offset in (await consumer.end_offsets(consumer.assignment())).items()
            if partition.partition == 0
        ]
    await until_rules(reader, end)


async def test_garbage_and_misplaced_commands_become_dead_letters(tmp_path: Path, empty_broker: Broker) -> None:
    async with service(tmp_path, empty_broker, ("control",)) as running, asyncio.timeout(120):
        assert running.producer
        tail = DefinitionsTail(running.broker.cluster)
        reader = RulesReader(tail)
        tail.start()
        await tail.caught_up()
        good = DraftDefinition(
            command_id="c", definition_id=IDENTITY, issued_at=LONG_AGO, issued_by="user:test", body=identity()
        )
        strays = ((b"garbage", b"identity", 0), (encode(good), b"identity", 1), (encode(good), b"other", 0))
        for value, key, partition in strays:
            await running.producer.send_and_wait("definitions.commands", value, key=key, partition=partition)
        await running.producer.send_and_wait("definitions.events", b"garbage", partition=0)
        await draft_and_apply(running, IDENTITY, 1, identity())
        assert (await until_rules(reader, 3)).identity
        letters: list[MessageRejected] = [
            letter for partition in (await running.committed("messages.rejected")).values() for letter in partition
        ]
        assert len(letters) == 3
        assert {letter.topic for letter in letters} == {"definitions.commands"}
        await tail.stop()

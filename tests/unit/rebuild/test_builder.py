"""The builder on a cluster in memory: how it applies windows, how far it has read, and when it flushes."""

import json
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from app.lanes import chunk
from app.lanes.chunk import MappingChunk
from app.rebuild import builder as module
from app.rebuild.builder import FLUSH_INTERVAL, MAX_SKIPPED_WINDOWS, RebuildBuilder
from app.rebuild.columnar.fold import FoldedRecords, fold_records
from app.rebuild.raw_reader import size_of
from app.rebuild.tasks import RebuildTask
from projections.definitions.compiled_rules import CompiledRules
from projections.definitions.rebuild_spec import RebuildSpec, VersionedBody
from projections.definitions.rules import Forgotten, Rules, key_hash
from projections.mapping.evaluation import MappingSource, preview_messages
from projections.mapping.preview import MappingPreview
from projections.mapping.raw_messages import RawMessage
from projections.profiles.impact import settle
from projections.profiles.profile_view import profile_of
from schemas.instants import micros
from schemas.topics import LANES
from schemas.wire.codec import decode
from tests.clock import ManualMonotonic
from tests.unit.rebuild.deployment import (
    BUILDING,
    IDENTITY,
    NOON,
    PARTITIONS,
    SPEC,
    attributes,
    cluster,
    send,
    send_packed,
    visits,
)

BACKFILL = LANES["backfill"].name
REALTIME = LANES["realtime"].name
NONE_FORGOTTEN = Forgotten()


class Rig:
    """The topics, the clock, and the stores of one rebuild. `folds` tells of each folded window whether it could be."""

    def __init__(self, folder: Path) -> None:
        self.cluster = cluster()
        self.monotonic = ManualMonotonic()
        self.folder = folder
        self.folds: list[bool] = []

    @asynccontextmanager
    async def building(self, spec: RebuildSpec = SPEC) -> AsyncIterator[RebuildBuilder]:
        task = RebuildTask(BUILDING, spec, start_offset=0)
        async with RebuildBuilder(task, self.folder, self.cluster, PARTITIONS, lambda: NOON, self.monotonic) as builder:
            yield builder

    def fold(
        self, records: Sequence[Any], rules: CompiledRules, forgotten: Forgotten, partitions: int
    ) -> FoldedRecords | None:
        folded = fold_records(records, rules, forgotten, partitions)
        self.folds.append(folded is not None)
        return folded


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    rig = Rig(tmp_path / "rebuild")
    monkeypatch.setattr(module, "WAIT_MS", 1)
    monkeypatch.setattr(module, "fold_records", rig.fold)
    return rig


@pytest.fixture
def every_window_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_WINDOW_BYTES", 1)
    monkeypatch.setattr(module, "WINDOW_BYTES", 1)


@pytest.mark.usefixtures("every_window_is_large")
async def test_large_windows_are_folded_where_that_is_possible(rig: Rig) -> None:
    async with rig.building() as builder:
        await send_packed(rig.cluster, "j/1", visits(people=2, messages=5))
        await builder.read_some(NONE_FORGOTTEN)
        assert rig.folds == [True]
        assert builder.read_to[TopicPartition(BACKFILL, 0)] == 1
        await send_packed(rig.cluster, "j/2", visits(people=3))
        await builder.read_some(NONE_FORGOTTEN)
        assert rig.folds == [True, False], "as many people as messages"
        assert attributes(builder.stores, "p0@x.org") == {"city": "Graz", "messages": 6}
        assert attributes(builder.stores, "p2@x.org") == {"city": "Graz", "messages": 1}
        assert builder.take_messages() == 13
        assert builder.take_messages() == 0


async def test_small_windows_are_applied_record_by_record(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await send_packed(rig.cluster, "j/1", visits(people=2, messages=5))
    size = size_of(rig.cluster.records(BACKFILL)[0])
    monkeypatch.setattr(module, "MIN_WINDOW_BYTES", size + 1)
    async with rig.building() as builder:
        await builder.read_some(NONE_FORGOTTEN)
        assert (rig.folds, builder.take_messages()) == ([], 10)
    monkeypatch.setattr(module, "MIN_WINDOW_BYTES", size)
    async with rig.building() as builder:
        await builder.read_some(NONE_FORGOTTEN)
        assert rig.folds == [True]
        assert attributes(builder.stores, "p0@x.org")["messages"] == 5


@pytest.mark.usefixtures("every_window_is_large")
async def test_in_a_folded_window_only_the_messages_that_were_counted_before_are_left_out(rig: Rig) -> None:
    async with rig.building() as builder:
        await send_packed(rig.cluster, "j/1", visits(people=2, messages=5))
        await builder.read_some(NONE_FORGOTTEN)
        await send_packed(rig.cluster, "j/1", visits(people=2, messages=5))
        await send_packed(rig.cluster, "j/2", visits(people=2, messages=5))
        await builder.read_some(NONE_FORGOTTEN)
        assert rig.folds == [True, True]
        assert attributes(builder.stores, "p0@x.org")["messages"] == 10
        assert builder.take_messages() == 30
        assert builder.read_to[TopicPartition(BACKFILL, 0)] == 3


@pytest.mark.usefixtures("every_window_is_large")
async def test_windows_that_can_not_be_folded_are_tried_less_and_less_often(rig: Rig) -> None:
    tries = []
    async with rig.building() as builder:
        for number in range(60):
            await send(rig.cluster, visits(people=1))
            await builder.read_some(NONE_FORGOTTEN)
            tries += [number] * (len(rig.folds) - len(tries))
        assert not any(rig.folds)
        assert tries == [0, 2, 5, 10, 19, 36, 53], f"at most {MAX_SKIPPED_WINDOWS} in a row are skipped"
        for number in range(MAX_SKIPPED_WINDOWS):
            await send_packed(rig.cluster, f"j/{number}", visits(people=1, messages=5))
            await builder.read_some(NONE_FORGOTTEN)
        assert len(rig.folds) > len(tries) + 2, "after one that is folded, none is skipped"
        assert attributes(builder.stores, "p0@x.org")["messages"] == 60 + 5 * MAX_SKIPPED_WINDOWS


async def test_after_small_windows_that_can_not_be_folded_none_is_skipped(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MIN_WINDOW_BYTES", 1)
    async with rig.building() as builder:
        for _ in range(3):
            await send(rig.cluster, visits(people=1))
            await builder.read_some(NONE_FORGOTTEN)
    assert rig.folds == [False, False, False]


@pytest.mark.usefixtures("every_window_is_large")
async def test_a_person_forgotten_while_windows_are_folded_is_in_none_that_is_applied_later(rig: Rig) -> None:
    for partition in range(PARTITIONS):
        await send_packed(rig.cluster, f"j/{partition}", visits(people=2, messages=5), partition)
    async with rig.building() as builder:
        await builder.read_some(NONE_FORGOTTEN)
        await builder.read_some(NONE_FORGOTTEN.including([key_hash("email:p0@x.org")], NOON))
        assert rig.folds == [True, True, True], "the second window was folded with the first one, and again"
        assert attributes(builder.stores, "p0@x.org")["messages"] == 5
        assert attributes(builder.stores, "p1@x.org")["messages"] == 10


async def test_records_are_applied_in_several_chunks(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk, "FULL_ROWS", 1)
    await send(rig.cluster, visits(people=5))
    async with rig.building() as builder:
        await builder.read_some(NONE_FORGOTTEN)
        assert builder.take_messages() == 5
        assert builder.read_to[TopicPartition(REALTIME, 0)] == 5
        assert [attributes(builder.stores, f"p{number}@x.org")["messages"] for number in range(5)] == [1] * 5


async def test_changes_are_flushed_after_an_interval(rig: Rig) -> None:
    async with rig.building() as builder:
        await send(rig.cluster, visits(people=1))
        rig.monotonic.now += FLUSH_INTERVAL - 0.1
        await builder.read_some(NONE_FORGOTTEN)
        assert builder.stores.changes == 1
        rig.monotonic.now += 0.1
        await builder.read_some(NONE_FORGOTTEN)
        assert builder.stores.changes == 0
        await send(rig.cluster, visits(people=1))
        rig.monotonic.now += FLUSH_INTERVAL - 0.1
        await builder.read_some(NONE_FORGOTTEN)
        assert builder.stores.changes == 1, "the interval begins again with each flush"


async def test_many_changes_are_flushed_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_CHANGES", 3)
    async with rig.building() as builder:
        await send(rig.cluster, visits(people=2))
        await builder.read_some(NONE_FORGOTTEN)
        assert builder.stores.changes == 2
        await send(rig.cluster, visits(people=3))
        await builder.read_some(NONE_FORGOTTEN)
        assert builder.stores.changes == 0


async def test_changes_are_also_flushed_in_the_middle_of_a_window(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk, "FULL_ROWS", 1)  # for each of two partitions
    monkeypatch.setattr(module, "FLUSH_CHANGES", 2)
    await send(rig.cluster, visits(people=5))
    async with rig.building() as builder:
        await builder.read_some(NONE_FORGOTTEN)
        assert builder.stores.changes == 1


async def test_a_builder_resumes_at_the_offsets_of_its_stores(rig: Rig) -> None:
    await send(rig.cluster, visits(people=2))
    async with rig.building() as builder:
        await builder.read_some(NONE_FORGOTTEN)
        builder.flush()
        await send(rig.cluster, visits(people=2))
        await builder.read_some(NONE_FORGOTTEN)
    await send(rig.cluster, visits(people=2))
    async with rig.building() as builder:
        assert builder.read_to[TopicPartition(REALTIME, 0)] == 2, "what was not flushed is read again"
        await builder.read_some(NONE_FORGOTTEN)
        assert builder.take_messages() == 4
        assert attributes(builder.stores, "p0@x.org")["messages"] == 3


async def test_records_without_messages_count_as_applied(rig: Rig) -> None:
    source = TopicPartition(REALTIME, 0)
    await send(rig.cluster, visits(people=1))
    producer = rig.cluster.transactional_producer("job", timeout_ms=60_000)
    await producer.start()
    await producer.begin_transaction()
    await producer.send(REALTIME, b"{}", partition=0)
    await producer.abort_transaction()
    await producer.stop()
    async with rig.building() as builder:
        assert (await builder.position())[source] == 0
        await builder.read_some(NONE_FORGOTTEN)
        assert (await builder.position())[source] == 3, "an aborted message and the marker of its transaction"
        assert builder.read_to[source] == 1, "lanes don't count them"
        assert await builder.has_read({source: 3})
        assert not await builder.has_read({source: 4})


async def test_a_window_that_is_not_applied_yet_does_not_count(rig: Rig) -> None:
    sources = [TopicPartition(REALTIME, number) for number in range(PARTITIONS)]
    for number in range(PARTITIONS):
        await send(rig.cluster, visits(people=3), partition=number)
    async with rig.building() as builder:
        await builder.read_some(NONE_FORGOTTEN)
        position = await builder.position()
        assert [position[source] for source in sources] == [3, 0]
        assert not await builder.has_read(dict.fromkeys(sources, 3))
        await builder.read_some(NONE_FORGOTTEN)
        assert await builder.has_read(dict.fromkeys(sources, 3))


async def test_windows_wait_their_turn(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FOLDS_AHEAD", 0)
    sources = [TopicPartition(topic.name, number) for topic in LANES.values() for number in range(PARTITIONS)]
    for source in sources:
        lane = next(lane for lane, topic in LANES.items() if topic.name == source.topic)
        await send(rig.cluster, visits(people=1), lane, source.partition)
    async with rig.building() as builder:
        for applied in range(1, len(sources) + 1):
            await builder.read_some(NONE_FORGOTTEN)
            assert sum((await builder.position()).values()) == applied
        assert await builder.has_read(dict.fromkeys(sources, 1))


@pytest.mark.usefixtures("every_window_is_large")
async def test_a_builder_can_be_closed_while_windows_are_folded(rig: Rig) -> None:
    for partition in range(PARTITIONS):
        await send_packed(rig.cluster, f"j/{partition}", visits(people=2, messages=5), partition)
    async with rig.building() as builder:
        await builder.read_some(NONE_FORGOTTEN)
    assert rig.cluster.connections == 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("folding")]
    async with rig.building() as builder:
        await builder.read_some(NONE_FORGOTTEN)
        await builder.read_some(NONE_FORGOTTEN)
        assert attributes(builder.stores, "p0@x.org")["messages"] == 10


async def test_a_builder_that_can_not_connect_closes_its_stores(rig: Rig) -> None:
    rig.cluster.set_available(available=False)
    with pytest.raises(KafkaConnectionError):
        async with rig.building():
            pass
    rig.cluster.set_available(available=True)
    async with rig.building():
        pass


async def test_a_budget_is_exceeded_alike_in_previews_lanes_and_rebuilds(rig: Rig) -> None:
    splits = "coalesce(" + ", ".join(["split(text, 'x', -99999)"] * 20) + ")"
    cheap = [{"name": "city", "field": "city", "type": "string", "merge": "latest"}]
    within = [{"name": "first", "expr": "substring(text, 0, 1)", "type": "string", "merge": "latest"}]
    costly = [{"name": f"part {n}", "expr": splits, "type": "string", "merge": "latest"} for n in range(5)]
    body = {"identities": [{"field": "email", "kind": "email"}], "attributes": [*within, *costly, *cheap]}
    spec = RebuildSpec(IDENTITY, {"people": VersionedBody(1, json.dumps(body))})
    message = {"email": "p0@x.org", "city": "Graz", "text": "x" * 60_000}

    raw = RawMessage("j/1", 0, micros(NOON), micros(NOON), json.dumps(message).encode())
    (preview,) = preview_messages(MappingSource("people", spec.mappings["people"].body, IDENTITY.body), [raw], 10**6)
    assert isinstance(preview, MappingPreview)
    assert preview.attributes == {"first": "x", "city": "Graz"}
    faults = {(fault.part, fault.code) for fault in preview.faults}
    assert {code for _, code in faults} == {"too_costly"}
    assert 0 < len(faults) < 5, "one budget for all expressions of a message"

    async with rig.building(spec) as builder:
        await send_packed(rig.cluster, "j/1", [message])
        await builder.read_some(NONE_FORGOTTEN)
        assert attributes(builder.stores, "p0@x.org") == preview.attributes

    (record,) = rig.cluster.records(BACKFILL, 0)
    rules = CompiledRules(Rules(spec.identity, spec.mappings), 0)
    lane = MappingChunk("backfill", rules, NONE_FORGOTTEN, 1, NOON)
    lane.fill([record], 1)
    (node,) = settle(lane.mapped[0], {}, 1_000).values()
    profile = profile_of(node.key, node.registers, node.edges)
    assert {attribute.name: attribute.value for attribute in profile.attributes} == preview.attributes
    rejected = [decode(letter.value or b"") for letter in lane.dead_letters]
    assert {(letter.params["target"], letter.code) for letter in rejected} == faults  # type: ignore[attr-defined]  # decode returns any record

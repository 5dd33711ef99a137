"""Invalid records on `messages.*` become dead letters with code and offset, and the partition continues."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest
from aiokafka import AIOKafkaProducer

from app.api.services.evaluator_pool import EvaluatorPool
from app.definitions.rules import RulesReader
from app.definitions.tail import DefinitionsTail
from app.profiles.history import ProfileHistory
from app.profiles.lookup_client import ProfilesClient
from app.sentences.codes import SENTENCES
from app.store.read_store import ReadStore
from app.store.stream_stats import MAX_LISTED_STREAMS
from app.supervisor.broker.server import Broker
from schemas.coded import are_bounded
from schemas.json_values import MAX_JSON_DEPTH
from schemas.messages import MessageBatch, MessageRejected
from schemas.wire.codec import encode
from tests.integration.support.plane import ROLES, apply_rules, packed, profile, root, until_settled, write_packed
from tests.integration.support.service import Service, service

MEGABYTE = 2**20
MAX_MEMORY = 600 * MEGABYTE  # of each role process
IDENTITY = {
    "kinds": [{"kind": "email", "rank": 0, "title": "E-mail"}, {"kind": "id", "rank": 5, "title": "Number"}],
    "max_identities": 1_000,
}
PEOPLE = {
    "identities": [
        {"field": "email", "kind": "email"},
        {"field": "id", "kind": "id"},
        {"field": "other", "kind": "id"},
    ],
    "attributes": [
        {"name": "age", "field": "age", "type": "integer", "merge": "latest"},
        {"name": "facts", "field": "facts", "type": "json", "merge": "latest"},
        {"name": "tags", "field": "tag", "type": "string", "merge": "union"},
        {"name": "seen", "type": "integer", "merge": "count"},
    ],
    "timestamp": None,
}
ESSAYS = {
    "identities": [{"field": "email", "kind": "email"}],
    "attributes": [{"name": f"essay{n}", "field": "essay", "type": "string", "merge": "latest"} for n in range(4)],
    "timestamp": None,
}
BATCH = MessageBatch(
    batch_id="b", stream="people", source="", job_id="j", run=1, ingested_at=datetime.now(UTC), first=0, count=1,
    payload=b'{"email":"bad@x"}\n',
)  # fmt: skip

# name: (value, headers in addition to the stream, code of the dead letter)
UNREADABLE: Mapping[str, tuple[bytes | None, Mapping[str, bytes], str]] = {
    "a bomb of lists": (b"[" * 100_000 + b"]" * 100_000, {}, "invalid_json"),
    "a bomb of objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, {}, "invalid_json"),
    "1,000 levels": (b'{"email":"bad@x","a":' + b"[" * 999 + b"]" * 999 + b"}", {}, "too_deep"),
    "10^400": (b'{"email":"bad@x","age":1' + b"0" * 400 + b"}", {}, "invalid_json"),
    "1e400": (b'{"email":"bad@x","age":1e400}', {}, "invalid_json"),
    "NaN": (b'{"email":"bad@x","age":NaN}', {}, "invalid_json"),
    "-Infinity": (b'{"email":"bad@x","age":-Infinity}', {}, "invalid_json"),
    "no UTF-8": (b'{"email":"bad\xff@x"}', {}, "invalid_json"),
    "a surrogate in UTF-8": (b'{"email":"bad\xed\xa0\x80@x"}', {}, "invalid_json"),
    "half of a pair": (b'{"email":"bad\\ud800@x"}', {}, "invalid_json"),
    "no object": (b'["bad@x"]', {}, "not_an_object"),
    "nothing": (b"", {}, "invalid_json"),
    "a tombstone": (None, {}, "invalid_json"),
    "garbage": (bytes(range(256)) * 4_000, {}, "malformed_message"),
    "an unknown schema": (b"\0\xff\xff\xff\xff", {}, "malformed_message"),
    "an id of a megabyte": (b'{"email":"bad@x"}', {"message_id": b"m" * MEGABYTE}, "malformed_message"),
    "a stream of a megabyte": (b'{"email":"bad@x"}', {"stream": b"s" * MEGABYTE}, "malformed_message"),
    "a stream with a NUL": (b'{"email":"bad@x"}', {"stream": b"a\0b"}, "malformed_message"),
    "a count too high": (encode(replace(BATCH, count=2)), {}, "malformed_message"),
    "a count below zero": (encode(replace(BATCH, count=-1)), {}, "malformed_message"),
    "half a timestamp": (encode(replace(BATCH, timestamps=b"1234")), {}, "malformed_message"),
    "no end of a line": (encode(replace(BATCH, payload=b"{}\n{}", count=1)), {}, "malformed_message"),
    "a batch id of a megabyte": (encode(replace(BATCH, batch_id="b" * MEGABYTE)), {}, "malformed_message"),
    "a job id of a megabyte": (encode(replace(BATCH, job_id="j" * MEGABYTE)), {}, "malformed_message"),
    "the last number of all": (encode(replace(BATCH, first=2**63 - 1)), {}, "malformed_message"),
}
# name: (message, code of the dead letter or "", attributes of the profile `{name}@x` or None)
UNUSUAL: Mapping[str, tuple[bytes, str, Mapping[str, Any] | None]] = {
    "deep": (
        b'{"email":"deep@x","y":' + b"[" * (MAX_JSON_DEPTH - 1) + b"]" * (MAX_JSON_DEPTH - 1) + b"}",
        "",
        {"seen": 1},
    ),
    "facts": (b'{"email":"facts@x","facts":' + b"[" * MAX_JSON_DEPTH + b"]" * MAX_JSON_DEPTH + b"}", "too_deep", None),
    "twice": (b'{"email":"twice@x","age":1,"age":2}', "", {"age": 2, "seen": 1}),
    "u64": (b'{"email":"u64@x","age":18446744073709551615}', "out_of_range", {"seen": 1}),
    "u65": (b'{"email":"u65@x","age":36893488147419103232}', "inexact_number", {"seen": 1}),
    "typed": (b'{"email":"typed@x","age":{"years":7}}', "wrong_type", {"seen": 1}),
    "tag": (b'{"email":"tag@x","tag":"' + b"t" * 5_000 + b'"}', "too_long", {"seen": 1}),
    "long": (b'{"email":"long@x' + b"x" * MEGABYTE + b'"}', "identity_too_long", None),
    "nul": (b'{"email":"nul\\u0000@x"}', "bad_text", None),
    "list": (b'{"email":["list@x"]}', "wrong_type", None),
    "unidentified": (b'{"unrelated":1}', "", None),
}


class PeakMemory:
    """Samples the resident memory of each role, and records the peak."""

    def __init__(self, running: Service) -> None:
        self.running = running
        self.peaks: dict[str, int] = dict.fromkeys(ROLES, 0)

    async def watch(self) -> None:
        while True:
            for role in ROLES:
                if pid := self.running.pid(role):
                    self.peaks[role] = max(self.peaks[role], psutil.Process(pid).memory_info().rss)
            await asyncio.sleep(0.2)


@asynccontextmanager
async def monitored(running: Service) -> AsyncIterator[None]:
    """Assert that no role exits or exceeds the memory limit during the block."""
    memory = PeakMemory(running)
    watching = asyncio.create_task(memory.watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    print({role: f"{peak // MEGABYTE} MB" for role, peak in memory.peaks.items()})
    assert all(0 < peak < MAX_MEMORY for peak in memory.peaks.values())
    assert not any("exited with code" in line for line in running.log_lines), running.log_lines[-12:]


@asynccontextmanager
async def running_lanes(folder: Path, empty_broker: Broker) -> AsyncIterator[Service]:
    async with service(folder, empty_broker, roles=()) as running:
        await apply_rules(running, identity=IDENTITY, people=PEOPLE, essays=ESSAYS)
        for role in ROLES:
            await running.start_role(role)
        connection = running.broker.cluster.connection()
        async with AIOKafkaProducer(**connection, max_request_size=16 * MEGABYTE) as running.producer:
            yield running


async def write(running: Service, lane: str, value: bytes | None, partition: int = 0, **headers: bytes) -> int:
    """Write one record and return its offset."""
    assert running.producer
    all_headers = [*({"stream": b"people"} | headers).items()]
    sent = await running.producer.send_and_wait(
        f"messages.{lane}", value, key=b"k", partition=partition, headers=all_headers
    )
    offset: int = sent.offset
    return offset


async def dead_letters(running: Service) -> list[MessageRejected]:
    """Return all dead letters."""
    by_partition = await running.committed("messages.rejected")
    return [letter for partition in by_partition.values() for letter in partition]


async def attributes(running: Service, email: str) -> dict[str, Any] | None:
    view = await profile(running, f"00:email:{email}")
    return {attribute.name: attribute.value for attribute in view.attributes} if view else None


@pytest.mark.parametrize("lane", ["realtime", "backfill"])
async def test_every_invalid_message_becomes_a_dead_letter_and_the_partition_continues(
    tmp_path: Path, empty_broker: Broker, lane: str
) -> None:
    async with running_lanes(tmp_path, empty_broker) as running, monitored(running):
        offsets = {}
        for number, (name, (value, headers, _)) in enumerate(UNREADABLE.items()):
            offsets[name] = await write(running, lane, value, **headers)
            await write(running, lane, orjson.dumps({"email": f"after{number}@x", "age": number}))
        for name, (value, _, _) in UNUSUAL.items():
            offsets[name] = await write(running, lane, value)
        await write(running, lane, b'{"email":"last@x"}')
        await until_settled(running)

        letters = await dead_letters(running)
        codes = {name: code for name, (_, _, code) in UNREADABLE.items()}
        codes |= {name: code for name, (_, code, _) in UNUSUAL.items() if code}
        by_offset = {letter.offset: letter for letter in letters}
        assert {name: by_offset[offsets[name]].code for name in codes} == codes
        assert len(letters) == len(codes)
        for letter in letters:
            assert (letter.topic, letter.partition) == (f"messages.{lane}", 0)
            assert letter.code in SENTENCES
            assert are_bounded(letter.params)
            assert len(letter.excerpt) <= 1_024
        for number in range(len(UNREADABLE)):
            assert await attributes(running, f"after{number}@x") == {"age": number, "seen": 1}
        for name, (_, _, expected) in UNUSUAL.items():
            assert await attributes(running, f"{name}@x") == expected, name
        assert await attributes(running, "last@x") == {"seen": 1}
        assert await attributes(running, "bad@x") is None


async def test_an_oversized_record_is_applied_as_far_as_it_fits_and_the_rest_is_a_dead_letter(
    tmp_path: Path, empty_broker: Broker
) -> None:
    def essays(batch: str, count: int) -> bytes:
        return packed("essays", batch, [{"email": f"{batch}{n}@x", "essay": "e" * 60_000} for n in range(count)])

    async with running_lanes(tmp_path, empty_broker) as running, monitored(running):
        await write_packed(running, "backfill", [essays(f"fits{n}/", 40) for n in range(6)] + [essays("huge/", 250)])
        for n in range(60):  # each fits into a record, all of them together do not
            await write(
                running, "realtime", orjson.dumps({"email": f"s{n}@x", "essay": "s" * 60_000}), stream=b"essays"
            )
        await write(running, "backfill", b'{"email":"last@x"}')
        await until_settled(running)
        assert {(letter.code, letter.topic) for letter in await dead_letters(running)} == {
            ("too_large", "messages.backfill")
        }
        for email in ("fits0/39@x", "fits5/0@x", "s59@x", "huge/0@x"):
            assert (await attributes(running, email) or {}).keys() == {f"essay{n}" for n in range(4)}
        assert await attributes(running, "last@x") == {"seen": 1}


@pytest.mark.parametrize(("shape", "count"), [("chain", 30_000), ("star", 100_000)])  # links of a chain are forwarded
async def test_a_profile_with_tens_of_thousands_of_identities_does_not_block_others(
    tmp_path: Path, empty_broker: Broker, shape: str, count: int
) -> None:
    messages = [{"id": f"{n + 1:06d}", "other": f"{n if shape == 'chain' else 0:06d}"} for n in range(count)]
    async with running_lanes(tmp_path, empty_broker) as running, monitored(running):
        started = time.monotonic()
        parts = [packed("people", f"up{n}/1", messages[n : n + 5_000]) for n in range(0, count, 5_000)]
        await write_packed(running, "backfill", parts)
        delays = []
        for n in range(10):
            begin = time.monotonic()
            await write(running, "realtime", orjson.dumps({"email": f"meanwhile{n}@x"}), partition=n % 2)
            async with asyncio.timeout(60):
                while await attributes(running, f"meanwhile{n}@x") is None:  # a new profile sends no signal
                    await asyncio.sleep(0.05)
            delays.append(time.monotonic() - begin)
        await until_settled(running)
        print(f"{shape}: {time.monotonic() - started:.1f} s, longest delay of others {max(delays):.1f} s")
        node = await root(running, f"05:id:{count:06d}")
        assert node
        assert (node.key, len(node.edges)) == ("05:id:000000", IDENTITY["max_identities"])
        too_many = [letter for letter in await dead_letters(running) if letter.code == "too_many_identities"]
        assert 1 <= len(too_many) <= 20
        assert {letter.excerpt for letter in too_many if letter.excerpt == b"id:000000"} == {b"id:000000"}
        assert all(letter.params == {"max": IDENTITY["max_identities"]} for letter in too_many)


async def test_a_decompression_bomb_becomes_one_dead_letter(tmp_path: Path, empty_broker: Broker) -> None:
    """Send 800 MB of zeros as some kilobytes of zstd."""
    async with running_lanes(tmp_path, empty_broker) as running, monitored(running):
        async with AIOKafkaProducer(
            **running.broker.cluster.connection(),
            compression_type="zstd",
            max_batch_size=1024 * MEGABYTE,
            request_timeout_ms=60_000,
        ) as bomb:
            batch = bomb.create_batch()
            for _ in range(800):
                batch.append(key=b"k", value=bytes(MEGABYTE - 100), timestamp=None, headers=[("stream", b"people")])
            batch.close()
            await (await bomb.send_batch(batch, "messages.realtime", partition=0))
        await write(running, "realtime", b'{"email":"after@x"}')
        await until_settled(running)
        (letter,) = await dead_letters(running)
        assert (letter.code, letter.offset) == ("invalid_json", 799)
        assert letter.excerpt.startswith(b"offsets 0 to 799: a batch that decompresses to more than")
        assert await attributes(running, "after@x") == {"seen": 1}


async def test_thousands_of_streams_are_counted_up_to_the_limit(tmp_path: Path, empty_broker: Broker) -> None:
    count = 20_000
    async with running_lanes(tmp_path, empty_broker) as running, monitored(running):
        assert running.producer
        sent = [
            await running.producer.send(
                "messages.realtime", b'{"a%d":1}' % n, partition=n % 2, headers=[("stream", b"made up %d" % n)]
            )
            for n in range(count)
        ]
        await asyncio.gather(*sent)
        begin = time.monotonic()
        await write(running, "realtime", b'{"email":"after@x"}')
        await until_settled(running)
        print(f"{count:,} streams were counted in {time.monotonic() - begin:.1f} s")
        assert await attributes(running, "after@x") == {"seen": 1}
        store = await ReadStore.open(running.settings.database())
        try:
            assert len(await store.streams.counts()) == MAX_LISTED_STREAMS
            (stream,) = await store.streams.counts("made up 7")
            assert stream.count == 1
        finally:
            await store.close()


async def test_a_profile_with_large_source_messages_is_explained_in_pages(tmp_path: Path, empty_broker: Broker) -> None:
    message = {"email": "heavy@x", "padding": "p" * (14 * MEGABYTE)}
    async with running_lanes(tmp_path, empty_broker) as running:
        await write_packed(running, "backfill", [packed("people", f"up{n}/1", [message]) for n in range(5)])
        await until_settled(running)
        assert await attributes(running, "heavy@x") == {"seen": 5}
        definitions = DefinitionsTail(running.broker.cluster)
        rules = RulesReader(definitions)
        definitions.start()
        store = await ReadStore.open(running.settings.database())
        try:
            await definitions.caught_up()
            history = ProfileHistory(running.broker.cluster, rules)
            async with ProfilesClient(store.plane, running.settings.partitions) as client, EvaluatorPool() as pool:
                references = await history.references(await client.reader(), ["00:email:heavy@x"])
                last, count = None, 0
                for _ in range(5):
                    async with pool.evaluator(lambda: False) as evaluator:
                        (shown,), last = await history.page(evaluator.call, references, last, 100)
                    count += len(shown.raw.line) > 14 * MEGABYTE
                assert (count, last) == (5, None)
        finally:
            await definitions.stop()
            await store.close()

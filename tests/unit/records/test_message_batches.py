"""Message batches written by Entrepot always fit into the updates of a lane, even with the widest mapping."""

import json
from datetime import UTC, datetime

from app.lanes.chunk import MappingChunk
from app.records.message_batches import MAX_MESSAGES, Origin, message_records
from connectors.contract import Batch
from projections.definitions.compiled_rules import CompiledRules
from projections.definitions.rebuild_spec import VersionedBody
from projections.definitions.rules import Forgotten, Rules
from projections.mapping.mapping import MAX_ATTRIBUTES
from schemas.messages import MessageBatch
from schemas.wire.codec import decode
from tests.unit.lanes.test_chunk import Record

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
IDENTITY = VersionedBody(1, json.dumps({"kinds": [{"kind": "email", "rank": 0}]}))
WIDE = VersionedBody(
    1,
    json.dumps(
        {
            "identities": [{"field": "email", "kind": "email"}],
            "attributes": [
                {"name": f"a{n}", "field": f"a{n}", "type": "string", "merge": "latest"} for n in range(MAX_ATTRIBUTES)
            ],
            "timestamp": None,
        }
    ),
)


def test_every_batch_of_an_upload_fits_into_one_update() -> None:
    count = 30_000
    lines = [b'{"email":"%d@example.com"}\n' % number for number in range(count)]
    batch = Batch(
        stream="shop", lane="backfill", source="", payload=b"".join(lines), count=count, timestamps=b"", first_row=1,
        read=count, cursor={},
    )  # fmt: skip
    rules, written, rows = CompiledRules(Rules(IDENTITY, {"shop": WIDE}), 0), list[bytes](), 0
    for offset, record in enumerate(message_records(Origin("j", 1, 1, "file"), batch, 0, NOW)):
        message_batch = decode(record.value or b"")
        assert isinstance(message_batch, MessageBatch)
        assert (message_batch.first, message_batch.count) == (len(written), message_batch.payload.count(b"\n"))
        assert message_batch.count <= MAX_MESSAGES
        written += message_batch.payload.splitlines(keepends=True)
        chunk = MappingChunk("backfill", rules, Forgotten(), 1, NOW)
        chunk.add(Record(record.value, offset))
        (chunk_output,) = chunk.fitting()
        assert chunk_output.dead_letters == [], "no message is rejected"
        rows += sum(len(group.rows) for group in chunk_output.mapped[0].groups)
    assert written == lines
    assert rows == count

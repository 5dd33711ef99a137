"""Stored records of every version stay readable, and stored commands lead to the same events, byte for byte."""

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastavro import schemaless_writer

from projections.definitions import state as definitions
from projections.jobs import decide as jobs
from projections.jobs.evolve import evolve
from projections.jobs.state import Job
from schemas.commands import Command
from schemas.wire.avro_types import to_avro
from schemas.wire.catalog import file_name, version_of, versions
from schemas.wire.codec import FRAME, decode, schema_id_of
from tests.golden.definition_histories import DEFINITION_HISTORIES
from tests.golden.job_histories import JOB_HISTORIES
from tests.golden.samples import as_json, bare, full

GOLDEN = Path(__file__).parent.parent / "golden"
RECORDS = sorted((GOLDEN / "records").glob("*.json"))
JOBS = sorted((GOLDEN / "jobs").glob("*.json"))
DEFINITIONS = sorted((GOLDEN / "definitions").glob("*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
@pytest.mark.parametrize("kind", ["full", "bare"])
def test_a_stored_record_of_any_version_is_readable(path: Path, kind: str) -> None:
    golden = json.loads(path.read_text("utf-8"))
    record = decode(bytes.fromhex(golden[kind]["hex"]))
    assert schema_id_of(bytes.fromhex(golden[kind]["hex"])) == golden["schema_id"]
    _contains(as_json(record), golden[kind]["value"])


def _contains(current: Any, stored: Any) -> None:
    """Check that the current value has all stored values; it may have more fields."""
    if isinstance(stored, dict):
        for name, value in stored.items():
            if name in current:
                _contains(current[name], value)
    elif isinstance(stored, list):
        for current_item, stored_item in zip(current, stored, strict=True):
            _contains(current_item, stored_item)
    else:
        assert current == stored


def test_every_version_has_a_golden_record() -> None:
    expected = {file_name(version.name, version.version).removesuffix(".avsc") for version in versions().values()}
    assert {path.stem for path in RECORDS} == expected, "run `make generate`"


def test_full_and_bare_samples_differ() -> None:
    for version in versions().values():
        assert as_json(full(version.record_type)) != as_json(bare(version.record_type))


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_stored_job_commands_lead_to_the_stored_events(path: Path) -> None:
    golden = json.loads(path.read_text("utf-8"))
    commands = [decode(_bytes(line)) for line in golden["commands"]]
    state: Job | None = None
    events = []
    for offset, command in enumerate(commands):
        assert isinstance(command, Command)
        for event in jobs.handle(state, command, offset)[1]:
            events.append(event)
            state = evolve(state, event)
    _check_stored(events, golden)


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.stem)
def test_stored_definition_commands_lead_to_the_stored_events(path: Path) -> None:
    golden = json.loads(path.read_text("utf-8"))
    state, events = definitions.EMPTY, []
    for offset, line in enumerate(golden["commands"]):
        command: Any = decode(_bytes(line))
        state, new_events = definitions.handle(state, command, offset)
        events += new_events
    _check_stored(events, golden)


def _check_stored(events: Sequence[Any], golden: Any) -> None:
    stored = [_bytes(line) for line in golden["events"]]
    assert [type(event).__name__ for event in events] == [line.partition(" ")[0] for line in golden["events"]]
    for event, data in zip(events, stored, strict=True):
        assert event == decode(data)
        assert _encode_as(event, schema_id_of(data)) == data


def _bytes(line: str) -> bytes:
    return bytes.fromhex(line.partition(" ")[2])


def _encode_as(record: Any, schema_id: int) -> bytes:
    """Encode a record with the schema of a stored record, which may be an old version."""
    buffer = BytesIO(FRAME.pack(0, schema_id))
    buffer.seek(FRAME.size)
    schemaless_writer(buffer, version_of(schema_id).parsed, to_avro(record))
    return buffer.getvalue()


def test_every_history_is_stored() -> None:
    assert {history.__name__ for history in JOB_HISTORIES} <= {path.stem for path in JOBS}, "run `make generate`"
    assert {history.__name__ for history in DEFINITION_HISTORIES} <= {path.stem for path in DEFINITIONS}, (
        "run `make generate`"
    )


@pytest.mark.parametrize("history", [*JOB_HISTORIES, *DEFINITION_HISTORIES])
def test_the_commands_of_a_history_match_the_stored_ones(history: Any) -> None:
    folder = "definitions" if history in DEFINITION_HISTORIES else "jobs"
    golden = json.loads((GOLDEN / folder / f"{history.__name__}.json").read_text("utf-8"))
    stored = [decode(_bytes(line)) for line in golden["commands"]]
    assert history().commands == stored

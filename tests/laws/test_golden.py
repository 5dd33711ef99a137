"""What was once written is read as it was meant, and what was once decided is decided again, byte for byte."""

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
from projections.jobs.state import JobState, NoJob
from schemas.commands import Command
from schemas.wire.avro_types import to_avro
from schemas.wire.catalog import file_name, version_of, versions
from schemas.wire.codec import FRAME, decode, schema_id_of
from tests.golden.histories import HISTORIES
from tests.golden.rulebooks import RULEBOOKS as TOLD_RULEBOOKS
from tests.golden.samples import bare, full, shown

GOLDEN = Path(__file__).parent.parent / "golden"
WORDS = sorted((GOLDEN / "words").glob("*.json"))
STORED = sorted((GOLDEN / "histories").glob("*.json"))
RULEBOOKS = sorted((GOLDEN / "rulebooks").glob("*.json"))


@pytest.mark.parametrize("path", WORDS, ids=lambda path: path.stem)
@pytest.mark.parametrize("kind", ["full", "bare"])
def test_a_record_of_any_age_is_read_as_it_was_meant(path: Path, kind: str) -> None:
    golden = json.loads(path.read_text("utf-8"))
    word = decode(bytes.fromhex(golden[kind]["hex"]))
    assert schema_id_of(bytes.fromhex(golden[kind]["hex"])) == golden["schema_id"]
    _contains(shown(word), golden[kind]["word"])


def _contains(now: Any, then: Any) -> None:
    """Every value of then is there now; now may know more."""
    if isinstance(then, dict):
        for name, value in then.items():
            if name in now:
                _contains(now[name], value)
    elif isinstance(then, list):
        for one, other in zip(now, then, strict=True):
            _contains(one, other)
    else:
        assert now == then


def test_every_version_has_a_golden_record() -> None:
    expected = {file_name(each.name, each.version).removesuffix(".avsc") for each in versions().values()}
    assert {each.stem for each in WORDS} == expected, "run `make generate`"


def test_samples_say_something() -> None:
    for version in versions().values():
        assert shown(full(version.word)) != shown(bare(version.word))


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_history_repeats_itself(path: Path) -> None:
    golden = json.loads(path.read_text("utf-8"))
    commands = [decode(_bytes(line)) for line in golden["commands"]]
    state: JobState = NoJob(commands[0].job_id)
    events = []
    for offset, command in enumerate(commands):
        assert isinstance(command, Command)
        for event in jobs.handle(state, command, offset)[1]:
            events.append(event)
            state = evolve(state, event)
    _are_as_stored(events, golden)


@pytest.mark.parametrize("path", RULEBOOKS, ids=lambda path: path.stem)
def test_rules_repeat_themselves(path: Path) -> None:
    golden = json.loads(path.read_text("utf-8"))
    book, events = definitions.EMPTY, []
    for offset, line in enumerate(golden["commands"]):
        command: Any = decode(_bytes(line))
        book, led_to = definitions.handle(book, command, offset)
        events += led_to
    _are_as_stored(events, golden)


def _are_as_stored(events: Sequence[Any], golden: Any) -> None:
    stored = [_bytes(line) for line in golden["events"]]
    assert [type(each).__name__ for each in events] == [line.partition(" ")[0] for line in golden["events"]]
    for event, data in zip(events, stored, strict=True):
        assert event == decode(data)
        assert _written(event, schema_id_of(data)) == data


def _bytes(line: str) -> bytes:
    return bytes.fromhex(line.partition(" ")[2])


def _written(word: Any, schema_id: int) -> bytes:
    """A word in the version that a record was written with, which may be an old one."""
    buffer = BytesIO(FRAME.pack(0, schema_id))
    buffer.seek(FRAME.size)
    schemaless_writer(buffer, version_of(schema_id).parsed, to_avro(word))
    return buffer.getvalue()


def test_every_history_is_stored() -> None:
    assert {each.__name__ for each in HISTORIES} <= {each.stem for each in STORED}, "run `make generate`"
    assert {each.__name__ for each in TOLD_RULEBOOKS} <= {each.stem for each in RULEBOOKS}, "run `make generate`"


@pytest.mark.parametrize("history", [*HISTORIES, *TOLD_RULEBOOKS])
def test_a_teller_tells_the_stored_history(history: Any) -> None:
    folder = "rulebooks" if history in TOLD_RULEBOOKS else "histories"
    golden = json.loads((GOLDEN / folder / f"{history.__name__}.json").read_text("utf-8"))
    stored = [decode(_bytes(line)) for line in golden["commands"]]
    assert history().commands == stored

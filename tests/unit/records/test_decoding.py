"""Decoding of commands, dead letters and job states, hostile records included."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from app.records.commands import (
    MAX_COMMAND_BYTES,
    NewerRulesError,
    UnreadableCommandError,
    decode_definition_command,
    decode_job_command,
)
from app.records.dead_letters import dead_letter
from app.records.envelopes import stamp
from app.records.job_state import decode_job, encode_job
from app.records.partitioning import partition_of
from app.sentences.codes import SENTENCES
from schemas.coded import CodedError
from schemas.commands import NO_COUNTS, CreateJob, PauseJob, ReportProgress
from schemas.definitions import PARTITION, DraftDefinition
from schemas.wire.codec import encode
from tests.unit.runner.jobs import START, job

PAUSE = PauseJob(**stamp("orders", "user:ada", lambda: START))
HUGE = CreateJob(
    **stamp("orders", "user:ada", lambda: START), provider="p" * MAX_COMMAND_BYTES, job_type="", kind="", name="n"
)
REPORT = ReportProgress(
    **stamp("orders", "runner", lambda: START), run=1, report=1, cursor="{}", counts=NO_COUNTS, stream="", lane="",
    pass_done=True,
)  # fmt: skip
HOME = partition_of("orders", 4)


@dataclass
class Message:
    """The origin of a record, as in a Faust event."""

    headers: Any = ()
    timestamp: float = 0.0
    topic: str = "messages.realtime"
    partition: int = 0
    offset: int = 7


@dataclass
class Record:
    value: bytes | None
    key: bytes | None = None
    message: Message = field(default_factory=Message)

    def ack(self) -> bool:
        return True


def test_a_command_is_decoded_in_its_partition() -> None:
    assert decode_job_command(b"orders", encode(PAUSE), HOME, 4) == PAUSE
    assert decode_job_command(b"orders", encode(REPORT), HOME, 4) == REPORT


@pytest.mark.parametrize(
    ("key", "value", "partition"),
    [
        (b"other", encode(PAUSE), HOME),
        (None, encode(PAUSE), HOME),
        (b"orders", encode(PAUSE), (HOME + 1) % 4),
        (b"orders", b"garbage", HOME),
        (b"orders", b"", HOME),
        (b"orders", encode(HUGE), HOME),
        (b"a\0", encode(replace(PAUSE, job_id="a\0")), partition_of("a\0", 4)),
        (b"j" * 201, encode(replace(PAUSE, job_id="j" * 201)), partition_of("j" * 201, 4)),
        (b"orders", encode(replace(REPORT, stream="s" * 201)), HOME),
    ],
    ids=[
        "another key", "no key", "another partition", "garbage", "tombstone", "huge", "an id of no text", "a long id",
        "a stream of no name",
    ],
)  # fmt: skip
def test_an_invalid_or_misplaced_command_is_refused(key: bytes | None, value: bytes, partition: int) -> None:
    with pytest.raises(UnreadableCommandError) as refused:
        decode_job_command(key, value, partition, 4)
    assert refused.value.code in SENTENCES


DRAFT = DraftDefinition(
    command_id="c", definition_id="identity", issued_at=START, issued_by="user:ada", body='{"kinds": []}'
)


def test_a_definition_command_is_decoded_in_its_partition() -> None:
    assert decode_definition_command(b"identity", encode(DRAFT), PARTITION) == DRAFT


@pytest.mark.parametrize(
    ("key", "command", "partition"),
    [
        (b"other", DRAFT, PARTITION),
        (b"identity", DRAFT, PARTITION + 1),
        (b"identity", PAUSE, PARTITION),
        (b"identity", replace(DRAFT, command_id="c" * 201), PARTITION),
        (b"identity", replace(DRAFT, issued_by="u" * 201), PARTITION),
        (b"a\0", replace(DRAFT, definition_id="a\0"), PARTITION),
    ],
    ids=["another key", "another partition", "a command of jobs", "a long id", "a long actor", "an id of no text"],
)
def test_an_invalid_definition_command_is_refused(key: bytes, command: Any, partition: int) -> None:
    with pytest.raises(UnreadableCommandError) as refused:
        decode_definition_command(key, encode(command), partition)
    assert refused.value.code in SENTENCES


def test_a_command_under_newer_rules_stops_the_reader_instead_of_being_refused() -> None:
    with pytest.raises(NewerRulesError, match=r"rules version 2.*supports 1; upgrade it"):
        decode_job_command(b"orders", encode(replace(PAUSE, rules=2)), HOME, 4)
    assert decode_job_command(b"orders", encode(replace(PAUSE, rules=0)), HOME, 4).rules == 0, "the decider refuses it"


LONG = CodedError("long", {"why": "why " * 10**6}, detail="said " * 10**6)


def test_a_dead_letter_is_small_for_any_record() -> None:
    letter = dead_letter(Record(b"v" * 10**6, b"k" * 10**7), "malformed_message", LONG, START)
    assert letter.key is None
    assert len(letter.value or b"") < 5_000
    assert dead_letter(Record(b"", b"k"), "malformed_message", LONG, START).key == b"k"


def test_a_state_of_an_older_or_newer_version_is_decoded() -> None:
    state = job(report=3, bytes_total=9, recent_commands=("a", "b"))
    assert decode_job(encode_job(state)) == state
    stored = json.loads(encode_job(state))
    del stored["bytes_total"], stored["recent_commands"], stored["streak"]
    older = decode_job(json.dumps(stored))
    assert older == replace(state, bytes_total=None, recent_commands=())
    assert decode_job(json.dumps(stored | {"a_future_field": 1})) == older

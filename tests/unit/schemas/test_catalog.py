"""The files in `schemas/avro` are what the dataclasses say, under ids that never change."""

import json
from typing import Any

import pytest

from schemas.topics import DAY_MS, FOR_EVER, JOBS_EVENTS, MESSAGES_REJECTED, TOPICS
from schemas.wire import catalog
from schemas.wire.avro_types import avro_schema
from schemas.wire.catalog import FOLDER, WORDS, UnreadableRecordError, newest, version_of, versions, without_docs

FIRST_IDS = {
    "CreateJob": 1, "RenameJob": 2, "ConfigureJob": 3, "PauseJob": 4, "ResumeJob": 5, "RunJob": 6, "KillJob": 7,
    "RestoreJob": 8, "EditCursor": 9, "WakeJob": 10, "PurgeJob": 11, "ReportProgress": 12, "ReportError": 13,
    "ReportRateLimit": 14, "JobCreated": 15, "JobRenamed": 16, "JobConfigured": 17, "JobStarted": 18,
    "JobProgressed": 19, "JobSynced": 20, "JobErrored": 21, "JobSlept": 22, "JobFailed": 23, "JobPaused": 24,
    "JobResumed": 25, "JobCompleted": 26, "JobKilled": 27, "JobRestored": 28, "JobCursorEdited": 29, "JobPurged": 30,
    "CommandRefused": 31, "MessageBatch": 32, "MessageRejected": 33,
}  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
def test_each_word_is_as_its_newest_file_says(name: str) -> None:
    version = newest()[WORDS[name]]
    assert without_docs(version.schema) == without_docs(catalog.current_schema(name)), "run `make generate`"


def test_each_file_has_an_id_and_each_id_a_file() -> None:
    files = {each.name for each in FOLDER.iterdir()} - {"ids.json"}
    assert files == {catalog.file_name(each.name, each.version) for each in versions().values()}
    assert set(WORDS) == {each.name for each in versions().values()}


def test_ids_are_given_once_and_for_ever() -> None:
    ids = json.loads((FOLDER / "ids.json").read_text("utf-8"))
    given = [each for of in ids.values() for each in of.values()]
    assert len(given) == len(set(given))
    assert {name.rpartition(".")[2]: of["1"] for name, of in ids.items() if of["1"] <= 33} == FIRST_IDS
    for of in ids.values():
        assert list(of) == [str(number) for number in range(1, len(of) + 1)]
        assert list(of.values()) == sorted(of.values())


def test_an_unknown_id_says_so() -> None:
    with pytest.raises(UnreadableRecordError) as refused:
        version_of(4096)
    assert (refused.value.code, refused.value.params) == ("unknown_schema", {"schema_id": 4096})


def test_documentation_makes_no_version() -> None:
    schema: Any = {"type": "record", "doc": "a", "fields": [{"name": "x", "doc": "b", "type": ["null", "long"]}]}
    assert without_docs(schema) == {"type": "record", "fields": [{"name": "x", "type": ["null", "long"]}]}


def test_defaults_are_spelled_as_avro_wants_them() -> None:
    schema = avro_schema(WORDS["entrepot.messages.MessageRejected"], "entrepot.messages")
    assert {each["name"]: each.get("default", "-") for each in schema["fields"]} == {
        "rejected_at": "-", "code": "-", "params": "-", "source": "-", "position": "-", "stream": "", "job_id": "",
        "run": 0, "topic": "", "partition": None, "offset": None, "excerpt": "", "detail": "", "provider": "",
    }  # fmt: skip
    cadence = next(
        each
        for each in catalog.current_schema("entrepot.jobs.commands.CreateJob")["fields"]
        if each["name"] == "cadence"
    )
    assert cadence["default"] == {"kind": "once", "every_seconds": 0, "cron": "", "time_zone": "UTC", "quiet": []}


def test_history_is_kept_for_ever_and_dead_letters_for_a_month() -> None:
    assert JOBS_EVENTS.config()["retention.ms"] == "-1"
    assert MESSAGES_REJECTED.config()["retention.ms"] == str(30 * DAY_MS)
    bounded = {name for name, each in TOPICS.items() if each.retention_ms != FOR_EVER}
    assert bounded == {"messages.rejected", "updates.realtime", "updates.backfill"}
    assert all(each.config()["message.timestamp.type"] == "CreateTime" for each in TOPICS.values())

"""The files in `schemas/avro` match the dataclasses, under ids that never change."""

import json
from typing import Any

import pytest

from schemas.topics import DAY_MS, JOBS_EVENTS, MESSAGES_REJECTED, TOPICS, UNLIMITED_RETENTION
from schemas.wire import catalog
from schemas.wire.avro_types import avro_schema
from schemas.wire.catalog import FOLDER, RECORD_TYPES, UnreadableRecordError, newest, version_of, versions, without_docs

FIRST_IDS = {
    "CreateJob": 1, "RenameJob": 2, "ConfigureJob": 3, "PauseJob": 4, "ResumeJob": 5, "RunJob": 6, "KillJob": 7,
    "RestoreJob": 8, "EditCursor": 9, "WakeJob": 10, "PurgeJob": 11, "ReportProgress": 12, "ReportError": 13,
    "ReportRateLimit": 14, "JobCreated": 15, "JobRenamed": 16, "JobConfigured": 17, "JobStarted": 18,
    "JobProgressed": 19, "JobSynced": 20, "JobErrored": 21, "JobSlept": 22, "JobFailed": 23, "JobPaused": 24,
    "JobResumed": 25, "JobCompleted": 26, "JobKilled": 27, "JobRestored": 28, "JobCursorEdited": 29, "JobPurged": 30,
    "CommandRefused": 31, "MessageBatch": 32, "MessageRejected": 33,
}  # fmt: skip


@pytest.mark.parametrize("name", RECORD_TYPES)
def test_each_record_type_matches_its_newest_schema_file(name: str) -> None:
    version = newest()[RECORD_TYPES[name]]
    assert without_docs(version.schema) == without_docs(catalog.current_schema(name)), "run `make generate`"


def test_schema_files_and_ids_correspond() -> None:
    files = {path.name for path in FOLDER.iterdir()} - {"ids.json"}
    assert files == {catalog.file_name(version.name, version.version) for version in versions().values()}
    assert set(RECORD_TYPES) == {version.name for version in versions().values()}


def test_ids_are_unique_and_never_change() -> None:
    ids = json.loads((FOLDER / "ids.json").read_text("utf-8"))
    all_ids = [id_ for by_version in ids.values() for id_ in by_version.values()]
    assert len(all_ids) == len(set(all_ids))
    assert {
        name.rpartition(".")[2]: by_version["1"] for name, by_version in ids.items() if by_version["1"] <= 33
    } == FIRST_IDS
    for by_version in ids.values():
        assert list(by_version) == [str(number) for number in range(1, len(by_version) + 1)]
        assert list(by_version.values()) == sorted(by_version.values())


def test_an_unknown_id_is_refused() -> None:
    with pytest.raises(UnreadableRecordError) as error:
        version_of(4096)
    assert (error.value.code, error.value.params) == ("unknown_schema", {"schema_id": 4096})


def test_documentation_does_not_change_a_schema() -> None:
    schema: Any = {"type": "record", "doc": "a", "fields": [{"name": "x", "doc": "b", "type": ["null", "long"]}]}
    assert without_docs(schema) == {"type": "record", "fields": [{"name": "x", "type": ["null", "long"]}]}


def test_defaults_are_written_as_avro_requires() -> None:
    schema = avro_schema(RECORD_TYPES["entrepot.messages.MessageRejected"], "entrepot.messages")
    assert {field["name"]: field.get("default", "-") for field in schema["fields"]} == {
        "rejected_at": "-", "code": "-", "params": "-", "source": "-", "position": "-", "stream": "", "job_id": "",
        "run": 0, "topic": "", "partition": None, "offset": None, "excerpt": "", "detail": "", "provider": "",
    }  # fmt: skip
    cadence = next(
        field
        for field in catalog.current_schema("entrepot.jobs.commands.CreateJob")["fields"]
        if field["name"] == "cadence"
    )
    assert cadence["default"] == {
        "kind": "once",
        "every_seconds": 0,
        "cron": "",
        "time_zone": "UTC",
        "blackout_windows": [],
    }


def test_history_is_kept_indefinitely_and_dead_letters_for_a_month() -> None:
    assert JOBS_EVENTS.config()["retention.ms"] == "-1"
    assert MESSAGES_REJECTED.config()["retention.ms"] == str(30 * DAY_MS)
    bounded = {name for name, topic in TOPICS.items() if topic.retention_ms != UNLIMITED_RETENTION}
    assert bounded == {"messages.rejected", "updates.realtime", "updates.backfill"}
    assert all(topic.config()["message.timestamp.type"] == "CreateTime" for topic in TOPICS.values())

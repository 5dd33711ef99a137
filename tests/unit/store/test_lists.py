"""Pages of jobs and log lines are complete, ordered, stable while jobs change, and safe against hostile input."""

import base64
import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, get_args

import pytest
from sqlalchemy import select, update

from app.sentences.job_log import LogLine, log_line
from app.store.models import (
    EventRecord,
    InvalidCursorError,
    InvalidLimitError,
    JobFilter,
    LogFilter,
    Order,
    Page,
    Sort,
    SortKey,
)
from app.store.read_store import ReadStore
from app.store.tables import tables_of
from app.store.views.page_cursors import PageKey, encode_cursor, fingerprint
from projections.jobs.evolve import evolve
from projections.jobs.state import Job, Status, next_wake
from schemas.commands import ConfigureJob, KillJob, PauseJob, RenameJob, ReportError
from schemas.json_values import canonical_json
from schemas.policies import ONCE
from tests.unit.store.histories import START, Partition, history

EVERY_STATUS: tuple[Status, ...] = ("Running", "Sleeping", "Failed", "Paused", "Completed", "Killed")
BROKEN: dict[str, Any] = {"code": "broken", "params": {"part": "100%", "parts": ("a", "b")}}


def make_jobs(count: int = 23) -> Partition:
    """Jobs in every status, some with equal names, some without a wake time."""
    partition = Partition()
    for index in range(count):
        partition.advance(seconds=7 * (index % 3))
        job_id = f"job-{index:02}"
        cadence = {"cadence": ONCE} if index % 6 == 4 else {}
        partition.create(job_id, name=f"name {index * 7 % 5}", description=f"№ {index}", **cadence)
        partition.advance(seconds=index % 4)
        match index % 6:
            case 1:
                partition.send(PauseJob, job_id, until=partition.at + timedelta(hours=index))
            case 2:
                partition.send(KillJob, job_id)
            case 3 | 4:
                partition.report(job_id, pass_done=True)
            case 5:
                error = {
                    "fault": "provider",
                    "advice": "fix_configuration",
                    **BROKEN,
                }
                partition.send(ReportError, job_id, run=1, **error)
            case _:
                pass
    return partition


async def test_an_unreadable_row_is_skipped_and_affects_no_other_job(
    store: ReadStore, caplog: pytest.LogCaptureFixture
) -> None:
    partition = make_jobs(5)
    await store.views.apply(0, partition.records)
    async with store.database.writing() as connection:
        states = tables_of(1).states
        state = (await connection.execute(select(states.c.state).filter_by(job_id="job-02"))).scalar_one()
        broken = state.replace(b'"kind":"interval"', b'"kind":"zz"')
        assert broken != state
        await connection.execute(update(states).filter_by(job_id="job-02").values(state=broken))
    jobs = await all_pages(store, JobFilter(statuses=EVERY_STATUS), Sort(), 2)
    assert {job.job_id for job in jobs} == set(partition.jobs) - {"job-02"}
    assert await store.jobs.get("job-02") is None
    assert "is invalid and is skipped: ('cadence', 'kind')" in caplog.text
    await store.views.apply(
        0, [*partition.send(RenameJob, "job-02", name="new", description=""), *partition.create("job-99")]
    )
    assert await store.jobs.get("job-99") == partition.job("job-99")


async def test_the_keys_of_current_secrets_are_found(store: ReadStore) -> None:
    partition = Partition()
    partition.create("a", configuration=sealed_with("aa"))
    partition.create("b", configuration=sealed_with("bb"))
    partition.create("c", configuration='{"source":"\\"$sealed\\":{\\"box\\":\\"\\",\\"key\\":\\"cc\\""}')
    partition.create("d", configuration=sealed_with("dd"))
    await store.views.apply(0, partition.records)
    assert await store.jobs.sealing_keys() == {"aa", "bb", "dd"}
    b = partition.job("b")
    partition.send(ConfigureJob, "b", configuration=sealed_with("ee"), cadence=b.cadence, retry=b.retry)
    await store.views.apply(0, partition.records)
    async with store.database.writing() as connection:
        await connection.execute(update(tables_of(1).states).filter_by(job_id="d").values(state=b'{"$sealed": 1'))
    assert await store.jobs.sealing_keys() == {"aa", "ee"}


def sealed_with(key_id: str) -> str:
    return canonical_json({"source": {"$sealed": {"box": "AA==", "key": key_id, "version": "1"}, "shown": "•••"}})


async def all_pages(store: ReadStore, where: JobFilter, sort: Sort, limit: int) -> list[Job]:
    jobs: list[Job] = []
    page: Page[Job] = await store.jobs.page(where, sort, limit)
    while True:
        jobs += page.items
        if page.next_cursor is None:
            return jobs
        assert len(page.items) == limit
        page = await store.jobs.page(where, sort, limit, page.next_cursor)


def key_of(job: Job, by: SortKey) -> tuple[object, str]:
    wakes = next_wake(job)
    return {
        "name": job.name.casefold(),
        "status": job.status,
        "created": job.created_at,
        "updated": job.updated_at,
        "next_wake": (wakes is None, wakes),
    }[by], job.job_id


async def test_every_sort_pages_through_all_jobs_in_order(store: ReadStore) -> None:
    partition = make_jobs()
    await store.views.apply(0, partition.records)
    jobs = [partition.job(job) for job in partition.jobs]
    for by in get_args(SortKey):
        for order in get_args(Order):
            for statuses in (EVERY_STATUS, (), ("Sleeping",), ("Killed", "Failed")):
                shown = [job for job in jobs if job.status in (statuses or EVERY_STATUS[:-1])]
                expected = sorted(shown, key=lambda job: key_of(job, by), reverse=order == "descending")
                listed = await all_pages(store, JobFilter(statuses=statuses), Sort(by, order), 4)
                assert listed == expected, (by, order, statuses)


async def test_filters_narrow_and_combine(store: ReadStore) -> None:
    partition = Partition()
    partition.create("a", provider="aws", job_type="s3", name="Orders of 100%", description="Bestellungen GRÖSSE")
    partition.create("b", provider="aws", kind="export", name="orders_of")
    partition.advance(hours=1)
    partition.create("c", provider="csv", name="Leads")
    partition.create("d", provider="collect", job_type="bulk_csv", name="b")
    await store.views.apply(0, partition.records)
    for where, expected in (
        (JobFilter(provider="aws"), "ab"),
        (JobFilter(job_type="s3"), "a"),
        (JobFilter(kind="import", provider="aws"), "a"),
        (JobFilter(text="ORDERS"), "ab"),
        (JobFilter(text="%"), "a"),
        (JobFilter(text="_"), "b"),
        (JobFilter(text="größe"), "a"),
        (JobFilter(text="/"), ""),
        (JobFilter(text="'; DROP TABLE jobs; --"), ""),
        (JobFilter(reference="LEADS"), "c"),
        (JobFilter(reference="Lead"), ""),
        (JobFilter(reference="b"), "bd"),
        (JobFilter(reference="%"), ""),
        (JobFilter(uploads=True), "d"),
        (JobFilter(uploads=False), "abc"),
        (JobFilter(uploads=False, reference="b"), "b"),
        (JobFilter(updated_since=START + timedelta(minutes=1)), "cd"),
        (JobFilter(statuses=("Purged",)), ""),
        (JobFilter(), "abcd"),
    ):
        assert "".join(sorted(job.job_id for job in (await store.jobs.page(where)).items)) == expected, where
        assert await store.jobs.count(where) == len(expected), where


async def test_killed_jobs_are_listed_only_on_request(store: ReadStore) -> None:
    partition = Partition()
    await store.views.apply(0, [*partition.create(), *partition.send(KillJob)])
    assert (await store.jobs.page()).items == ()
    assert len((await store.jobs.page(JobFilter(statuses=("Killed",)))).items) == 1
    assert await store.jobs.get("job-1") == partition.job()


async def test_paging_while_jobs_change_repeats_no_job(store: ReadStore) -> None:
    partition = make_jobs()
    await store.views.apply(0, partition.records)
    seen: list[str] = []
    cursor = None
    while True:
        page = await store.jobs.page(JobFilter(), Sort("name"), 3, cursor)
        seen += [job.job_id for job in page.items]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
        last = page.items[-1].job_id
        await store.views.apply(0, partition.send(RenameJob, last, name="aaa", description=""))
    assert len(seen) == len(set(seen)) == await store.jobs.count()


async def test_log_pages_are_complete_in_both_directions(store: ReadStore) -> None:
    partition = history(5)
    await store.views.apply(0, partition.records)
    purged = {job for job in partition.jobs if partition.job(job).status == "Purged"}
    kept = [line for line in lines_of(partition.records) if line.job_id not in purged]
    lines = sorted(kept, key=lambda line: (line.at, line.job_id, line.seq))
    assert await all_lines(store, LogFilter(order="oldest_first")) == lines
    assert await all_lines(store, LogFilter()) == lines[::-1]
    job_lines = [line for line in lines if line.job_id == lines[0].job_id]
    assert await all_lines(store, LogFilter(job_id=lines[0].job_id)) == job_lines[::-1]


def lines_of(records: Sequence[EventRecord]) -> Iterator[LogLine]:
    jobs: dict[str, Job | None] = {}
    for event in (record.event for record in records if record.event.seq):
        before = jobs.get(event.job_id)
        jobs[event.job_id] = evolve(before, event)
        if line := log_line(event, before):
            yield line


async def all_lines(store: ReadStore, where: LogFilter) -> list[LogLine]:
    lines: list[LogLine] = []
    cursor = None
    while True:
        page = await store.jobs.log(where, 17, cursor)
        lines += page.items
        cursor = page.next_cursor
        if cursor is None:
            return lines


async def test_the_log_is_filtered_by_kind_time_and_text(store: ReadStore) -> None:
    partition = make_jobs()
    await store.views.apply(0, partition.records)
    failed = (await store.jobs.log(LogFilter(kinds=("Failed",)))).items
    assert {line.message for line in failed} == {"Failed: permanent error, not retried"}
    assert (await store.jobs.log(LogFilter(text="PERMANENT", kinds=("Failed",)))).items == failed
    errors = (await store.jobs.log(LogFilter(kinds=("Error",)))).items
    assert {line.message for line in errors} == {"Error: broken, part: 100%, parts: a, b"}
    assert (await store.jobs.log(LogFilter(text="PART: 100%"))).items == errors, "the cause is in one line"
    assert (await store.jobs.log(LogFilter(text="100_"))).items == ()
    middle = failed[1].at
    late = await store.jobs.log(LogFilter(since=middle, kinds=("Failed",)))
    early = await store.jobs.log(LogFilter(until=middle, kinds=("Failed",)))
    assert {*late.items, *early.items} == set(failed)
    assert all(line.at >= middle for line in late.items)
    assert all(line.at < middle for line in early.items)


def make_cursor(*values: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


FINGERPRINT = fingerprint(JobFilter(), Sort())
KEY: PageKey = ("name", "job-1")


async def test_hostile_texts_match_nothing(store: ReadStore) -> None:
    await store.views.apply(0, make_jobs(2).records)
    for text in ("\0", "\ud800", "\\", "//", "%_%", "a" * 10_000, "\U0010ffff"):
        for where in (JobFilter(text=text), JobFilter(provider=text), JobFilter(kind=text), JobFilter(job_type=text)):
            assert (await store.jobs.page(where)).items == ()
        assert (await store.jobs.log(LogFilter(text=text))).items == ()
        assert (await store.jobs.log(LogFilter(job_id=text))).items == ()
        assert await store.jobs.get(text) is None
        assert await store.history.configurations(text) == []
        cursor = encode_cursor(fingerprint(JobFilter(), Sort()), (text, text))
        assert len((await store.jobs.page(JobFilter(), Sort(), 50, cursor)).items) in {0, 2}


INVALID_CURSORS = [
    "",
    "x",
    "%%%",
    "ü",
    "AAAA",
    "[]",
    make_cursor(),
    make_cursor(FINGERPRINT),
    make_cursor(FINGERPRINT, "name"),
    make_cursor(FINGERPRINT, 1, "job-1"),
    make_cursor(FINGERPRINT, "name", None),
    make_cursor(FINGERPRINT, "name", "job-1", "more"),
    make_cursor(FINGERPRINT, True, "job-1"),
    make_cursor({"a": 1}),
    encode_cursor("another", KEY),
    encode_cursor(fingerprint(JobFilter(text="x"), Sort()), KEY),
    base64.urlsafe_b64encode(b"[" * 3_000).decode(),
]


async def test_a_cursor_of_another_list_is_refused_with_advice(store: ReadStore) -> None:
    for cursor in INVALID_CURSORS:
        with pytest.raises(InvalidCursorError, match="omit the cursor"):
            await store.jobs.page(JobFilter(), Sort(), 50, cursor)
        with pytest.raises(InvalidCursorError, match="omit the cursor"):
            await store.jobs.log(LogFilter(), 50, cursor)


async def test_a_cursor_with_a_number_too_large_for_the_database_is_refused(store: ReadStore) -> None:
    sort = Sort("created")
    with pytest.raises(InvalidCursorError):
        await store.jobs.page(JobFilter(), sort, 50, make_cursor(fingerprint(JobFilter(), sort), 2**70, "job-1"))


async def test_the_page_limit_is_checked(store: ReadStore) -> None:
    for limit in (0, -1, 1_001):
        with pytest.raises(InvalidLimitError, match="1 to 1,000"):
            await store.jobs.page(limit=limit)
        with pytest.raises(InvalidLimitError, match="1 to 1,000"):
            await store.jobs.log(limit=limit)

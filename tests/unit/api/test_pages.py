"""The pages of a job, rendered without a server."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from app.api.jobs.views import job_view
from app.api.pages.pages import BUTTONS, DURATIONS
from app.api.pages.render import byte_size, render
from app.auth import Caller
from projections.jobs.state import Completed, Job, Running
from schemas.commands import Counts

AT = datetime(2026, 11, 25, 2, 29, 39, tzinfo=UTC)
JOB = Job(
    job_id="job-1",
    seq=9,
    command_offset=3,
    phase=Completed(since=AT),
    provider="file",
    job_type="import",
    kind="import",
    name="Flights",
    description="",
    created_at=AT,
    updated_at=AT,
    configuration='{"source": "a.csv", "stream": "flights"}',
    pass_counts=Counts(read=2699, accepted=2699),
    total_counts=Counts(read=2699, accepted=2699),
)


def shown(job: Job, *log: Any) -> str:
    view = job_view(job)
    response = render(
        "job.html",
        caller=Caller("s1", "ada", "admin", "session", "t1"),
        form_token="token",
        problem=None,
        job=view,
        cadence="once",
        buttons=[button for button in BUTTONS if button[0] in view.allowed],
        durations=DURATIONS,
        log=log,
        older=None,
        paging=False,
        configurations=[],
    )
    assert response.text is not None
    return response.text


def test_a_run_that_waits_for_a_slot_says_so() -> None:
    waiting = replace(JOB, phase=Running(since=AT, queued_at=AT))
    assert job_view(waiting).reason == "no_free_slot"
    text = shown(waiting)
    assert "waiting for a free slot</span>" in text, "beside the status"
    assert "waiting for a free slot since" in text, "in the summary"
    assert "free slot" not in shown(JOB)


def test_numbers_have_the_same_format_in_tables_and_sentences() -> None:
    text = shown(JOB)
    assert "2,699 read" in text, "in the summary"
    assert re.findall(r'<td class="right num">([^<]*2[^<]*699)</td>', text) == ["2,699"] * 2


def test_killing_needs_a_confirmation_and_running_does_not() -> None:
    text = shown(JOB)
    kill = re.search(r'<details class="ask">(.*?)</details>', text, re.DOTALL)
    assert kill is not None
    assert "/job/job-1/kill" in kill[1]
    assert "It can be restored for 90 days." in kill[1]
    assert "/job/job-1/run" in text.replace(kill[0], "")
    assert "/kill" not in text.replace(kill[0], "")


def test_rejected_records_come_with_the_command_that_lists_them() -> None:
    rejected = replace(JOB, total_counts=Counts(read=2, accepted=1, rejected=1))
    assert "entrepot job dead-letters job-1" in shown(rejected)
    assert "</span> Completed with rejects" in shown(rejected), "the status in its words"
    assert "Completed with rejects" not in shown(JOB)
    assert "entrepot job dead-letters" not in shown(JOB), "there are no rejected records"


def test_unsafe_characters_are_shown_as_escapes() -> None:
    hostile = "gnp\u202egpj\x9b\N{RIGHT-TO-LEFT MARK}<b>"
    configuration = orjson.dumps({"source": hostile}).decode()
    text = shown(replace(JOB, name=hostile, description=f"{hostile}\nnext", configuration=configuration))
    assert r"<h1>gnp\u202egpj\x9b\u200f&lt;b&gt;</h1>" in text
    assert "&lt;b&gt;\nnext" in text, "a description keeps its line breaks"
    assert r"gnp\u202egpj\u009b\u200f&lt;b&gt;&#34;" in text, "as JSON"
    assert [character for character in text if character != "\n" and not character.isprintable()] == []


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (1_500_000, "1.5 MB"), (10**12, "1.0 TB"), (10**16, "10000.0 TB")],
)
def test_a_size_has_the_largest_unit_that_keeps_it_above_one(size: int, text: str) -> None:
    assert byte_size(size) == text

"""`--wait` shows errors as they come, ends in time, and its exit code is the result of the job."""

import asyncio
from typing import Any

import pytest

from app.cli.exits import ERROR, NOT_FOUND, RETRYING, TIMED_OUT, TOO_MANY_REJECTED
from app.cli.job.wait import RejectLimit
from tests.integration.api.rig import Client
from tests.unit.api.conftest import until_status
from tests.unit.cli.conftest import CommandLine, RunnerTwin


async def test_a_job_that_completes(entrepot: CommandLine, runner: RunnerTwin) -> None:
    job = await entrepot.create()
    await runner.progress(job["id"], 10)
    result = await entrepot.run("job", "wait", "People")
    assert (result.exit_code, result.stderr) == (0, f"Entrepot at {entrepot.client.url}\n")
    assert result.stdout == "Completed: 10 read, 10 accepted, 0 rejected, 0 duplicate, 0 omitted in total\n"


async def test_rejected_records_are_counted_and_shown(entrepot: CommandLine, runner: RunnerTwin) -> None:
    job = await entrepot.create()
    await runner.reject(job["id"], *(f"line {number}" for number in range(2, 7)))
    await runner.progress(job["id"], 10, rejected=5)
    result = await entrepot.run("job", "wait", "People")
    assert result.exit_code == 0
    assert [line.split(": ")[1] for line in result.stderr.splitlines()[1:-1]] == ["line 2", "line 3", "line 4"]
    assert result.stderr.splitlines()[-1] == (
        f"5 of 10 records were rejected; to list them: entrepot job dead-letters {job['id']}"
    )


async def test_the_command_lists_all_rejected_records(entrepot: CommandLine, runner: RunnerTwin) -> None:
    job = await entrepot.create()
    await runner.reject(job["id"], "line 2")
    await runner.progress(job["id"], 400, rejected=51)
    result = await entrepot.run("job", "wait", "People")
    assert result.stderr.endswith(f"entrepot job dead-letters {job['id']} --limit 51\n")


@pytest.mark.parametrize(
    ("read", "rejected", "options", "code"),
    [
        (10, 10, (), TOO_MANY_REJECTED),
        (10, 9, (), 0),
        (0, 0, (), 0),
        (10, 10, ("--max-rejected", "100%"), 0),
        (10, 1, ("--max-rejected", "1"), 0),
        (10, 2, ("--max-rejected", "1"), TOO_MANY_REJECTED),
        (10, 1, ("--max-rejected", "0"), TOO_MANY_REJECTED),
        (1000, 5, ("--max-rejected", "0.5%"), 0),
        (1000, 6, ("--max-rejected", "0.5%"), TOO_MANY_REJECTED),
    ],
)
async def test_the_limit_of_rejected_records(
    entrepot: CommandLine, runner: RunnerTwin, read: int, rejected: int, options: tuple[str, ...], code: int
) -> None:
    job = await entrepot.create()
    await runner.progress(job["id"], read, rejected)
    assert (await entrepot.run("job", "wait", "People", *options)).exit_code == code


async def test_only_the_latest_sync_counts(entrepot: CommandLine, runner: RunnerTwin) -> None:
    job = await entrepot.create()
    await runner.progress(job["id"], 10)
    await until_status(entrepot.client, job["id"], "Completed")
    waiting = asyncio.create_task(entrepot.run("job", "run", "People", "--wait"))
    await until_status(entrepot.client, job["id"], "Running")
    await runner.progress(job["id"], 3, rejected=3, run=2)
    assert (await waiting).exit_code == TOO_MANY_REJECTED


@pytest.mark.parametrize("limit", ["some", "-1", "101%", "5 %", "%", "1e3", "1.5", "٣"])
async def test_an_invalid_limit(entrepot: CommandLine, limit: str) -> None:
    result = await entrepot.run("job", "wait", "People", "--max-rejected", limit)
    assert (result.exit_code, f"invalid limit {limit!r}" in result.stderr) == (2, True)


async def test_an_error_is_shown_and_ends_the_wait(entrepot: CommandLine, runner: RunnerTwin) -> None:
    job = await entrepot.create()
    waiting = asyncio.create_task(entrepot.run("job", "wait", "People"))
    await asyncio.sleep(0)
    await runner.error(job["id"])
    result = await waiting
    assert result.exit_code == RETRYING
    assert "Sleeping: 0 read" in result.stdout
    assert result.stderr.splitlines()[-1].startswith("It continues at 2026-05-04 12:0")


async def test_a_rate_limit_ends_the_wait(entrepot: CommandLine, runner: RunnerTwin) -> None:
    job = await entrepot.create()
    await runner.rate_limit(job["id"], 90)
    assert (await entrepot.run("job", "wait", "People")).exit_code == RETRYING


async def test_with_retry_it_waits_through_errors(entrepot: CommandLine, runner: RunnerTwin) -> None:
    job = await entrepot.create()
    waiting = asyncio.create_task(entrepot.run("job", "wait", "People", "--retry", "-o", "json"))
    await runner.error(job["id"])
    await until_status(entrepot.client, job["id"], "Sleeping")
    await entrepot.client.post(f"/v2/job/{job['id']}/run")
    await runner.progress(job["id"], 1, run=2)
    result = await waiting
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Completed: 1 read" in result.stderr


async def test_errors_are_shown_with_the_next_attempt(entrepot: CommandLine, runner: RunnerTwin) -> None:
    job = await entrepot.create()
    await runner.error(job["id"])
    await until_status(entrepot.client, job["id"], "Sleeping")
    waiting = asyncio.create_task(entrepot.run("job", "run", "People", "--wait"))
    await until_status(entrepot.client, job["id"], "Running")
    await runner.error(job["id"], run=2)
    lines = (await waiting).stderr.splitlines()
    assert [line.split("  ")[1].split(":")[0].split(" until")[0] for line in lines[1:3]] == ["Error", "Sleeping"]
    assert "2 in a row" in lines[1]


async def test_a_permanent_error_is_a_failure(entrepot: CommandLine, runner: RunnerTwin) -> None:
    job = await entrepot.create()
    await runner.error(job["id"], permanent=True)
    result = await entrepot.run("job", "wait", "People", "--retry")
    assert (result.exit_code, "Manual resume required" in result.stderr) == (ERROR, True)


async def test_a_timeout_ends_the_wait_and_not_the_job(entrepot: CommandLine) -> None:
    job = await entrepot.create()
    result = await entrepot.run("job", "wait", "People", "--timeout", "1s")
    assert result.exit_code == TIMED_OUT
    assert f"entrepot job wait {job['id']}" in str(result.exception) + result.stderr
    assert (await entrepot.client.get(f"/v2/job/{job['id']}"))["status"] == "Running"


async def test_the_next_scheduled_run_is_not_awaited(entrepot: CommandLine, runner: RunnerTwin) -> None:
    job = await entrepot.create(cadence={"kind": "interval", "every_seconds": 3600})
    await entrepot.client.post(f"/v2/job/{job['id']}/run") if job["status"] == "Sleeping" else None
    await runner.progress(job["id"], 2)
    result = await entrepot.run("job", "wait", "People")
    assert (result.exit_code, result.stdout[:16]) == (0, "Sleeping: 2 read")


SCHEDULED = ("job", "create", "--provider", "file", "--name", "Hourly", "--no-validate", "--cadence", "1h")


async def _created(client: Client) -> dict[str, Any]:
    """Return the only job, once it is visible."""
    async with asyncio.timeout(10):
        while not (jobs := await client.get("/v2/job")):
            await asyncio.sleep(0.001)
    job: dict[str, Any] = jobs[0]
    return job


async def test_the_first_run_of_a_scheduled_job_is_awaited(entrepot: CommandLine, runner: RunnerTwin) -> None:
    waiting = asyncio.create_task(entrepot.run(*SCHEDULED, "source=a.csv", "stream=a", "--wait"))
    job = await _created(entrepot.client)
    await entrepot.client.post(f"/v2/job/{job['id']}/run")
    await runner.progress(job["id"], 2)
    result = await waiting
    assert (result.exit_code, result.stdout.splitlines()[-1][:16]) == (0, "Sleeping: 2 read")
    assert "Hourly runs next at 2026-05-04 13:00" in result.stderr
    assert f"entrepot job run {job['id']}" in result.stderr


@pytest.mark.parametrize("command", ["create", "wait"])
async def test_the_wait_for_a_scheduled_run_is_limited(entrepot: CommandLine, command: str) -> None:
    create = (*SCHEDULED, "source=a.csv", "stream=a")
    if command == "create":
        result = await entrepot.run(*create, "--wait", "--timeout", "1s")
    else:
        assert (await entrepot.run(*create)).exit_code == 0
        result = await entrepot.run("job", "wait", "Hourly", "--timeout", "1s")
    assert (result.exit_code, "runs next at" in result.stderr) == (TIMED_OUT, True)


async def test_the_run_after_a_pause_is_awaited(entrepot: CommandLine, runner: RunnerTwin) -> None:
    job = await entrepot.create(cadence={"kind": "interval", "every_seconds": 3600})
    await entrepot.client.post(f"/v2/job/{job['id']}/run")
    await runner.progress(job["id"], 2)
    await until_status(entrepot.client, job["id"], "Sleeping")
    await entrepot.client.post(f"/v2/job/{job['id']}/pause")
    resume = ("job", "resume", "People", "--wait", "--timeout", "1s")
    assert (await entrepot.run(*resume)).exit_code == TIMED_OUT
    await entrepot.client.post(f"/v2/job/{job['id']}/pause")
    waiting = asyncio.create_task(entrepot.run("job", "resume", "People", "--run-now", "--wait"))
    await until_status(entrepot.client, job["id"], "Running")
    await runner.progress(job["id"], 3, run=2)
    assert (await waiting).exit_code == 0


async def test_options_of_a_wait_require_it(entrepot: CommandLine) -> None:
    for option in (("--timeout", "1s"), ("--retry",), ("--max-rejected", "1")):
        assert (await entrepot.run("job", "run", "People", *option)).exit_code == 2
    assert (await entrepot.run("job", "wait", "People")).exit_code == NOT_FOUND
    assert (await entrepot.run("collect", "people", "people.csv", "--timeout", "1s")).exit_code == 2


async def test_the_exit_code_of_an_upload(entrepot: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("uploads")
    good, half, bad = (folder / name for name in ("good.ndjson", "half.ndjson", "bad.csv"))
    good.write_text('{"a": 1}\n{"a": 2}\n')
    half.write_text('{"a": 1}\nnot JSON\n')
    bad.write_text("a,b\n1\n2\n")
    assert (await entrepot.run("collect", "people", str(good))).exit_code == 0
    mixed = await entrepot.run("collect", "people", str(half))
    assert mixed.exit_code == 0
    assert "1 of 2 records were rejected; to list them: entrepot job dead-letters " in mixed.stderr
    assert (await entrepot.run("collect", "people", str(bad))).exit_code == 5, "no record can be read"
    limited = await entrepot.run("collect", "people", str(good), str(half), "--max-rejected", "0")
    assert (limited.exit_code, "1 of 2 records were rejected" in limited.stderr) == (TOO_MANY_REJECTED, True)
    assert "good.ndjson" in limited.stdout, "the results of all files are shown"
    limited = await entrepot.run("collect", "people", str(half), "--max-rejected", "0", "--dry-run")
    assert (limited.exit_code, "dead-letters" in limited.stderr) == (TOO_MANY_REJECTED, False)


def test_a_limit_of_nothing_read() -> None:
    assert not RejectLimit().is_exceeded(0, 0)
    assert not RejectLimit(percent=0).is_exceeded(0, 0)

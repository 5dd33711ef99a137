"""The schedule, the blackout windows and the retry policy of a job, as options."""

from typing import Any

import pytest

from tests.unit.cli.conftest import CommandLine


async def created(entrepot: CommandLine, *options: str) -> dict[str, Any]:
    fields = ("--draft", "source=a.csv", "stream=a", "-o", "json")
    result = await entrepot.run("job", "create", "--provider", "file", "--name", "People", *options, *fields)
    assert result.exit_code == 0, result.output
    job: dict[str, Any] = (await entrepot.client.get("/v2/job"))[0]
    shown: dict[str, Any] = await entrepot.client.get(f"/v2/job/{job['id']}")
    return shown


async def test_blackout_windows_and_retries_are_set_changed_and_removed(entrepot: CommandLine) -> None:
    job = await created(
        entrepot, "--cadence", "@daily", "--time-zone", "Europe/Berlin", "--blackout-window", "22:00-06:00",
        "--blackout-window", "Mon-Wed,sun 09:00-17:00", "--retry-base", "2m", "--retry-cap", "1h",
        "--give-up-after", "2d",
    )  # fmt: skip
    assert (job["cadence"]["cron"], job["cadence"]["time_zone"]) == ("@daily", "Europe/Berlin")
    assert job["cadence"]["blackout_windows"] == [
        {"start": "22:00", "end": "06:00", "days": []},
        {"start": "09:00", "end": "17:00", "days": ["mon", "tue", "wed", "sun"]},
    ]
    assert job["retry"] == {"base_seconds": 120, "cap_seconds": 3600, "floor_seconds": 1, "give_up_seconds": 172_800}
    edited = await entrepot.run("job", "edit", "People", "--blackout-window", "none", "--retry-floor", "5s")
    assert edited.exit_code == 0, edited.output
    job = await entrepot.client.get(f"/v2/job/{job['id']}")
    assert (job["cadence"]["cron"], job["cadence"]["blackout_windows"]) == ("@daily", [])
    assert (job["retry"]["base_seconds"], job["retry"]["floor_seconds"]) == (120, 5)


@pytest.mark.parametrize(
    ("text", "days"),
    [("sat,sun 00:00-12:00", ["sat", "sun"]), ("fri-mon 00:00-12:00", ["fri", "sat", "sun", "mon"]),
     ("mon 00:00-12:00", ["mon"]), ("mon-mon,mon 00:00-12:00", ["mon"])],
)  # fmt: skip
async def test_the_days_of_a_window(entrepot: CommandLine, text: str, days: list[str]) -> None:
    assert (await created(entrepot, "--blackout-window", text))["cadence"]["blackout_windows"][0]["days"] == days


@pytest.mark.parametrize("text", ["22-6", "someday 22:00-06:00", "mon- 22:00-06:00", "mon,,tue 22:00-06:00", ""])
async def test_an_invalid_window_is_refused(entrepot: CommandLine, text: str) -> None:
    result = await entrepot.run("job", "edit", "People", "--blackout-window", text)
    assert (result.exit_code, "invalid blackout window" in result.stderr) == (2, True)


async def test_a_scheduled_job_waits_for_its_scheduled_time_unless_it_is_run_now(entrepot: CommandLine) -> None:
    for options, status in (((), "Sleeping"), (("--run-now",), "Running")):
        job = await entrepot.create(name=f"job {status}", cadence={"kind": "cron", "cron": "0 3 * * *"})
        await entrepot.client.post(f"/v2/job/{job['id']}/pause")
        resumed = await entrepot.run("job", "resume", job["id"], *options)
        assert f": {status}" in resumed.stdout
        assert ("next run: 2026-05-05 03:00:00 UTC" in resumed.stdout) == (status == "Sleeping")


async def test_the_end_of_a_pause_is_not_called_a_run(entrepot: CommandLine) -> None:
    job = await entrepot.create(cadence={"kind": "cron", "cron": "0 3 * * *"})
    paused = await entrepot.run("job", "pause", job["id"], "--for", "1h")
    assert ": Paused until 2026-05-04 13:00:00 UTC\n" in paused.stdout

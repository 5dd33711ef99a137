"""`entrepot up` as users run it: in a terminal, with Ctrl-C, a restart, and processes that are killed."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.canary import found_in
from tests.integration.support import canaries
from tests.integration.support.terminal import ENTREPOT, IN_TERMINAL, TIMEOUT_SECONDS, Up

ROOT = Path(__file__).resolve().parents[2]
CTRL_C = b"\x03"

Start = Callable[..., Up]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Up] = []

    def up(*arguments: str, data_dir: Path = tmp_path / "data") -> Up:
        started.append(Up(data_dir, *arguments))
        return started[-1]

    yield up
    for terminal in started:
        terminal.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Start one `entrepot up` with the example data, shared by tests that leave it running."""
    files = tmp_path_factory.mktemp("files")
    (files / "contacts.csv").write_text("id,email\n1,a@example.com\n2,b@example.com\n")
    data_dir = tmp_path_factory.mktemp("up") / "data"
    up = Up(data_dir, "--with-example", "--files", str(files), ENTREPOT_ALLOW_PRIVATE_NETWORKS="true")
    up.wait_for(r"is Completed:\s+2,699 read, 2,699 accepted, 0 rejected")
    yield up
    up.close()


def all_gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=30)[1]


def test_ctrl_c_stops_all_processes_and_a_restart_preserves_the_data(start: Start) -> None:
    up = start("--with-example")
    up.wait_for(r"Ready after [\d.]+ s")
    up.wait_for(r"is Completed:\s+2,699 read")
    processes = up.supervisor.children(recursive=True)
    assert len(processes) >= 7, "the broker, its watchdog and five roles"
    up.press(CTRL_C)
    assert up.wait() == 0
    assert "Stopped. All data is preserved." in up.screen
    assert "Traceback" not in up.screen
    assert all_gone(processes)

    again = start("--with-example")
    again.wait_for(r"is Completed:\s+2,699 read")
    assert [(job["run"], job["name"]) for job in again.json("job", "list")] == [(1, "Flights of New York")]
    again.press(CTRL_C)
    assert again.wait() == 0


def test_all_processes_end_when_the_supervisor_is_killed(start: Start) -> None:
    up = start()
    up.wait_for("Ready after")
    processes = up.supervisor.children(recursive=True)
    up.supervisor.kill()
    assert all_gone(processes)


def test_closing_the_terminal_stops_all_processes(start: Start) -> None:
    up = start()
    up.wait_for("Ready after")
    processes = [up.supervisor, *up.supervisor.children(recursive=True)]
    up.close_terminal()
    assert all_gone(processes)
    assert not (up.data_dir / "api.json").exists(), "the API was stopped cleanly"


def test_a_second_ctrl_c_during_startup_forces_the_stop(start: Start) -> None:
    up = start()
    up.wait_for("starting Kafka")
    processes = up.supervisor.children(recursive=True)
    up.press(CTRL_C)
    up.wait_for("Stopping")
    up.press(CTRL_C)
    assert up.wait() == 0
    assert all_gone(processes)


def test_a_second_start_on_the_same_data_is_refused_and_names_the_first(running: Up) -> None:
    second = running.run("up")
    assert second.returncode == 6
    assert f"in use by process {running.supervisor.pid}; stop it" in second.stderr


def test_a_configured_port_that_is_in_use_is_refused(running: Up, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        refused = running.run("up", "--port", str(port), "--data-dir", str(tmp_path))
    assert refused.returncode == 6
    assert f"port {port} on 127.0.0.1 is in use" in refused.stderr
    assert "Stopping" not in refused.stdout
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        refused = running.run("up", "--port", "0", "--data-dir", str(tmp_path), ENTREPOT_BROKER_PORT=str(port))
    assert refused.returncode == 6
    assert f"broker: 127.0.0.1:{port} is in use by" in refused.stderr
    assert "Stopping" not in refused.stdout


@pytest.mark.parametrize("role", ["control", "runner", "lane-backfill", "api"])
def test_a_role_that_is_killed_is_restarted(running: Up, role: str) -> None:
    process = running.role(role)
    process.kill()
    running.wait_for(f"{role} exited with signal SIGKILL.* restarting in 0.2 s")
    assert eventually(lambda: running.run("job", "run", "Flights of New York", "--wait").returncode == 0)


def test_a_broker_that_is_killed_restarts_with_its_data_and_port(running: Up) -> None:
    before = running.json("topics")
    jvm = next(child for child in running.supervisor.children() if "kafka.Kafka" in child.cmdline())
    jvm.kill()
    running.wait_for("broker: Kafka was killed by signal 9")
    assert eventually(lambda: running.run("topics").returncode == 0)
    after = running.json("topics")
    assert [topic["offsets"] for topic in after] >= [topic["offsets"] for topic in before]
    assert eventually(lambda: running.run("job", "run", "Flights of New York", "--wait").returncode == 0)


def test_the_backfill_lane_has_a_lower_os_priority_than_the_realtime_lane(running: Up) -> None:
    assert running.role("lane-backfill").nice() == running.role("lane-realtime").nice() + 10


def test_the_life_of_a_job_from_create_to_restore(running: Up) -> None:
    creation = running.run("job", "create", "--provider", "file", "--name", "Contacts", "--wait",
                       "source=contacts.csv", "stream=contacts")  # fmt: skip
    assert (creation.returncode, creation.stderr.count("\n")) == (0, 1), "only the name of the cluster"
    assert (
        creation.stdout.splitlines()[-1] == "Completed: 2 read, 2 accepted, 0 rejected, 0 duplicate, 0 omitted in total"
    )
    job = running.json("job", "show", "Contacts")
    assert running.json("job", "show", job["id"][:8])["id"] == job["id"]
    assert running.run("job", "edit", "Contacts", "--description", "People", "time_zone=Europe/Vienna").returncode == 0
    assert [revision["version"] for revision in running.json("job", "history", "Contacts")] == [2, 1]
    assert "+  time_zone: Europe/Vienna" in running.run("job", "diff", "Contacts").stdout.splitlines()
    assert running.run("job", "revert", "Contacts", "1").returncode == 0
    assert "time_zone" not in running.json("job", "show", "Contacts")["configuration"]
    nightly = running.run("job", "edit", "Contacts", "--cadence", "0 3 * * *")
    assert nightly.stdout.splitlines()[-1].endswith("its schedule starts with its next run: use `run`")
    refused = running.run("job", "resume", "Contacts")
    assert refused.returncode == 4, "it is Completed"
    assert "allowed: edit, run, kill" in refused.stderr
    early = running.run("job", "show", "Contacts", "--as-of", "1h")
    assert (early.returncode, "did not exist at" in early.stderr) == (3, True)
    shown_job = running.run("job", "show", "Contacts").stdout
    created_line = next(line for line in shown_job.splitlines() if "created" in line)
    shown = running.json("job", "show", "Contacts", "--as-of", " ".join(created_line.split()[1:]))
    second = slice(len("2026-11-03T14:03:00"))
    history = running.json("job", "history", "Contacts")
    versions = [revision["version"] for revision in history if revision["at"][second] <= history[-1]["at"][second]]
    assert shown["configuration_version"] == max(versions), (
        "a displayed time can be typed, and means the end of that second"
    )
    assert running.run("job", "kill", "Contacts").returncode == 0
    assert "Contacts" not in running.run("job", "list").stdout
    assert running.run("job", "restore", "Contacts").stdout.endswith("Contacts: Paused\n")
    log = running.run("job", "logs", "Contacts").stdout
    assert [line.split()[3] for line in log.splitlines()][:1] == ["Created"]
    assert "Restored" in log


def test_validation_errors_name_each_field(running: Up) -> None:
    invalid = running.run(
        "job", "create", "--provider", "file", "--name", "X", "source=../etc/passwd", "header_row=maybe"
    )
    assert invalid.returncode == 5
    assert "/configuration/stream: required" in invalid.stderr
    assert "/configuration/header_row: " in invalid.stderr
    missing = running.run("job", "create", "--provider", "file", "--name", "X", "source=none.csv", "stream=x")
    assert missing.returncode == 5
    assert "none.csv" in missing.stderr
    assert running.run("job", "show", "no such job").returncode == 3
    assert running.run("job", "create", "--provider", "unknown", "--name", "X").returncode == 3
    assert running.run("job", "list", ENTREPOT_TOKEN="wrong").returncode == 5


def test_providers_streams_metrics_and_tokens_are_shown(running: Up) -> None:
    assert [provider["name"] for provider in running.json("provider", "list")] == ["collect", "file"]
    assert "source*" in running.run("provider", "show", "file").stdout
    flights = next(stream for stream in running.json("stream", "list") if stream["stream"] == "flights")
    assert flights["count"] >= 2699
    assert running.json("metric", "--stream", "flights")["total"]["accepted"] >= 2699
    assert running.run("metric").stdout.splitlines()[-1].startswith("total")
    token = running.json("token", "create", "--name", "report", "--role", "viewer")
    assert running.run("job", "list", ENTREPOT_TOKEN=token["token"]).returncode == 0
    assert running.run("job", "kill", "Flights of New York", ENTREPOT_TOKEN=token["token"]).returncode == 5
    assert running.run("token", "revoke", token["id"]).returncode == 0
    assert running.run("sign-in").stdout.startswith("http://127.0.0.1:")


def test_verify_proves_the_log_and_the_views_can_be_rebuilt(running: Up) -> None:
    jobs = running.json("job", "list")
    tallies = running.json("verify")
    assert sum(tally["events"] for tally in tallies) > 0
    assert not any(tally["difference_count"] or tally["unanswered"] for tally in tallies)
    one_job = running.run("verify", jobs[0]["id"])
    assert one_job.returncode == 0
    assert one_job.stdout.splitlines()[-1].startswith("Verified: ")
    rebuilt = running.run("views", "rebuild")
    assert (rebuilt.returncode, rebuilt.stderr.count("\n")) == (0, 1), "only the name of the cluster"
    assert running.json("job", "list") == jobs


def test_the_doctor_reports_no_problem(running: Up) -> None:
    report = running.run("doctor")
    assert report.returncode == 0, report.stdout
    assert {line[:4].strip() for line in report.stdout.splitlines()} == {"ok"}, report.stdout


@pytest.mark.parametrize("columns", ["80", "40"])
def test_tables_fit_the_width_of_a_narrow_terminal(running: Up, columns: str) -> None:
    command = [sys.executable, "-c", IN_TERMINAL, *ENTREPOT, "job", "list"]
    shown = subprocess.run(
        command, capture_output=True, text=True, check=True, env=running.environment | {"COLUMNS": columns}
    ).stdout
    cluster, *lines = (re.sub(r"\x1b\[[0-9;]*m", "", line) for line in shown.splitlines())
    assert cluster.startswith("Entrepot at http://")
    assert max(map(len, lines)) <= int(columns)
    assert any("Completed" in line for line in lines)


@pytest.mark.parametrize("page", ["README.md", "docs/consuming-events.md"])
def test_the_documented_consumer_works(running: Up, page: str, tmp_path: Path) -> None:
    code = re.findall(r"```python\n(.+?)```", (ROOT / page).read_text(), re.DOTALL)[0]
    address = json.loads((running.data_dir / "api.json").read_bytes())["url"]
    running.run("kafka-config", "--format", "python", "--output", str(tmp_path / "kafka_settings.py"))
    code = code.replace("JobFailed", "JobCompleted").replace("{event['code']} {event['params']}", "{kind}")
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=running.environment | {"ENTREPOT_URL": address},
    ) as consumer:
        try:
            assert consumer.stdout is not None
            jobs = {job["id"] for job in running.json("job", "list", "--status", "Completed")}
            assert any(job in line for line in consumer.stdout for job in jobs)
        finally:
            consumer.kill()


def test_the_documented_producer_works(running: Up, tmp_path: Path) -> None:
    code = re.findall(r"```python\n(.+?)```", (ROOT / "docs" / "collecting.md").read_text(), re.DOTALL)[0]
    running.run("kafka-config", "--format", "python", "--output", str(tmp_path / "kafka_settings.py"))
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=TIMEOUT_SECONDS)
    assert eventually(lambda: any(stream["stream"] == "visits" for stream in running.json("stream", "list")))


def test_secrets_of_sources_are_found_nowhere(running: Up) -> None:
    """A source gets the canary and repeats it; it stands nowhere, in no form, but as ciphertext."""
    address = json.loads((running.data_dir / "api.json").read_bytes())["url"]
    token = (running.data_dir / "admin-token").read_text().strip()
    with canaries.source() as host:
        jobs, answers = asyncio.run(canaries.run_jobs(address, token, host))
        configuration = json.dumps({"source": canaries.sources(host)["refused"], "stream": "secrets"})
        create = ("job", "create", "--provider", "file", "--name", "by command", "--config", "@-")
        commands = [running.run(*create, stdin=configuration), running.run(*create, "--draft", stdin=configuration)]
    assert [command.returncode for command in commands] == [5, 0], commands
    commands += [running.run("job", part, jobs["refused"]["id"]) for part in ("show", "logs")]
    commands += [running.run("job", "diff", jobs["valid"]["id"])]
    assert {name: job["status"] for name, job in jobs.items()} == dict.fromkeys(jobs, "Failed") | {"valid": "Completed"}
    assert jobs["valid"]["run"] == 3, "every edit has kept the secret"

    paths = [f"/v2/job/{job['id']}{part}" for job in jobs.values() for part in ("", "/history", "/configurations")]
    paths += [f"/job/{job['id']}" for job in jobs.values()]
    paths += ["/", "/v2/job", "/v2/job/logs", "/v2/dead-letters", "/metrics", "/readyz", "/openapi.json"]
    content = canaries.everything(running.data_dir, address, token, paths)
    content |= {"answers": repr(answers).encode(), "commands": repr(commands).encode()}
    content |= {"processes": canaries.processes(running.supervisor), "screen": running.screen.encode()}
    assert {place: forms for place, data in content.items() if (forms := found_in(data))} == {}

    sealed = {place.rpartition("/")[2] for place, data in content.items() if b"$sealed" in data}
    assert sealed >= {"jobs.commands", "jobs.events", "entrepot.runner-jobs-changelog"}, "what is searched is complete"
    assert "•••@".encode() in content["messages.rejected"]
    assert "•••@" in jobs["refused"]["summary"]
    assert running.run("verify").returncode == 0


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
    return True


def test_sigterm_ends_a_role_cleanly(running: Up) -> None:
    environment = running.environment | {"ENTREPOT_WORKER_ID": "other"}
    role = subprocess.Popen([*ENTREPOT, "worker", "control"], env=environment, stdout=subprocess.DEVNULL)
    try:
        assert eventually(lambda: psutil.Process(role.pid).num_threads() > 1)
        role.send_signal(signal.SIGTERM)
        assert role.wait(TIMEOUT_SECONDS) in {0, -signal.SIGTERM}, (
            "before the handler is installed, the default action ends it"
        )
    finally:
        role.kill()
        role.wait()

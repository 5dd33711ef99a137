"""`entrepot up` as a person uses it: a terminal, Ctrl-C, a second start, and processes that die."""

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

from tests.integration.support.terminal import ENTREPOT, IN_TERMINAL, PATIENCE, Up

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
    for each in started:
        each.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One that runs with the example imported, for the tests that only look or disturb it a little."""
    files = tmp_path_factory.mktemp("files")
    (files / "contacts.csv").write_text("id,email\n1,a@example.com\n2,b@example.com\n")
    up = Up(tmp_path_factory.mktemp("up") / "data", "--with-example", "--files", str(files))
    up.shows(r"is Completed:\s+2,699 read, 2,699 accepted, 0 rejected")
    yield up
    up.close()


def all_gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=30)[1]


def test_ctrl_c_stops_everything_and_a_second_start_finds_all(start: Start) -> None:
    up = start("--with-example")
    up.shows(r"Ready after [\d.]+ s")
    up.shows(r"is Completed:\s+2,699 read")
    everything = up.supervisor.children(recursive=True)
    assert len(everything) >= 7, "the broker, its watchdog and five roles"
    up.press(CTRL_C)
    assert up.ends() == 0
    assert "Stopped. All data is preserved." in up.screen
    assert "Traceback" not in up.screen
    assert all_gone(everything)

    again = start("--with-example")
    again.shows(r"is Completed:\s+2,699 read")
    assert [(each["run"], each["name"]) for each in again.json("job", "list")] == [(1, "Flights of New York")]
    again.press(CTRL_C)
    assert again.ends() == 0


def test_a_supervisor_that_is_killed_takes_everything_along(start: Start) -> None:
    up = start()
    up.shows("Ready after")
    everything = up.supervisor.children(recursive=True)
    up.supervisor.kill()
    assert all_gone(everything)


def test_a_terminal_that_is_closed_stops_everything(start: Start) -> None:
    up = start()
    up.shows("Ready after")
    everything = [up.supervisor, *up.supervisor.children(recursive=True)]
    up.close_terminal()
    assert all_gone(everything)
    assert not (up.data_dir / "api.json").exists(), "the API had the time to tidy up"


def test_ctrl_c_while_it_starts_and_again_to_hurry(start: Start) -> None:
    up = start()
    up.shows("starting Kafka")
    everything = up.supervisor.children(recursive=True)
    up.press(CTRL_C)
    up.shows("Stopping")
    up.press(CTRL_C)
    assert up.ends() == 0
    assert all_gone(everything)


def test_a_second_one_on_the_same_data_is_refused_and_named_the_first(running: Up) -> None:
    second = running.run("up")
    assert second.returncode == 6
    assert f"in use by process {running.supervisor.pid}; stop it" in second.stderr


def test_a_port_that_was_chosen_and_is_taken_is_refused(running: Up, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = running.run("up", "--port", str(port), "--data-dir", str(tmp_path))
    assert refused.returncode == 6
    assert f"port {port} on 127.0.0.1 is in use" in refused.stderr
    assert "Stopping" not in refused.stdout
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = running.run("up", "--port", "0", "--data-dir", str(tmp_path), ENTREPOT_BROKER_PORT=str(port))
    assert refused.returncode == 6
    assert f"broker: 127.0.0.1:{port}: Another process listens" in refused.stderr
    assert "Stopping" not in refused.stdout


@pytest.mark.parametrize("role", ["control", "runner", "lane-backfill", "api"])
def test_a_role_that_is_killed_comes_back(running: Up, role: str) -> None:
    process = next(each for each in running.supervisor.children() if role in each.cmdline())
    process.kill()
    running.shows(f"{role} exited with signal SIGKILL.* restarting in 0.2 s")
    assert eventually(lambda: running.run("job", "run", "Flights of New York", "--wait").returncode == 0)


def test_the_broker_comes_back_with_its_data_and_its_port(running: Up) -> None:
    before = running.json("topics")
    jvm = next(each for each in running.supervisor.children() if "kafka.Kafka" in each.cmdline())
    jvm.kill()
    running.shows("broker: Kafka was killed by signal 9")
    assert eventually(lambda: running.run("topics").returncode == 0)
    after = running.json("topics")
    assert [each["offsets"] for each in after] >= [each["offsets"] for each in before]
    assert eventually(lambda: running.run("job", "run", "Flights of New York", "--wait").returncode == 0)


def test_history_has_a_lower_priority_than_what_happens_now(running: Up) -> None:
    nice = {each.cmdline()[4]: each.nice() for each in running.supervisor.children() if "worker" in each.cmdline()}
    assert nice["lane-backfill"] == nice["lane-realtime"] + 10


def test_a_job_from_its_creation_to_its_end(running: Up) -> None:
    made = running.run("job", "create", "--provider", "file", "--name", "Contacts", "--wait",
                       "source=contacts.csv", "stream=contacts")  # fmt: skip
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.splitlines()[-1] == "Completed: 2 read, 2 accepted, 0 rejected, 0 duplicate, 0 omitted in total"
    job = running.json("job", "show", "Contacts")
    assert running.json("job", "show", job["id"][:8])["id"] == job["id"]
    assert running.run("job", "edit", "Contacts", "--description", "People", "timestamp_field=email").returncode == 0
    assert [each["version"] for each in running.json("job", "history", "Contacts")] == [2, 1]
    assert "+  timestamp_field: email" in running.run("job", "diff", "Contacts").stdout.splitlines()
    assert running.run("job", "revert", "Contacts", "1").returncode == 0
    assert "timestamp_field" not in running.json("job", "show", "Contacts")["configuration"]
    nightly = running.run("job", "edit", "Contacts", "--cadence", "0 3 * * *")
    assert nightly.stdout.splitlines()[-1].endswith("its cadence begins with its next run: `run` starts it")
    refused = running.run("job", "resume", "Contacts")
    assert refused.returncode == 4, "it is Completed"
    assert "possible now: edit, run, kill" in refused.stderr
    early = running.run("job", "show", "Contacts", "--as-of", "1h")
    assert (early.returncode, "did not exist yet at" in early.stderr) == (3, True)
    created = next(each for each in running.run("job", "show", "Contacts").stdout.splitlines() if "created" in each)
    shown = running.json("job", "show", "Contacts", "--as-of", " ".join(created.split()[1:]))
    second = slice(len("2026-11-03T14:03:00"))
    history = running.json("job", "history", "Contacts")
    by_then = [each["version"] for each in history if each["at"][second] <= history[-1]["at"][second]]
    assert shown["configuration_version"] == max(by_then), "what a table shows can be typed, and ends its second"
    assert running.run("job", "kill", "Contacts").returncode == 0
    assert "Contacts" not in running.run("job", "list").stdout
    assert running.run("job", "restore", "Contacts").stdout.endswith("Contacts: Paused\n")
    log = running.run("job", "logs", "Contacts").stdout
    assert [line.split()[3] for line in log.splitlines()][:1] == ["Created"]
    assert "Restored" in log


def test_what_is_wrong_is_said_field_by_field(running: Up) -> None:
    wrong = running.run(
        "job", "create", "--provider", "file", "--name", "X", "source=../etc/passwd", "header_row=maybe"
    )
    assert wrong.returncode == 5
    assert "/configuration/stream: Field required" in wrong.stderr
    assert "/configuration/header_row: " in wrong.stderr
    missing = running.run("job", "create", "--provider", "file", "--name", "X", "source=none.csv", "stream=x")
    assert missing.returncode == 5
    assert "none.csv" in missing.stderr
    assert running.run("job", "show", "no such job").returncode == 3
    assert running.run("job", "create", "--provider", "nobody", "--name", "X").returncode == 3
    assert running.run("job", "list", ENTREPOT_TOKEN="wrong").returncode == 5


def test_everything_can_be_looked_at(running: Up) -> None:
    assert [each["name"] for each in running.json("provider", "list")] == ["collect", "file"]
    assert "source*" in running.run("provider", "show", "file").stdout
    flights = next(each for each in running.json("stream", "list") if each["stream"] == "flights")
    assert flights["count"] >= 2699
    assert running.json("metric", "--stream", "flights")["total"]["accepted"] >= 2699
    assert running.run("metric").stdout.splitlines()[-1].startswith("total")
    made = running.json("token", "create", "--name", "report", "--role", "viewer")
    assert running.run("job", "list", ENTREPOT_TOKEN=made["token"]).returncode == 0
    assert running.run("job", "kill", "Flights of New York", ENTREPOT_TOKEN=made["token"]).returncode == 5
    assert running.run("token", "revoke", made["id"]).returncode == 0
    assert running.run("sign-in").stdout.startswith("http://127.0.0.1:")


def test_the_log_proves_itself_and_the_views_can_be_made_again(running: Up) -> None:
    jobs = running.json("job", "list")
    tallies = running.json("verify")
    assert sum(each["events"] for each in tallies) > 0
    assert not any(each["found"] or each["unanswered"] for each in tallies)
    of_one = running.run("verify", jobs[0]["id"])
    assert of_one.returncode == 0
    assert of_one.stdout.splitlines()[-1].startswith("Verified: ")
    rebuilt = running.run("views", "rebuild")
    assert (rebuilt.returncode, rebuilt.stderr) == (0, "")
    assert running.json("job", "list") == jobs


def test_the_doctor_finds_nothing_wrong(running: Up) -> None:
    found = running.run("doctor")
    assert found.returncode == 0, found.stdout
    assert {line[:4].strip() for line in found.stdout.splitlines()} == {"ok"}, found.stdout


@pytest.mark.parametrize("columns", ["80", "40"])
def test_tables_keep_to_the_width_of_a_narrow_terminal(running: Up, columns: str) -> None:
    command = [sys.executable, "-c", IN_TERMINAL, *ENTREPOT, "job", "list"]
    shown = subprocess.run(
        command, capture_output=True, text=True, check=True, env=running.environment | {"COLUMNS": columns}
    ).stdout
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in shown.splitlines()]
    assert max(map(len, lines)) <= int(columns)
    assert any("Completed" in line for line in lines)


@pytest.mark.parametrize("page", ["README.md", "docs/consuming-events.md"])
def test_the_example_consumer_of_the_pages_works_as_it_stands(running: Up, page: str) -> None:
    code = re.findall(r"```python\n(.+?)```", (ROOT / page).read_text(), re.DOTALL)[0]
    address = json.loads((running.data_dir / "api.json").read_bytes())["url"]
    kafka = (running.data_dir / "kafka-address").read_text().strip()
    code = code.replace("http://127.0.0.1:8470", address).replace("127.0.0.1:9470", kafka)
    code = code.replace("JobFailed", "JobCompleted").replace("event['message']", "kind")
    with subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True) as consumer:
        try:
            assert consumer.stdout is not None
            jobs = {each["id"] for each in running.json("job", "list", "--status", "Completed")}
            assert any(each in line for line in consumer.stdout for each in jobs)
        finally:
            consumer.kill()


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            return False
    return True


def test_the_signals_of_a_container_end_a_role_cleanly(running: Up) -> None:
    environment = running.environment | {"ENTREPOT_WORKER_ID": "other"}
    role = subprocess.Popen([*ENTREPOT, "worker", "control"], env=environment, stdout=subprocess.DEVNULL)
    try:
        assert eventually(lambda: psutil.Process(role.pid).num_threads() > 1)
        role.send_signal(signal.SIGTERM)
        assert role.wait(PATIENCE) in {0, -signal.SIGTERM}, "before it has begun, the system ends it"
    finally:
        role.kill()
        role.wait()

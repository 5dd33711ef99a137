"""Start, monitor and stop the embedded broker. Restarts are the task of the supervisor.

Kafka relies on replicas instead of fsync, so a power failure can lose data that the operating system has not written
yet. A kill loses no data.
"""

import asyncio
import base64
import contextlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from aiokafka.errors import KafkaError

from app.kafka.clients import KafkaCluster, Security
from app.kafka.cluster import USER
from app.settings import address_of
from app.supervisor.broker.config import JVM_FLAGS, PROPERTIES, PortConflictPolicy, choose_ports, properties
from app.supervisor.broker.directory import Directory, DirectoryLock
from app.supervisor.broker.errors import NotReady
from app.supervisor.broker.jars import class_path
from app.supervisor.broker.java import find_java, jvm_environment, wheel_java
from app.supervisor.ports import address, holder_of, loopback
from app.tasks import cancel_all

READY_TIMEOUT_SECONDS: Final = 60.0
STOP_TIMEOUT_SECONDS: Final = 15.0
LOG_CHECK_INTERVAL_SECONDS: Final = 10.0
REQUEST_TIMEOUT_MS: Final = 2_000


class Broker:
    """A running Kafka. `async with await Broker.start(…) as broker` stops it on exit."""

    def __init__(
        self,
        directory: Directory,
        lock: DirectoryLock,
        jvm: asyncio.subprocess.Process,
        port: int,
        security: Security,
    ) -> None:
        self.port = port
        self.cluster = KafkaCluster(address(loopback(), port), security)
        self.pid = jvm.pid
        self.data_dir = directory.root
        self.password_file = directory.password
        self._directory = directory
        self._lock = lock
        self._jvm = jvm
        self._watchdog: asyncio.subprocess.Process | None = None
        self._stopping = False

    @classmethod
    async def start(
        cls,
        data_dir: Path,
        *,
        port: int = 0,
        on_port_conflict: PortConflictPolicy = "refuse",
        password: str = "",
        on_progress: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Start Kafka on the loopback interface and wait until it is ready. Raise a `BrokerError` on failure.

        Existing data is used. `port` 0 means any free one; without a `password`, that of the data or a new one is used.
        """
        directory = Directory(data_dir)
        lock = DirectoryLock(directory)
        try:
            directory.check_free_space()
            security = Security("SASL_PLAINTEXT", user=USER, password=directory.ensure_password(password))
            java, jars = await asyncio.gather(find_java(os.environ, wheel_java()), class_path(on_progress, data_dir))
            await directory.wait_until_unlocked()
            broker_port, controller_port = choose_ports(port, on_port_conflict)
            if port not in {0, broker_port}:
                on_progress(f"port {port} is in use by {holder_of(port)}; using {broker_port} for Kafka")
            directory.properties.write_text(properties(loopback(), broker_port, controller_port))
            directory.rotate_log()
            command = (str(java), *JVM_FLAGS, "-cp", jars)
            if not directory.formatted:
                on_progress("formatting the data directory of the broker (only once)")
                await format_data(command, directory)
            on_progress(f"starting Kafka on {address(loopback(), broker_port)}")
            broker = cls(directory, lock, await spawn(directory, *command, "kafka.Kafka"), broker_port, security)
        except BaseException:
            lock.release()
            raise
        try:
            await broker._wait_until_ready()
        except BaseException:
            await broker.stop()
            raise
        return broker

    async def _wait_until_ready(self) -> None:
        self._directory.jvm_pid.write_text(str(self.pid))
        self._watchdog = await watchdog(self.pid)
        ready = asyncio.ensure_future(wait_ready(self.cluster))
        died = asyncio.ensure_future(self.wait_closed())
        try:
            await asyncio.wait((ready, died), timeout=READY_TIMEOUT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if died.done():
                await died
            if not ready.done():
                raise NotReady(
                    f"No response for {READY_TIMEOUT_SECONDS:.0f} s. {NotReady.__doc__}\n{self._directory.log_tail()}"
                )
            await ready
        finally:
            await cancel_all(ready, died)

    async def wait_closed(self) -> None:
        """Wait until the broker was stopped. Raise a `BrokerError` if it exited unexpectedly.

        Also limits the size of its log.
        """
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._jvm.wait(), LOG_CHECK_INTERVAL_SECONDS)
                break
            self._directory.bound_log()
        if not self._stopping:
            raise self._directory.exit_error(describe_exit(self._jvm.returncode))

    async def stop(self) -> None:
        """Stop Kafka gracefully, and kill it after a timeout. May be called repeatedly."""
        self._stopping = True
        try:
            if self._jvm.returncode is None:
                self._jvm.terminate()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._jvm.wait(), STOP_TIMEOUT_SECONDS)
        finally:
            for process in (self._jvm, self._watchdog):
                if process and process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
                    await process.wait()
            self._directory.jvm_pid.unlink(missing_ok=True)
            self._lock.release()

    def kill(self) -> None:
        """Kill Kafka, unless it has exited: its process ID may have been reused."""
        if self._jvm.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._jvm.kill()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def describe_exit(returncode: int | None) -> str:
    """Describe the exit of a process."""
    assert returncode is not None
    return f"was killed by signal {-returncode}" if returncode < 0 else f"exited with status {returncode}"


async def spawn(directory: Directory, *command: str) -> asyncio.subprocess.Process:
    """Start a JVM with the properties file, in its own session so that Ctrl-C only reaches the supervisor."""
    with directory.log.open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *command,
            PROPERTIES,
            cwd=directory.root,
            env=jvm_environment(os.environ),
            umask=0o077,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


async def watchdog(pid: int) -> asyncio.subprocess.Process:
    """Start a shell that kills the JVM when this process ends, which closes the standard input of the shell.

    PR_SET_PDEATHSIG fires when the starting *thread* ends, needs code between fork and exec, and only exists on Linux.
    The pipe must not be inherited by other child processes.
    """
    return await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", 'read -r _; kill -KILL "$1"', "broker-watchdog", str(pid)),
        env={},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )


async def format_data(command: tuple[str, ...], directory: Directory) -> None:
    """Format the data directory with a cluster ID. An interrupted format is repeated."""
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
    tool = ("kafka.tools.StorageTool", "format", "--ignore-formatted", f"--cluster-id={cluster_id}", "--config")
    formatter = await spawn(directory, *command, *tool)
    try:
        await formatter.wait()
    finally:
        if formatter.returncode is None:
            formatter.kill()
            await formatter.wait()
    if formatter.returncode != 0:
        raise directory.exit_error(f"could not format {directory.data}: {describe_exit(formatter.returncode)}")


async def wait_ready(cluster: KafkaCluster) -> None:
    """Wait until the broker accepts requests and is registered with its controller."""
    while True:
        if await is_ready(cluster):
            return
        await asyncio.sleep(0.05)


async def is_ready(cluster: KafkaCluster) -> bool:
    """Whether the broker accepts requests and lists itself; an open port is not enough."""
    host, port = address_of(cluster.bootstrap_servers)
    try:  # probe the port first: the client logs every refused connection as an error
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    admin = cluster.admin(REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        return bool((await admin.describe_cluster())["brokers"])
    except KafkaError:
        return False
    finally:
        await admin.close()

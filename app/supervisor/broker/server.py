"""The embedded broker's life: start, readiness, watching, stop. Knows no topics and restarts nothing by itself.

A power cut can cost what the operating system had not written yet, as Kafka relies on replicas for that; a kill can't.
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

from app.kafka.clients import KafkaCluster
from app.supervisor.broker.config import HOST, JVM_FLAGS, PROPERTIES, WhenTaken, choose_ports, properties
from app.supervisor.broker.directory import Directory, Hold
from app.supervisor.broker.errors import NotReady
from app.supervisor.broker.jars import class_path
from app.supervisor.broker.java import find_java, wheel_java

READY_SECONDS: Final = 60.0
STOP_SECONDS: Final = 15.0
LOG_CHECK_SECONDS: Final = 10.0
REQUEST_TIMEOUT_MS: Final = 2_000


class Broker:
    """A running Kafka. `async with await Broker.start(…) as broker` stops it at the end, however that comes."""

    def __init__(self, directory: Directory, hold: Hold, jvm: asyncio.subprocess.Process, port: int) -> None:
        self.port = port
        self.bootstrap_servers = f"{HOST}:{port}"
        self.pid = jvm.pid
        self.data_dir = directory.root
        self._directory = directory
        self._hold = hold
        self._jvm = jvm
        self._watchdog: asyncio.subprocess.Process | None = None
        self._stopping = False

    @classmethod
    async def start(
        cls,
        data_dir: Path,
        *,
        port: int = 0,
        when_taken: WhenTaken = "refuse",
        on_progress: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Start Kafka on loopback and return when it answers; a `BrokerError` says why not and what to do.

        `port` 0 is any free one. Data of an earlier start in `data_dir` is found again, on whatever port.
        """
        directory = Directory(data_dir)
        hold = Hold(directory)
        try:
            directory.refuse_full_disk()
            java, jars = await asyncio.gather(find_java(os.environ, wheel_java()), class_path(on_progress))
            await directory.wait_let_go()
            broker_port, controller_port = choose_ports(port, when_taken)
            if port not in {0, broker_port}:
                on_progress(f"port {port} is in use; using {broker_port} for Kafka")
            directory.properties.write_text(properties(broker_port, controller_port))
            directory.rotate_log()
            command = (str(java), *JVM_FLAGS, "-cp", jars)
            if not directory.formatted:
                on_progress("formatting the broker's data directory, once")
                await format_data(command, directory)
            on_progress(f"starting Kafka on {HOST}:{broker_port}")
            broker = cls(directory, hold, await spawn(directory, *command, "kafka.Kafka"), broker_port)
        except BaseException:
            hold.release()
            raise
        try:
            await broker._come_up()
        except BaseException:
            await broker.stop()
            raise
        return broker

    async def _come_up(self) -> None:
        self._directory.jvm_pid.write_text(str(self.pid))
        self._watchdog = await watchdog(self.pid)
        ready = asyncio.ensure_future(wait_ready(self.bootstrap_servers))
        died = asyncio.ensure_future(self.wait_closed())
        try:
            await asyncio.wait((ready, died), timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if died.done():
                await died
            if not ready.done():
                raise NotReady(f"No answer for {READY_SECONDS:.0f} s. {NotReady.__doc__}\n{self._directory.log_tail()}")
            await ready
        finally:
            for task in (ready, died):
                task.cancel()
            await asyncio.gather(ready, died, return_exceptions=True)

    async def wait_closed(self) -> None:
        """Return when the broker was stopped; raise a `BrokerError` that says why when it ended by itself.

        Waiting for it also bounds the size of its log.
        """
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._jvm.wait(), LOG_CHECK_SECONDS)
                break
            self._directory.bound_log()
        if not self._stopping:
            raise self._directory.explain_death(ending(self._jvm.returncode))

    async def stop(self) -> None:
        """End Kafka cleanly, or after a deadline at once. May be called again, and after it died."""
        self._stopping = True
        try:
            if self._jvm.returncode is None:
                self._jvm.terminate()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._jvm.wait(), STOP_SECONDS)
        finally:
            for process in (self._jvm, self._watchdog):
                if process and process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
                    await process.wait()
            self._directory.jvm_pid.unlink(missing_ok=True)
            self._hold.release()

    def kill(self) -> None:
        """End Kafka at once, unless it has ended: its process id may be another's by now."""
        if self._jvm.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._jvm.kill()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def ending(returncode: int | None) -> str:
    """How a process ended, for a person."""
    assert returncode is not None
    return f"was killed by signal {-returncode}" if returncode < 0 else f"ended with status {returncode}"


async def spawn(directory: Directory, *command: str) -> asyncio.subprocess.Process:
    """Start a JVM on the properties file; in its own session, as Ctrl-C is for the supervisor, which ends it last."""
    with directory.log.open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *command,
            PROPERTIES,
            cwd=directory.root,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


async def watchdog(pid: int) -> asyncio.subprocess.Process:
    """A shell that kills the JVM when we are gone, however we went: then its standard input ends.

    Linux could do it by PR_SET_PDEATHSIG, but that fires when the starting *thread* ends, needs code between fork and
    exec, and does not exist on macOS. A pipe does exist there. It must not be inherited by a forked child of ours.
    """
    return await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", 'read -r _; kill -KILL "$1"', "broker-watchdog", str(pid)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )


async def format_data(command: tuple[str, ...], directory: Directory) -> None:
    """Give the data directory a cluster id, once and for ever; a format that was cut short is done again."""
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
        raise directory.explain_death(f"could not format {directory.data}: it {ending(formatter.returncode)}")


async def wait_ready(bootstrap_servers: str) -> None:
    """Return when the broker answers the protocol and has registered with its controller."""
    while True:
        if await answers(bootstrap_servers):
            return
        await asyncio.sleep(0.05)


async def answers(bootstrap_servers: str) -> bool:
    """Whether a broker there takes requests: an open port is not enough, and too early it knows no brokers."""
    host, _, port = bootstrap_servers.rpartition(":")
    try:  # first the bare port, as the client logs each refused connection as an error
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    admin = KafkaCluster(bootstrap_servers).admin(REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        return bool((await admin.describe_cluster())["brokers"])
    except KafkaError:
        return False
    finally:
        await admin.close()

"""The embedded broker preserves acknowledged records, explains a failed start, and leaves no process behind."""

import asyncio
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidTimestampError, KafkaError

from app.data_dir import is_exposed
from app.kafka.clients import KafkaCluster
from app.kafka.topics import ensure_topics
from app.kafka.transactions import TRANSACTION_TIMEOUT_MS
from app.supervisor.broker.directory import Directory, DirectoryLock
from app.supervisor.broker.errors import BrokerExited, DataInUse, PortInUse
from app.supervisor.broker.server import Broker
from app.supervisor.ports import holder_of
from schemas.topics import FUTURE_BOUND_MS, JOBS_EVENTS, MAX_RECORD_BYTES, MAX_TRANSACTION_MS
from tests.integration.conftest import FreshBroker, MakeTopic

TIMEOUT_SECONDS = 30.0


async def write(kafka: KafkaCluster, topic: str, *values: bytes) -> None:
    async with AIOKafkaProducer(**kafka.connection(), acks="all", max_request_size=2**25) as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)


async def read(kafka: KafkaCluster, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(**kafka.connection(), isolation_level="read_committed")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.seek_to_beginning()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


async def test_acknowledged_records_survive_a_stop_and_a_kill(fresh_broker: FreshBroker) -> None:
    first = await fresh_broker()
    await ensure_topics(first.cluster, [JOBS_EVENTS], partitions=1, replication_factor=1)
    await write(first.cluster, JOBS_EVENTS.name, b"before the stop")
    await first.stop()
    await first.wait_closed()

    second = await fresh_broker()
    await write(second.cluster, JOBS_EVENTS.name, b"before the kill")
    os.kill(second.pid, signal.SIGKILL)
    with pytest.raises(BrokerExited, match="was killed by signal 9"):
        await second.wait_closed()
    await second.stop()
    second.password_file.unlink()  # as in a data directory of an earlier version

    third = await fresh_broker()
    assert third.port == first.port
    assert third.cluster.security.password not in {"", second.cluster.security.password}
    assert await read(third.cluster, JOBS_EVENTS.name, 2) == [b"before the stop", b"before the kill"]
    await third.stop()
    await third.stop()  # stopping again is allowed
    assert not psutil.pid_exists(third.pid)
    assert await asyncio.get_running_loop().run_in_executor(None, port_is_closed, third.port)


def port_is_closed(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


async def test_the_jvm_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import asyncio, pathlib, sys\n"
        "from app.supervisor.broker.server import Broker\n"
        "async def main():\n"
        "    broker = await Broker.start(pathlib.Path(sys.argv[1]))\n"
        "    print(broker.pid, flush=True)\n"
        "    await broker.wait_closed()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path / "broker"), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout
    jvm = psutil.Process(int(await parent.stdout.readline()))
    assert os.getsid(jvm.pid) != os.getsid(parent.pid), "Ctrl-C in the terminal must not reach the JVM"

    parent.kill()
    await parent.wait()

    directory = Directory(tmp_path / "broker")
    with DirectoryLock(directory):
        await directory.wait_until_unlocked()
    async with asyncio.timeout(30):
        while is_running(jvm):
            await asyncio.sleep(0.05)


async def test_a_jvm_has_no_secrets_in_its_environment_and_writes_private_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTREPOT_ADMIN_TOKEN", "hush")
    async with await Broker.start(tmp_path / "broker") as broker:
        password = broker.cluster.security.password
        for process in (psutil.Process(broker.pid), *psutil.Process().children()):
            assert "hush" not in process.environ().values()
            assert not any(password in text for text in (*process.cmdline(), *process.environ().values()))
        files = [path for path in Directory(broker.data_dir).data.rglob("*") if path.is_file()]
    assert files
    assert not any(is_exposed(path) for path in files if path.exists())
    files = [path for path in broker.data_dir.rglob("*") if path.is_file()]
    assert [path for path in files if password.encode() in path.read_bytes()] == [broker.password_file]


def is_running(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


async def test_a_cancelled_start_leaves_no_process_behind(tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    starting = asyncio.Event()

    def on_progress(message: str) -> None:
        if message.startswith("starting"):
            starting.set()

    start = asyncio.create_task(Broker.start(tmp_path / "broker", on_progress=on_progress))
    await starting.wait()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start

    assert set(psutil.Process().children()) == before


async def test_a_data_directory_in_use_is_refused_with_the_process_that_uses_it(broker: Broker) -> None:
    with pytest.raises(DataInUse, match=rf"in use by process {os.getpid()}\."):
        await Broker.start(broker.data_dir)


async def test_a_configured_port_that_is_in_use_is_refused(broker: Broker, tmp_path: Path) -> None:
    with pytest.raises(PortInUse, match=f"127.0.0.1:{broker.port} is in use by"):
        await Broker.start(tmp_path / "broker", port=broker.port)


async def test_a_change_of_port_is_reported_before_kafka_starts(tmp_path: Path) -> None:
    messages: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        holder = holder_of(port)
        async with await Broker.start(
            tmp_path / "broker", port=port, on_port_conflict="move", on_progress=messages.append
        ) as broker:
            moved = broker.port
    about_port = [message for message in messages if str(moved) in message]
    assert about_port == [
        f"port {port} is in use by {holder}; using {moved} for Kafka",
        f"starting Kafka on 127.0.0.1:{moved}",
    ]


async def test_a_jvm_that_exits_is_explained_by_its_log(tmp_path: Path) -> None:
    data = tmp_path / "broker" / "topics"
    data.mkdir(parents=True)
    (data / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=someone-elses-cluster\n")

    with pytest.raises(BrokerExited, match=r"(?s)exited with status 1.*kafka\.log.*[Nn]ode"):
        await Broker.start(tmp_path / "broker")


async def test_the_largest_record_fits(kafka: KafkaCluster, make_topic: MakeTopic) -> None:
    topic = await make_topic(f"large-{uuid4().hex[:8]}", 1, JOBS_EVENTS.config())
    largest = os.urandom(MAX_RECORD_BYTES - 1024)

    await write(kafka, topic, largest, largest)

    assert await read(kafka, topic, 2) == [largest, largest]


async def test_a_timestamp_too_far_in_the_future_is_refused(kafka: KafkaCluster, make_topic: MakeTopic) -> None:
    topic = await make_topic(f"future-{uuid4().hex[:8]}", 1, JOBS_EVENTS.config())
    now_ms = time.time_ns() // 1_000_000

    async with AIOKafkaProducer(**kafka.connection()) as producer:
        await producer.send_and_wait(topic, b"soon", timestamp_ms=now_ms + FUTURE_BOUND_MS - 60_000)
        with pytest.raises(InvalidTimestampError):
            await producer.send_and_wait(topic, b"too late", timestamp_ms=now_ms + FUTURE_BOUND_MS + 60_000)


async def test_a_transaction_timeout_above_the_limit_is_refused(kafka: KafkaCluster) -> None:
    assert TRANSACTION_TIMEOUT_MS <= MAX_TRANSACTION_MS
    producer = AIOKafkaProducer(
        **kafka.connection(), transactional_id="forever", transaction_timeout_ms=MAX_TRANSACTION_MS + 1
    )
    try:
        with pytest.raises(KafkaError, match="InvalidTransactionTimeout"):
            await producer.start()
    finally:
        await producer.stop()


async def test_committed_records_are_read_and_aborted_records_are_not(
    kafka: KafkaCluster, make_topic: MakeTopic
) -> None:
    topic = await make_topic(f"transactions-{uuid4().hex[:8]}")
    async with AIOKafkaProducer(**kafka.connection(), transactional_id=topic) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"aborted")
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic, b"committed")

    assert await read(kafka, topic, 1) == [b"committed"]

"""Only clients with the password of the embedded broker are served, and every printed form of its settings works."""

import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import CreateTopicsRequest
from confluent_kafka import Producer

from app.cli.service.kafka_config import render
from app.data_dir import prepare_data_dir
from app.kafka.clients import KafkaCluster, Security
from app.supervisor.broker.jars import class_path
from app.supervisor.broker.java import find_java, jvm_environment, wheel_java
from app.supervisor.broker.server import Broker
from app.supervisor.ports import loopback
from tests.certificates import self_signed
from tests.integration.conftest import MakeTopic
from tests.integration.support.safe_faust_rig import HoldingProxy

TIMEOUT_SECONDS = 5.0
NOBODY = 65_534
CLOSED = "the server closed the connection"
DENIED = "Authentication failed"
# Imported as root, run as nobody: the interpreter may be in a directory of root.
AS_NOBODY = f"""
import asyncio, concurrent.futures.thread, json, os, sys
from pathlib import Path
from tests.integration.test_kafka_access import intrude

os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
print(json.dumps(asyncio.run(intrude(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))))
"""


def controller_port(data_dir: Path) -> int:
    match = re.search(r"CONTROLLER://[\d.]+:(\d+)", (data_dir / "kafka.properties").read_text())
    assert match
    return int(match[1])


def intruders(cluster: KafkaCluster) -> dict[str, KafkaCluster]:
    """Return clients without the right user, password or mechanism, by the reason of their refusal."""
    servers, right = cluster.bootstrap_servers, Security("SASL_PLAINTEXT", user="entrepot", password="guessed")
    return {
        "no password": KafkaCluster(servers),
        "wrong password": KafkaCluster(servers, right),
        "empty password": KafkaCluster(servers, replace(right, password="")),
        "wrong user": KafkaCluster(servers, replace(cluster.security, user="admin")),
        "wrong mechanism": KafkaCluster(servers, replace(right, mechanism="SCRAM-SHA-256")),
    }


async def test_clients_without_the_password_are_refused(kafka: KafkaCluster) -> None:
    assert await kafka.refusal(TIMEOUT_SECONDS) == ""
    refusals = {name: await cluster.refusal(TIMEOUT_SECONDS) for name, cluster in intruders(kafka).items()}
    assert refusals["no password"].startswith(CLOSED)
    assert all(refusals[name].startswith(DENIED) for name in ("wrong password", "empty password", "wrong user"))
    assert "mechanism" in refusals["wrong mechanism"]


async def test_a_forged_command_is_refused(kafka: KafkaCluster, make_topic: MakeTopic) -> None:
    topic = await make_topic(f"forged-{uuid4().hex[:8]}")
    for name, cluster in intruders(kafka).items():
        assert await write(cluster, topic), name
    assert await write(kafka, topic) == ""


async def write(cluster: KafkaCluster, topic: str) -> str:
    """Write a record, and return the error."""
    producer = AIOKafkaProducer(**cluster.connection(), request_timeout_ms=int(TIMEOUT_SECONDS * 1000))
    try:
        await producer.start()
        await producer.send_and_wait(topic, b"forged")
    except KafkaError as error:
        return repr(error)
    finally:
        await producer.stop()
    return ""


async def test_the_controller_refuses_clients_without_the_password(broker: Broker) -> None:
    port = controller_port(broker.data_dir)
    for name, cluster in intruders(broker.cluster).items():
        assert await create_topic(port, cluster, "forged"), name
    assert await create_topic(port, broker.cluster, f"allowed-{uuid4().hex[:8]}") == "", "the request itself is valid"


async def create_topic(port: int, cluster: KafkaCluster, name: str) -> str:
    """Create a topic through the controller, and return the error."""
    arguments = cluster.connection()
    del arguments["bootstrap_servers"]
    request = CreateTopicsRequest([(name, 1, 1, [], [])], timeout=5_000, validate_only=False)
    try:
        connection = await create_conn(loopback(), port, request_timeout_ms=5_000, **arguments)
        try:
            response = await connection.send(request)
        finally:
            connection.close()
    except (KafkaError, OSError) as error:
        return repr(error)
    return "".join(f"{code}: {message}" for _, code, message in response.topic_errors if code)


@pytest.fixture
def public_dir() -> Iterator[Path]:
    """A directory that every user may enter, unlike those of pytest."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_another_local_user_can_neither_read_nor_write(public_dir: Path) -> None:
    prepare_data_dir(public_dir / "data")
    async with await Broker.start(public_dir / "data" / "broker") as broker:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", AS_NOBODY),
            *(str(broker.data_dir), broker.cluster.bootstrap_servers, str(controller_port(broker.data_dir))),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0
    attempts = json.loads(output)
    assert len(attempts) > 10
    assert {attempt: error for attempt, error in attempts.items() if not error} == {}


async def intrude(broker_dir: Path, servers: str, port: int) -> dict[str, str]:
    """Try to read and write files and topics, and return the error of each attempt."""
    files = [broker_dir.parent, broker_dir, broker_dir / "topics", broker_dir / "topics" / "meta.properties"]
    files += [broker_dir / name for name in ("password", "kafka.properties", "kafka.log")]
    errors = {f"read {path}": os_error(path, os.O_RDONLY) for path in files}
    errors |= {f"write {path}": os_error(path, os.O_RDWR) for path in files}
    errors |= {f"create in {path}": os_error(path / "new", os.O_RDWR | os.O_CREAT) for path in files[:3]}
    for name, cluster in intruders(KafkaCluster(servers)).items():
        errors[f"{name}: write"] = await write(cluster, "jobs.commands")
        errors[f"{name}: controller"] = await create_topic(port, cluster, "forged")
    return errors


def os_error(path: Path, flags: int) -> str:
    try:
        os.close(os.open(path, flags))
    except OSError as error:
        return str(error)
    return ""


async def test_the_printed_python_module_works(broker: Broker, make_topic: MakeTopic) -> None:
    await produce_with_python(broker.cluster, broker.password_file, await make_topic(f"python-{uuid4().hex[:8]}"))


async def produce_with_python(cluster: KafkaCluster, password_file: Path, topic: str) -> None:
    """Produce with both clients that the module has settings for."""
    module: dict[str, Any] = {}
    exec(render(cluster, "python", password_file)[0], module)
    async with AIOKafkaProducer(**module["AIOKAFKA"]) as producer:
        await producer.send_and_wait(topic, b"of aiokafka")
    confluent = Producer(module["CONFLUENT"])
    confluent.produce(topic, b"of confluent-kafka")
    assert await asyncio.to_thread(confluent.flush, 30) == 0


async def test_the_printed_properties_work_with_java(broker: Broker, make_topic: MakeTopic, tmp_path: Path) -> None:
    await describe_with_java(
        broker.cluster, broker.password_file, await make_topic(f"java-{uuid4().hex[:8]}"), tmp_path
    )


async def describe_with_java(cluster: KafkaCluster, password_file: Path, topic: str, folder: Path) -> None:
    """Describe a topic with a tool of Kafka."""
    text, has_password = render(cluster, "properties", password_file)
    assert not has_password
    (folder / "kafka.properties").write_text(text)
    process = await asyncio.create_subprocess_exec(
        await find_java(os.environ, wheel_java()),
        *("-cp", await class_path(print, Path()), "kafka.admin.ConfigCommand"),
        *("--bootstrap-server", cluster.bootstrap_servers, "--command-config", folder / "kafka.properties"),
        *("--describe", "--entity-type", "topics", "--entity-name", topic, "--all"),
        env=jvm_environment(os.environ),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert b"max.message.bytes" in output


async def test_an_encrypted_cluster_is_verified_by_its_ca(
    broker: Broker, make_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = await make_topic(f"encrypted-{uuid4().hex[:8]}")
    certificate = tmp_path / "ca.pem"
    async with HoldingProxy(broker, "none", self_signed(certificate)) as proxy:
        encrypted = replace(broker.cluster.security, protocol="SASL_SSL", ca_file=certificate)
        cluster = KafkaCluster(proxy.bootstrap_servers, encrypted)
        assert await write(cluster, topic) == ""
        assert (await replace(cluster, security=replace(encrypted, ca_file=None)).refusal(5)).startswith("TLS: CERTIF")
        await produce_with_python(cluster, broker.password_file, topic)
        await describe_with_java(cluster, broker.password_file, topic, tmp_path)


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
async def test_the_printed_file_works_with_kcat(broker: Broker, make_topic: MakeTopic, tmp_path: Path) -> None:
    topic = await make_topic(f"kcat-{uuid4().hex[:8]}")
    (tmp_path / "kcat.conf").write_text(render(broker.cluster, "kcat", broker.password_file)[0])
    process = await asyncio.create_subprocess_exec(
        *("kcat", "-F", tmp_path / "kcat.conf", "-P", "-t", topic), stdin=asyncio.subprocess.PIPE
    )
    await process.communicate(b"of kcat\n")
    assert process.returncode == 0

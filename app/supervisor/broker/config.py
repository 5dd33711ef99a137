"""The configuration of the embedded broker: Kafka properties, JVM flags and ports."""

import secrets
import socket
from typing import Final, Literal

from app.kafka.cluster import PASSWORD_FILE, USER
from app.supervisor.broker.errors import PortInUse
from app.supervisor.ports import address, family_of, holder_of, loopback
from schemas.topics import FUTURE_BOUND_MS, MAX_RECORD_BYTES, MAX_TRANSACTION_MS

DATA: Final = "topics"
PROPERTIES: Final = "kafka.properties"
FREE_PORTS: Final = range(20_000, 32_000)
FREE_PORT_TRIES: Final = 100
PortConflictPolicy = Literal["refuse", "move"]

JVM_FLAGS: Final = (
    "-Xms64m",
    "-Xmx384m",
    "-XX:+UseSerialGC",  # least memory on a small heap, and no extra threads
    "-XX:ReservedCodeCacheSize=64m",
    "-XX:+ExitOnOutOfMemoryError",  # a broker that lost a thread only looks alive
    "-Djdk.nio.maxCachedBufferSize=262144",  # otherwise each network thread keeps a direct buffer of the largest record
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
)

# The broker is a client as well: of its controller, and of itself. The path is relative, see `log.dirs`.
JAAS: Final = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    f'username="{USER}" password="${{directory:.:{PASSWORD_FILE}}}" user_{USER}="${{directory:.:{PASSWORD_FILE}}}";'
)

FIXED: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    # Relative to the JVM's working directory: a path with a comma or outside the locale can't be given here.
    "log.dirs": DATA,
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "BROKER",
    "listener.security.protocol.map": "BROKER:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
    "sasl.enabled.mechanisms": "PLAIN",
    "sasl.mechanism.inter.broker.protocol": "PLAIN",
    "sasl.mechanism.controller.protocol": "PLAIN",
    # Kafka reads the password itself: it is in no argument, variable or second file.
    "config.providers": "directory",
    "config.providers.directory.class": "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
    **{f"listener.name.{listener}.plain.sasl.jaas.config": JAAS for listener in ("broker", "controller")},
    "auto.create.topics.enable": "false",
    "message.max.bytes": str(MAX_RECORD_BYTES),
    "log.message.timestamp.after.max.ms": str(FUTURE_BOUND_MS),
    "group.initial.rebalance.delay.ms": "0",
    # A single node can't replicate; few partitions, because each costs start-up time.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.max.timeout.ms": str(MAX_TRANSACTION_MS),
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # After a kill the controller accepts the broker only when its old session has expired (9 s by default).
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "metadata.max.idle.interval.ms": "0",  # otherwise the controller writes a no-op twice a second
    # The heap is small: the cleaner's buffer is 128 MB by default, and queued requests have no bound.
    "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),
    "socket.request.max.bytes": str(64 * 1024 * 1024),
    "queued.max.request.bytes": str(64 * 1024 * 1024),
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
}


def properties(host: str, broker_port: int, controller_port: int) -> str:
    """Return Kafka's properties file. Only the addresses change between starts."""
    broker, controller = address(host, broker_port), address(host, controller_port)
    ports = {
        "listeners": f"BROKER://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"BROKER://{broker}",
        "controller.quorum.voters": f"1@{controller}",
    }
    return "".join(f"{key}={value}\n" for key, value in (FIXED | ports).items())


def choose_ports(port: int, on_port_conflict: PortConflictPolicy) -> tuple[int, int]:
    """Return free ports for the broker and the controller. Port 0 means any free one."""
    with (
        (bind(port) if port else bind_any()) or resolve_port_conflict(port, on_port_conflict) as broker,
        bind_any() as controller,
    ):
        return int(broker.getsockname()[1]), int(controller.getsockname()[1])


def bind(port: int) -> socket.socket | None:
    """Bind a socket to a port on the loopback interface; None if it is in use."""
    candidate = socket.socket(family_of(loopback()), socket.SOCK_STREAM)
    # Like the JVM: a port with connections in TIME_WAIT counts as free.
    candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        candidate.bind((loopback(), port))
    except OSError:
        candidate.close()
        return None
    return candidate


def bind_any() -> socket.socket:
    """Bind a socket to a random free port.

    A port chosen by the system would be in the range of outgoing connections, and one of those could use it before
    Kafka listens, two seconds later.
    """
    for _ in range(FREE_PORT_TRIES):
        if bound_socket := bind(FREE_PORTS.start + secrets.randbelow(len(FREE_PORTS))):
            return bound_socket
    raise PortInUse(f"no free port in {FREE_PORTS.start}-{FREE_PORTS.stop - 1} on {loopback()}. {PortInUse.__doc__}")


def resolve_port_conflict(port: int, on_port_conflict: PortConflictPolicy) -> socket.socket:
    """Bind another port, or raise `PortInUse`."""
    if on_port_conflict == "refuse":
        raise PortInUse(f"{address(loopback(), port)} is in use by {holder_of(port)}. {PortInUse.__doc__}")
    return bind_any()

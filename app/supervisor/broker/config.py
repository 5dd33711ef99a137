"""What the embedded broker is told: Kafka's properties, the JVM's flags, its ports. Starts nothing."""

import secrets
import socket
from typing import Final, Literal

from app.supervisor.broker.errors import PortTaken
from schemas.topics import FUTURE_BOUND_MS, MAX_RECORD_BYTES, MAX_TRANSACTION_MS

HOST: Final = "127.0.0.1"
DATA: Final = "topics"
PROPERTIES: Final = "kafka.properties"
FREE_PORTS: Final = range(20_000, 32_000)
FREE_PORT_TRIES: Final = 100
WhenTaken = Literal["refuse", "move"]

JVM_FLAGS: Final = (
    "-Xms64m",
    "-Xmx384m",
    "-XX:+UseSerialGC",  # on a small heap: the least memory, and no threads of its own
    "-XX:ReservedCodeCacheSize=64m",
    "-XX:+ExitOnOutOfMemoryError",  # a broker that lost a thread looks alive and isn't
    "-Djdk.nio.maxCachedBufferSize=262144",  # else each network thread keeps a direct buffer of the largest record
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
)

FIXED: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    # Relative to the JVM's working directory: a path with a comma or outside the locale can't be said here.
    "log.dirs": DATA,
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "message.max.bytes": str(MAX_RECORD_BYTES),
    "log.message.timestamp.after.max.ms": str(FUTURE_BOUND_MS),
    "group.initial.rebalance.delay.ms": "0",
    # One node: nothing to replicate to; few partitions, as each costs start-up time.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.max.timeout.ms": str(MAX_TRANSACTION_MS),
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # After a kill the controller lets the broker back in only once its old session has run out (9 s by default).
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "metadata.max.idle.interval.ms": "0",  # else the controller writes a no-op twice a second, for ever
    # The heap is small: the cleaner's buffer is 128 MB by default, and queued requests have no bound.
    "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),
    "socket.request.max.bytes": str(64 * 1024 * 1024),
    "queued.max.request.bytes": str(64 * 1024 * 1024),
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
}


def properties(broker_port: int, controller_port: int) -> str:
    """Kafka's properties file; all that changes from start to start are the ports."""
    changing = {
        "listeners": f"PLAINTEXT://{HOST}:{broker_port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{broker_port}",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
    }
    return "".join(f"{key}={value}\n" for key, value in (FIXED | changing).items())


def choose_ports(port: int, when_taken: WhenTaken) -> tuple[int, int]:
    """The broker's and the controller's port. Port 0 is any; a taken one is refused, or moved away from."""
    with (bind(port) if port else bind_any()) or refuse_or_move(port, when_taken) as broker, bind_any() as controller:
        return int(broker.getsockname()[1]), int(controller.getsockname()[1])


def bind(port: int) -> socket.socket | None:
    """A socket bound to the port on the loopback interface, or None when it is taken."""
    candidate = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # As the JVM does: a port whose old connections linger in TIME_WAIT is free.
    candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        candidate.bind((HOST, port))
    except OSError:
        candidate.close()
        return None
    return candidate


def bind_any() -> socket.socket:
    """A socket bound to a free port.

    Not one that the system chooses: it would be of the range for outgoing connections, and one of those could
    take it in the two seconds until Kafka listens.
    """
    for _ in range(FREE_PORT_TRIES):
        if found := bind(FREE_PORTS.start + secrets.randbelow(len(FREE_PORTS))):
            return found
    raise PortTaken(f"no free port among {FREE_PORTS.start}-{FREE_PORTS.stop - 1} on {HOST}. {PortTaken.__doc__}")


def refuse_or_move(port: int, when_taken: WhenTaken) -> socket.socket:
    """What comes of a taken port."""
    if when_taken == "refuse":
        raise PortTaken(f"{HOST}:{port}: {PortTaken.__doc__}")
    return bind_any()

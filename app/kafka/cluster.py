"""The Kafka cluster of a process: an external one, or the embedded broker of the data directory."""

from pathlib import Path
from typing import Final

from app.documented_error import DocumentedError
from app.kafka.clients import KafkaCluster, Security
from app.settings import Settings

ADDRESS_FILE: Final = "kafka-address"
BROKER_DIR: Final = "broker"
PASSWORD_FILE: Final = "password"  # noqa: S105  # the name of a file in `BROKER_DIR`
USER: Final = "entrepot"  # of the embedded broker
MAX_PASSWORD_BYTES: Final = 1024


class KafkaPasswordError(DocumentedError):
    """The password file of Kafka, {path}, {problem}.

    `entrepot up` creates a missing one for the embedded broker when it starts; remove a damaged one and start it again.
    For an external cluster, ENTREPOT_KAFKA_PASSWORD_FILE names a file with one line that this user can read.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(path=path, problem=problem)


def announce_kafka(data_dir: Path, bootstrap_servers: str) -> None:
    """Write the address of the embedded broker, whose port may differ from the setting."""
    (data_dir / ADDRESS_FILE).write_text(bootstrap_servers + "\n")


class NoClusterError(DocumentedError):
    """No Kafka is known in {path}: run `entrepot up`, or set --data-dir or ENTREPOT_BOOTSTRAP_SERVERS."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(path=data_dir)


def resolve_kafka(settings: Settings) -> Settings:
    """Return settings with a cluster: the configured one, or the embedded broker of the data directory.

    Raises:
        NoClusterError: no broker was started there; a default address could be that of another instance.

    """
    if settings.bootstrap_servers:
        return settings
    try:
        servers = (settings.data_dir / ADDRESS_FILE).read_text().strip()
    except FileNotFoundError as error:
        raise NoClusterError(settings.data_dir) from error
    return with_embedded_kafka(settings, servers, settings.data_dir / BROKER_DIR / PASSWORD_FILE)


def with_embedded_kafka(settings: Settings, bootstrap_servers: str, password_file: Path) -> Settings:
    """Return settings for the clients of an embedded broker."""
    return settings.model_copy(
        update={
            "bootstrap_servers": bootstrap_servers,
            "kafka_security_protocol": "SASL_PLAINTEXT",  # on loopback
            "kafka_sasl_mechanism": "PLAIN",
            "kafka_user": USER,
            "kafka_password": None,
            "kafka_password_file": password_file,
            "kafka_ca_file": None,
        }
    )


def cluster_of(settings: Settings) -> KafkaCluster:
    """Return the cluster of the settings.

    Raises:
        KafkaPasswordError: the password can't be read.

    """
    return KafkaCluster(
        settings.bootstrap_servers,
        Security(
            settings.kafka_security_protocol,
            settings.kafka_sasl_mechanism,
            settings.kafka_user,
            _password_of(settings),
            settings.kafka_ca_file,
        ),
    )


def _password_of(settings: Settings) -> str:
    if settings.kafka_password is not None:
        return settings.kafka_password.get_secret_value()
    return read_password(settings.kafka_password_file) if settings.kafka_password_file else ""


def read_password(file: Path) -> str:
    """Return the password in a file, without the end of the line.

    Raises:
        KafkaPasswordError: it is missing, unreadable, or not one line of text.

    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_PASSWORD_BYTES + 1)
        password = content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise KafkaPasswordError(file, f"can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise KafkaPasswordError(file, "is damaged: it is not UTF-8") from error
    if not password:
        raise KafkaPasswordError(file, "is empty")
    if len(content) > MAX_PASSWORD_BYTES or not password.isprintable():
        raise KafkaPasswordError(file, f"is damaged: expected one line of at most {MAX_PASSWORD_BYTES} bytes")
    return password

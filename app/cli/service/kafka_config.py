"""`entrepot kafka-config`: the settings of a Kafka client, for programs that read or write the topics themselves."""

import re
from pathlib import Path
from typing import Final, Literal

import click

from app.cli.exits import CommandError
from app.cli.service.cluster import load_cluster
from app.cli.service.settings_errors import DATA_DIR
from app.data_dir import write_private
from app.kafka.clients import KafkaCluster

ConfigFormat = Literal["properties", "python", "kcat"]
# Of a path: in a reference to a file, other characters would need an escape that Kafka's configuration lacks.
PLAIN_PATH: Final = re.compile(r"[\w ./+@-]+", re.ASCII)
DIRECTORY_PROVIDER: Final = {
    "config.providers": "directory",
    "config.providers.directory.class": "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
}


@click.command("kafka-config")
@click.option(
    "--format",
    "config_format",
    type=click.Choice(["properties", "python", "kcat"]),
    default="properties",
    show_default=True,
    help="Properties for Java, a module for aiokafka and confluent-kafka, or a file for kcat.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to a file that only you can read, instead of standard output.",
)
@DATA_DIR
def kafka_config(data_dir: Path | None, config_format: ConfigFormat, output: Path | None) -> None:
    """Print the settings with which a Kafka client connects to the cluster.

    `properties` and `python` refer to the password file if there is one; `kcat` contains the password.
    """
    settings, cluster = load_cluster(data_dir)
    text, has_password = render(cluster, config_format, settings.kafka_password_file)
    if output is None:
        click.echo(text, nl=False)
        if has_password:
            click.echo(
                "This contains the password of Kafka: do not share it; --output writes a private file.", err=True
            )
        return
    try:
        write_private(output, text.encode())
    except OSError as error:
        raise CommandError(f"cannot write {output}: {error.strerror}") from error
    click.echo(f"wrote {output}{', which contains the password of Kafka' if has_password else ''}", err=True)


def render(cluster: KafkaCluster, config_format: ConfigFormat, password_file: Path | None) -> tuple[str, bool]:
    """Return the settings in a format, and whether they contain the password instead of a reference to its file."""
    has_sasl = cluster.security.has_sasl
    match config_format:
        case "python":
            return _python(cluster, password_file), has_sasl and password_file is None
        case "kcat":
            return "".join(f"{key}={value}\n" for key, value in librdkafka_settings(cluster).items()), has_sasl
        case "properties":
            settings = java_settings(cluster, password_file)
            text = "".join(f"{key}={_property(value)}\n" for key, value in settings.items())
            return text, has_sasl and not settings.keys() >= DIRECTORY_PROVIDER.keys()


def librdkafka_settings(cluster: KafkaCluster) -> dict[str, str]:
    """Return the settings of a client that is based on librdkafka, such as kcat and confluent-kafka."""
    security = cluster.security
    settings = {"bootstrap.servers": cluster.bootstrap_servers, "security.protocol": security.protocol}
    if security.has_sasl:
        settings |= {
            "sasl.mechanism": security.mechanism,
            "sasl.username": security.user,
            "sasl.password": security.password,
        }
    return settings | ({"ssl.ca.location": str(security.ca_file.absolute())} if security.ca_file else {})


def java_settings(cluster: KafkaCluster, password_file: Path | None) -> dict[str, str]:
    """Return the settings of a Java client. It reads the password file itself, if the file allows that."""
    security = cluster.security
    settings = {"bootstrap.servers": cluster.bootstrap_servers, "security.protocol": security.protocol}
    if security.has_sasl:
        password = _jaas(security.password)
        if password_file and _is_referable(password_file, security.password):
            settings |= DIRECTORY_PROVIDER
            password = f'"${{directory:{password_file.absolute().parent}:{password_file.name}}}"'
        module = "plain.PlainLoginModule" if security.mechanism == "PLAIN" else "scram.ScramLoginModule"
        settings |= {
            "sasl.mechanism": security.mechanism,
            "sasl.jaas.config": f"org.apache.kafka.common.security.{module} required "
            f"username={_jaas(security.user)} password={password};",
        }
    if security.ca_file:
        settings |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(security.ca_file.absolute())}
    return settings


def _is_referable(file: Path, password: str) -> bool:
    """Whether Kafka reads the same password from the file: it removes no end of line and escapes nothing."""
    is_plain = PLAIN_PATH.fullmatch(str(file.absolute())) and _jaas(password) == f'"{password}"'
    return bool(is_plain) and file.read_bytes() == password.encode()


def _jaas(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _property(value: str) -> str:
    """Escape a value for a file that Java reads as ISO 8859-1."""
    units = value.replace("\\", "\\\\").encode("utf-16-be")
    codes = (int.from_bytes(units[index : index + 2]) for index in range(0, len(units), 2))
    return "".join(chr(code) if 0x20 <= code < 0x7F else f"\\u{code:04x}" for code in codes)


def _python(cluster: KafkaCluster, password_file: Path | None) -> str:
    security = cluster.security
    confluent = {name: repr(value) for name, value in librdkafka_settings(cluster).items()}
    aiokafka = {"bootstrap_servers": repr(cluster.bootstrap_servers), "security_protocol": repr(security.protocol)}
    imports, password = [], []
    if security.protocol.endswith("SSL"):
        imports.append("import ssl")
        ca_file = repr(str(security.ca_file.absolute())) if security.ca_file else "None"
        aiokafka["ssl_context"] = f"ssl.create_default_context(cafile={ca_file})"
    if security.has_sasl:
        if password_file is None:
            password = [f"PASSWORD = {security.password!r}"]
        else:
            imports.append("from pathlib import Path")
            read = f'Path({str(password_file.absolute())!r}).read_text(encoding="utf-8").rstrip("\\r\\n")'
            password = [f"PASSWORD = {read}"]
        confluent["sasl.password"] = "PASSWORD"
        aiokafka |= {
            "sasl_mechanism": repr(security.mechanism),
            "sasl_plain_username": repr(security.user),
            "sasl_plain_password": "PASSWORD",
        }
    lines = ['"""Settings of Kafka clients, written by `entrepot kafka-config --format python`."""', "", *imports, ""]
    return "\n".join([*lines, *password, *_dict("AIOKAFKA", aiokafka), *_dict("CONFLUENT", confluent), ""])


def _dict(name: str, items: dict[str, str]) -> list[str]:
    return [f"{name} = {{", *(f"    {key!r}: {value}," for key, value in items.items()), "}"]

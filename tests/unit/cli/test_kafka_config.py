"""`entrepot kafka-config` prints the settings of clients, with a reference to the password file where possible."""

import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli.exits import UNAVAILABLE
from app.cli.main import cli
from app.cli.service.kafka_config import java_settings, render
from app.kafka.clients import KafkaCluster, Security

PASSWORD = "s3cret-s3cret-s3cret"


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data directory of an embedded broker."""
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "password").write_text(PASSWORD)
    (tmp_path / "kafka-address").write_text("127.0.0.1:1234\n")
    monkeypatch.setenv("ENTREPOT_DATA_DIR", str(tmp_path))
    return tmp_path


def kafka_config(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["kafka-config", *arguments])


def test_properties_refer_to_the_password_file(data_dir: Path) -> None:
    result = kafka_config()
    assert (result.exit_code, result.stderr) == (0, f"Kafka at 127.0.0.1:1234 (data directory: {data_dir})\n")
    assert dict(line.split("=", 1) for line in result.stdout.splitlines()) == {
        "bootstrap.servers": "127.0.0.1:1234",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "config.providers": "directory",
        "config.providers.directory.class": "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
        "sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule required "
        f'username="entrepot" password="${{directory:{data_dir}/broker:password}}";',
    }


def test_a_python_module_reads_the_password_file(data_dir: Path) -> None:
    result = kafka_config("--format", "python")
    assert (result.exit_code, result.stderr) == (0, f"Kafka at 127.0.0.1:1234 (data directory: {data_dir})\n")
    assert PASSWORD not in result.output
    module: dict[str, Any] = {}
    exec(result.stdout, module)
    assert module["AIOKAFKA"] == {
        "bootstrap_servers": "127.0.0.1:1234",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "entrepot",
        "sasl_plain_password": PASSWORD,
    }
    assert module["CONFLUENT"] == {
        "bootstrap.servers": "127.0.0.1:1234",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "entrepot",
        "sasl.password": PASSWORD,
    }


def test_a_password_without_a_file_is_printed() -> None:
    cluster = KafkaCluster("kafka:9092", Security("SASL_PLAINTEXT", user="me", password=PASSWORD))
    text, has_password = render(cluster, "python", None)
    assert has_password
    module: dict[str, Any] = {}
    exec(text, module)
    assert module["CONFLUENT"]["sasl.password"] == PASSWORD
    assert render(cluster, "properties", None)[1]


def test_a_file_for_kcat_contains_the_password_and_says_so(data_dir: Path) -> None:
    result = kafka_config("--format", "kcat")
    assert result.exit_code == 0
    assert f"\nsasl.password={PASSWORD}\n" in result.output
    assert "contains the password" in result.stderr


def test_an_output_file_is_private_even_if_it_was_not(data_dir: Path) -> None:
    file = data_dir / "kcat.conf"
    file.touch(0o644)
    result = kafka_config("--format", "kcat", "--output", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    assert "contains the password" in result.stderr
    assert file.read_text() == kafka_config("--format", "kcat").stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert kafka_config("--output", str(data_dir / "none" / "kcat.conf")).exit_code == 1


def test_a_missing_password_file_is_named(data_dir: Path) -> None:
    (data_dir / "broker" / "password").unlink()
    result = kafka_config()
    assert result.exit_code == UNAVAILABLE
    assert f"{data_dir}/broker/password, can't be read: No such file or directory" in result.output


@pytest.mark.parametrize(
    ("name", "content"),
    [("a:b", "password"), ("a}b", "password"), ("ü", "password"), ("a", "password\n"), ("a", 'pass"word')],
)
def test_java_gets_the_password_itself_if_it_would_read_another(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    password = content.rstrip("\n")
    cluster = KafkaCluster("kafka:9092", Security("SASL_SSL", "SCRAM-SHA-256", "me", password))
    settings = java_settings(cluster, file)
    assert "config.providers" not in settings
    escaped = password.replace('"', '\\"')
    assert settings["sasl.jaas.config"] == (
        f'org.apache.kafka.common.security.scram.ScramLoginModule required username="me" password="{escaped}";'
    )
    assert render(cluster, "properties", file)[1], "contains the password"


def test_values_of_properties_are_escaped_for_java() -> None:
    cluster = KafkaCluster("kafka:9092", Security("SASL_SSL", user="ü\\", password="𝄞"))
    text, _ = render(cluster, "properties", None)
    assert r'username="\u00fc\\\\" password="\ud834\udd1e"' in text


@pytest.mark.parametrize("has_ca_file", [False, True])
def test_an_encrypted_cluster(tmp_path: Path, *, has_ca_file: bool) -> None:
    ca_file = tmp_path / "ca.pem" if has_ca_file else None
    cluster = KafkaCluster("kafka:9092", Security("SSL", ca_file=ca_file))
    trusted = f"ssl.truststore.type=PEM\nssl.truststore.location={ca_file}\n" if has_ca_file else ""
    location = f"ssl.ca.location={ca_file}\n" if has_ca_file else ""
    common = "bootstrap.servers=kafka:9092\nsecurity.protocol=SSL\n"
    assert render(cluster, "properties", None) == (common + trusted, False)
    assert render(cluster, "kcat", None) == (common + location, False)
    text, _ = render(cluster, "python", None)
    assert f"ssl.create_default_context(cafile={str(ca_file)!r})" in text or not has_ca_file
    compile(text, "kafka_settings.py", "exec")

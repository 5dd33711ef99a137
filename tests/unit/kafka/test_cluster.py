"""The cluster of a process, and the password with which it authenticates."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from app.kafka.clients import KafkaCluster, Security
from app.kafka.cluster import (
    KafkaPasswordError,
    NoClusterError,
    announce_kafka,
    cluster_of,
    read_password,
    resolve_kafka,
)
from app.settings import Settings
from tests.certificates import self_signed


def test_the_embedded_broker_is_found_in_the_data_directory(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, bootstrap_servers="", broker_port=1234)
    with pytest.raises(NoClusterError, match=str(tmp_path)):
        resolve_kafka(settings)
    announce_kafka(tmp_path, "127.0.0.1:5678")
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "password").write_text("s3cret")
    assert cluster_of(resolve_kafka(settings)) == KafkaCluster(
        "127.0.0.1:5678", Security("SASL_PLAINTEXT", "PLAIN", "entrepot", "s3cret")
    )


def test_an_external_cluster_has_the_security_of_the_settings(tmp_path: Path) -> None:
    plain = Settings(data_dir=tmp_path, bootstrap_servers="kafka:9092")
    assert cluster_of(resolve_kafka(plain)) == KafkaCluster("kafka:9092")
    password, ca_file = tmp_path / "password", tmp_path / "ca.pem"
    password.write_text("s3cret\n")
    self_signed(ca_file)
    secured = Settings(
        bootstrap_servers="kafka:9092", kafka_security_protocol="SASL_SSL", kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_user="me", kafka_password_file=password, kafka_ca_file=ca_file,
    )  # fmt: skip
    cluster = cluster_of(resolve_kafka(secured))
    assert cluster == KafkaCluster("kafka:9092", Security("SASL_SSL", "SCRAM-SHA-512", "me", "s3cret", ca_file))
    assert "s3cret" not in repr(cluster)
    without_file = secured.model_copy(update={"kafka_password": SecretStr("s3cret"), "kafka_password_file": None})
    assert cluster_of(without_file) == cluster


def test_a_ca_file_without_certificates_is_refused(tmp_path: Path) -> None:
    settings = {"bootstrap_servers": "kafka:9092", "kafka_security_protocol": "SSL"}
    (tmp_path / "ca.pem").write_text("no certificate")
    for file in (tmp_path / "ca.pem", tmp_path / "none.pem", tmp_path):
        with pytest.raises(ValidationError, match="expected a file with certificates in PEM format"):
            Settings.model_validate(settings | {"kafka_ca_file": file})


@pytest.mark.parametrize(
    "values",
    [
        {"kafka_user": "me"},
        {"kafka_password": "s3cret"},
        {"kafka_password_file": "/password"},
        {"kafka_user": "me", "kafka_password": "s3cret", "kafka_password_file": "/password"},
    ],
)
def test_sasl_requires_a_user_and_one_password(values: dict[str, str]) -> None:
    settings = {"bootstrap_servers": "kafka:9092", "kafka_security_protocol": "SASL_SSL"} | values
    with pytest.raises(ValidationError, match="SASL_SSL requires ENTREPOT_KAFKA_USER, and either"):
        Settings.model_validate(settings)


@pytest.mark.parametrize(
    ("content", "password"), [(b"a", "a"), (b"a\n", "a"), (b"a\r\n", "a"), (b" a b ", " a b "), ("ü".encode(), "ü")]
)
def test_a_password_is_one_line(tmp_path: Path, content: bytes, password: str) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    assert read_password(file) == password


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"a\nb", "is damaged"),
        (b"a\0", "is damaged"),
        (b"\xff", "is damaged: it is not UTF-8"),
        (b"a" * 1025, "is damaged"),
    ],
)
def test_a_damaged_password_file_is_named_with_the_fix(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(KafkaPasswordError, match=f"{file}, {problem}.*remove a damaged one and start it again"):
        read_password(file)


def test_a_missing_or_unreadable_password_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KafkaPasswordError, match=f"{tmp_path}/none, can't be read: No such file or directory"):
        read_password(tmp_path / "none")
    with pytest.raises(KafkaPasswordError, match=f"{tmp_path}, can't be read: Is a directory"):
        read_password(tmp_path)
    if os.geteuid() != 0:  # root can read everything
        (tmp_path / "password").touch(0o000)
        with pytest.raises(KafkaPasswordError, match="can't be read: Permission denied"):
            read_password(tmp_path / "password")

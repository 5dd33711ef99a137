"""The container files agree with the command line, the settings and the embedded broker."""

import re
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from app.cli.main import cli
from app.kafka.clients import KafkaCluster, Security
from app.kafka.cluster import PASSWORD_FILE, USER, cluster_of
from app.roles import ROLES
from app.settings import Settings
from app.supervisor.broker.config import FIXED
from schemas.topics import DEFAULT_PARTITIONS, FUTURE_BOUND_MS, MAX_RECORD_BYTES

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.kafka.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
ENTREPOT = {name: service for name, service in SERVICES.items() if service["image"].startswith("entrepot:")}
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def parsed(arguments: list[str]) -> str:
    """Parse a command line of `entrepot` without running it, and return the command."""
    context = cli.make_context("entrepot", list(arguments))
    path = []
    command: click.Command = cli
    rest = [*context._protected_args, *context.args]
    while isinstance(command, click.Group):
        name, subcommand, rest = command.resolve_command(context, rest)
        assert subcommand is not None
        path.append(str(name))
        command = subcommand
    params = command.make_context(path[-1], rest, parent=context).params
    return " ".join([*path, *(str(params[name] or "") for name in ("role", "create") if name in params)])


def interpolated(value: str, **environment: str) -> str:
    """Replace variables as Compose does; a required one that is missing is a KeyError."""

    def replacement(match: re.Match[str]) -> str:
        name, separator, default = match.groups()
        return environment.get(name, default) if separator == ":-" else environment[name]

    return re.sub(r"\$\{(\w+)(:-|:\?)([^}]+)\}", replacement, value)


def test_the_broker_has_the_limits_of_the_embedded_broker() -> None:
    environment = SERVICES["kafka"]["environment"]
    for name in ("message.max.bytes", "log.message.timestamp.after.max.ms", "transaction.max.timeout.ms"):
        assert environment[f"KAFKA_{name.upper().replace('.', '_')}"] == FIXED[name]


def test_every_role_has_a_service() -> None:
    commands = {parsed(service["command"]) for service in ENTREPOT.values()}
    roles = {role.name for role in ROLES} - {"api"}
    assert commands == {"api", "topics True", "master-key", *(f"worker {role}" for role in roles)}


@pytest.mark.parametrize("name", list(ENTREPOT))
def test_the_settings_of_services_are_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment: dict[str, str] = ENTREPOT[name]["environment"]
    names = {f"ENTREPOT_{field.upper()}" for field in Settings.model_fields}
    assert set(environment) <= names
    for key, value in environment.items():
        assert isinstance(value, str), f"{key} must be quoted"
        monkeypatch.setenv(key, interpolated(value, POSTGRES_PASSWORD="s3cret", KAFKA_PASSWORD="hush"))
    settings = Settings()
    assert cluster_of(settings) == KafkaCluster("kafka:9092", Security("SASL_PLAINTEXT", "PLAIN", USER, "hush"))
    assert settings.partitions == DEFAULT_PARTITIONS
    assert settings.database() == "postgresql+asyncpg://entrepot:s3cret@postgres:5432/entrepot"


@pytest.mark.parametrize("name", list(SERVICES))
def test_images_are_pinned_and_dependencies_exist(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z/]+:(\d+\.\d+\.\d+|\d+\.\d+-[a-z]+)", service["image"]), "pinned to a patch version"
    for other, dependency in service.get("depends_on", {}).items():
        if dependency["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        else:
            assert SERVICES[other]["restart"] == "no", "a one-shot service must not restart"
    for volume in service.get("volumes", ()):
        source = volume.partition(":")[0]
        assert source in COMPOSE["volumes"] or (ROOT / source).is_dir()


@pytest.mark.parametrize("name", list(SERVICES))
def test_services_have_no_privileges_and_write_to_volumes_and_memory_only(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert "/tmp" in {path.partition(":")[0] for path in service["tmpfs"]}  # in the container


def test_no_secret_has_a_default() -> None:
    values = [value for service in SERVICES.values() for value in service["environment"].values()]
    for secret, count in (("POSTGRES_PASSWORD", len(ENTREPOT) + 1), ("KAFKA_PASSWORD", len(ENTREPOT) + 2)):
        secrets = [value for value in values if secret in value]
        assert len(secrets) == count
        for value in secrets:
            assert f"${{{secret}:?" in value
            with pytest.raises(KeyError):
                interpolated(value)


def test_only_the_runner_has_the_master_key() -> None:
    (volume,) = ENTREPOT["master-key"]["volumes"]
    assert {name for name, service in ENTREPOT.items() if volume in service.get("volumes", ())} == {
        "master-key",
        "runner",
    }


@pytest.mark.parametrize("role", ["api", "runner", "profiles", "rebuild"])
def test_what_a_role_keeps_is_on_a_named_volume(role: str) -> None:
    assert f"{role}:/data" in ENTREPOT[role]["volumes"]
    assert role in COMPOSE["volumes"]


def test_the_api_accepts_only_the_names_that_are_set() -> None:
    value = ENTREPOT["api"]["environment"]["ENTREPOT_API_NAMES"]
    assert interpolated(value) == "localhost"
    assert interpolated(value, ENTREPOT_API_NAMES="entrepot.example") == "entrepot.example"


def test_only_the_api_is_published_and_only_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8470:8470"]}
    assert ENTREPOT["api"]["environment"]["ENTREPOT_API_PORT"] == "8470"
    assert "127.0.0.1:8470/readyz" in ENTREPOT["api"]["healthcheck"]["test"][-1]


def test_kafka_in_a_container_has_the_configuration_of_the_embedded_broker() -> None:
    environment = SERVICES["kafka"]["environment"]
    assert environment["KAFKA_MESSAGE_MAX_BYTES"] == str(MAX_RECORD_BYTES)
    assert environment["KAFKA_LOG_MESSAGE_TIMESTAMP_AFTER_MAX_MS"] == str(FUTURE_BOUND_MS)
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_kafka_in_a_container_authenticates_clients_as_the_embedded_broker_does() -> None:
    environment = SERVICES["kafka"]["environment"]
    for name in FIXED:
        if "listener" in name or "sasl" in name:
            value = interpolated(environment[f"KAFKA_{name.upper().replace('.', '_')}"], KAFKA_PASSWORD="hush")
            assert value == FIXED[name].replace(f"${{directory:.:{PASSWORD_FILE}}}", "hush")
    listeners = {listener.partition("://")[0] for listener in environment["KAFKA_LISTENERS"].split(",")}
    assert listeners == {"BROKER", "CONTROLLER"}
    assert "KAFKA_LISTENER_NAME_BROKER_PLAIN_SASL_JAAS_CONFIG" in SERVICES["kafka"]["healthcheck"]["test"][-1]


def test_kafka_has_the_version_of_the_embedded_broker() -> None:
    coordinates = (ROOT / "app" / "supervisor" / "broker" / "jars.py").read_text()
    version = SERVICES["kafka"]["image"].partition(":")[2]
    assert f"org.apache.kafka:kafka_2.13:{version}" in coordinates


def test_the_image_has_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {service["image"] for service in ENTREPOT.values()} == {f"entrepot:{version}"}


def test_copied_files_exist_and_are_not_ignored() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert set(copied) == allowed
    assert all((ROOT / path).exists() for path in copied)


def test_the_image_is_pinned_unprivileged_and_receives_signals() -> None:
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"python:3.11.14-slim-bookworm"}
    assert "--require-hashes" in DOCKERFILE
    assert re.search(r"^USER [1-9]\d+$", DOCKERFILE, re.MULTILINE)
    assert 'ENTRYPOINT ["entrepot"]' in DOCKERFILE, "exec form: a shell would not forward SIGTERM"
    command = re.search(r"^CMD (.+)$", DOCKERFILE, re.MULTILINE)
    assert command
    assert parsed(yaml.safe_load(command[1])) == "up"


def test_the_build_backend_is_pinned_for_the_image() -> None:
    pinned = re.search(
        r"^setuptools==.+(\\\n +--hash=.+)+", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE
    )
    assert pinned
    assert "/^setuptools==/" in DOCKERFILE

"""The settings of a process: `ENTREPOT_*` environment variables with defaults."""

import os
import re
import ssl
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from schemas.topics import DEFAULT_PARTITIONS

DEFAULT_API_PORT: Final = 8470
DEFAULT_BROKER_PORT: Final = 9470
MIN_TOKEN_LENGTH: Final = 20
MIN_TOKEN_CHARACTERS: Final = 8  # different ones

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


def address_of(server: str) -> tuple[str, int]:
    """Parse the address of a Kafka server.

    Raises:
        ValueError: the address is invalid.

    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([\w.-]+)):(\d{1,5})", server.strip())
    if not match or not 0 < int(match[3]) < 65_536:
        raise ValueError("expected host:port[,host:port]")
    return match[1] or match[2], int(match[3])


class Settings(BaseSettings):
    """The settings of a process, identical for `entrepot up` and for a single role in a container."""

    model_config = SettingsConfigDict(env_prefix="ENTREPOT_", env_ignore_empty=True, extra="ignore", frozen=True)

    data_dir: Path = Field(
        default=Path("data"), description="directory of the embedded broker, the read store, the keys and the logs"
    )
    bootstrap_servers: str = Field(
        default="", description="external Kafka cluster, host:port[,host:port]; empty: start the embedded broker"
    )
    kafka_security_protocol: SecurityProtocol = Field(
        default="PLAINTEXT", description="protocol of the external cluster: SASL_SSL, SSL, SASL_PLAINTEXT or PLAINTEXT"
    )
    kafka_sasl_mechanism: SaslMechanism = Field(
        default="PLAIN", description="SASL mechanism of the external cluster: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"
    )
    kafka_user: str = Field(default="", description="user at the external cluster, for SASL")
    kafka_password: SecretStr | None = Field(
        default=None, description="password of the user, if it is not in a file, which is safer"
    )
    kafka_password_file: Path | None = Field(
        default=None, description="file with the password of the user, for SASL", validate_default=True
    )
    kafka_ca_file: Path | None = Field(
        default=None, description="PEM file of the CA of the external cluster, for SSL; empty: the CAs of the system"
    )
    broker_port: int = Field(
        default=DEFAULT_BROKER_PORT, ge=0, le=65535, description="port of the embedded broker; 0: any free port"
    )
    partitions: int = Field(
        default=DEFAULT_PARTITIONS, ge=1, le=256, description="partitions of every topic; fixed once data exists"
    )
    replication_factor: int = Field(
        default=1, ge=1, le=7, description="replication factor of topics that Entrepot creates"
    )
    database_url: str = Field(
        default="", description="postgresql+asyncpg://…; empty: SQLite in the data directory", repr=False
    )
    api_host: str = Field(
        default="127.0.0.1",
        description="address that the API binds to; on a machine without IPv4, `entrepot up` uses `::1`",
    )
    api_port: int = Field(default=DEFAULT_API_PORT, ge=0, le=65535, description="port of the API; 0: any free port")
    api_names: str = Field(
        default="",
        description="host names by which clients reach the API, name[,name], in addition to localhost; requests for "
        "other hosts are refused. Empty: only localhost if the API binds to loopback, else any",
    )
    profiles_bind_host: str = Field(
        default="127.0.0.1",
        description="address that the profiles role binds to for look-ups by the API; restrict access to the API",
    )
    file_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(), description="directories that file jobs may read from, separated by ':'"
    )
    max_concurrent_runs: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="maximum number of concurrent runs in a runner for each kind of job (import, export, "
        "enrichment); further runs wait for a free slot",
    )
    source_timeout_seconds: int = Field(
        default=60,
        ge=1,
        le=86_400,
        description="seconds in which a source must deliver a batch or reach the minimum rate; otherwise its run is "
        "retried later, from its cursor",
    )
    source_bytes_per_second: int = Field(
        default=1024,
        ge=1,
        le=1024**3,
        description="minimum rate of a source, averaged over ENTREPOT_SOURCE_TIMEOUT_SECONDS",
    )
    max_concurrent_uploads: int = Field(
        default=4,
        ge=1,
        le=100,
        description="maximum number of concurrent bulk uploads in an API process; each uses about 100 MB of memory",
    )
    batch_bytes: int = Field(
        default=4 * 1024 * 1024,
        ge=4096,
        le=64 * 1024 * 1024,
        description="bytes of a source that are read and committed as one batch",
    )
    allow_private_networks: bool = Field(
        default=False, description="allow connectors to fetch from loopback and private addresses"
    )
    admin_token: SecretStr | None = Field(
        default=None,
        description="an admin token to accept, 20 random characters or more; empty: the API creates one in the data "
        "directory",
    )
    master_key_file: Path | None = Field(
        default=None,
        description="file of the master key, which opens the secrets of jobs, mode 0600; "
        "empty: `master-key` in the data directory",
    )
    snapshot_url: str = Field(
        default="",
        description="where profile snapshots are stored, file:///directory or s3://bucket/prefix; "
        "empty: `snapshots` in the data directory",
    )
    snapshot_interval_seconds: int = Field(
        default=300, ge=1, le=86_400, description="interval between snapshots of a profile partition"
    )
    worker_id: str = Field(default="0", description="unique id of a worker within its role, stable across restarts")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="minimum log level")
    log_format: Literal["console", "json"] = Field(
        default="console", description="console: human-readable; json: one object a line"
    )

    @field_validator("file_roots", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        return tuple(Path(path) for path in value.split(os.pathsep) if path) if isinstance(value, str) else value

    @field_validator("bootstrap_servers")
    @classmethod
    def _check_servers(cls, value: str) -> str:
        for server in value.split(",") if value else ():
            address_of(server)
        return value

    @field_validator("kafka_security_protocol")
    @classmethod
    def _check_protocol(cls, value: str, info: ValidationInfo) -> str:
        if value != "PLAINTEXT" and info.data.get("bootstrap_servers") == "":
            raise ValueError("requires ENTREPOT_BOOTSTRAP_SERVERS; the embedded broker has a fixed one")
        return value

    @field_validator("kafka_password_file")
    @classmethod
    def _check_password_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        protocol = info.data.get("kafka_security_protocol", "PLAINTEXT")
        passwords = [password for password in (value, info.data.get("kafka_password")) if password is not None]
        if protocol.startswith("SASL_"):
            if len(passwords) != 1 or not info.data.get("kafka_user"):
                raise ValueError(f"{protocol} requires ENTREPOT_KAFKA_USER, and either this or ENTREPOT_KAFKA_PASSWORD")
        elif passwords:
            raise ValueError("a password requires ENTREPOT_KAFKA_SECURITY_PROTOCOL to be SASL_SSL or SASL_PLAINTEXT")
        return value

    @field_validator("kafka_ca_file")
    @classmethod
    def _check_ca_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None:
            return None
        if not info.data.get("kafka_security_protocol", "SSL").endswith("SSL"):
            raise ValueError("requires ENTREPOT_KAFKA_SECURITY_PROTOCOL to be SASL_SSL or SSL")
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(value)
        except OSError as error:
            raise ValueError("expected a file with certificates in PEM format") from error
        return value

    @field_validator("api_host")
    @classmethod
    def _check_host(cls, value: str) -> str:
        if not re.fullmatch(r"[\w.:%-]{1,255}", value):
            raise ValueError("expected the host name or IP address of this machine")
        return value

    @field_validator("admin_token")
    @classmethod
    def _check_admin_token(cls, value: SecretStr | None) -> SecretStr | None:
        secret = value.get_secret_value() if value else ""
        if secret and (len(secret) < MIN_TOKEN_LENGTH or len(set(secret)) < MIN_TOKEN_CHARACTERS):
            raise ValueError(
                f"too weak: use {MIN_TOKEN_LENGTH} random characters or more, {MIN_TOKEN_CHARACTERS} of them different"
            )
        return value

    @field_validator("api_names")
    @classmethod
    def _check_names(cls, value: str) -> str:
        if value and not re.fullmatch(r"[\w.:-]{1,253}(,[\w.:-]{1,253})*", value):
            raise ValueError("expected host names without ports, separated by ','")
        return value.lower()

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, value: str) -> str:
        if value and not re.match(r"sqlite\+aiosqlite:///.|postgresql\+asyncpg://[^/]*/.", value):
            raise ValueError("expected postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE or sqlite+aiosqlite:///FILE")
        return value

    @field_validator("worker_id")
    @classmethod
    def _check_worker_id(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", value):
            raise ValueError("expected 1 to 100 ASCII letters, digits, dots, underscores and dashes")
        return value

    def database(self) -> str:
        """Return the SQLAlchemy URL of the read store."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir.absolute() / 'views.db'}"

    def snapshots(self) -> str:
        """Return the location of profile snapshots: a URL or the path of a directory."""
        return self.snapshot_url or str(self.data_dir.absolute() / "snapshots")

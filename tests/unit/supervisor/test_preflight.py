"""An invalid setting is reported in one sentence that names it and contains no secrets."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from app.cli.exits import REFUSED, CommandError
from app.cli.service.settings_errors import load_settings, unknown_names
from app.settings import Settings
from app.supervisor.ports import holder_of
from app.supervisor.preflight import check_address, check_file_roots, check_store, wait_for_kafka
from app.supervisor.restarts import NotStartedError


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("bootstrap_servers", "nonsense", "expected host:port"),
        ("bootstrap_servers", "http://host:9092/", "expected host:port"),
        ("bootstrap_servers", "host:9092,", "expected host:port"),
        ("bootstrap_servers", "host:99999", "expected host:port"),
        ("kafka_security_protocol", "SASL_SSL", "requires ENTREPOT_BOOTSTRAP_SERVERS"),
        ("kafka_password_file", "/s3cret", "a password requires ENTREPOT_KAFKA_SECURITY_PROTOCOL to be SASL_SSL"),
        ("kafka_ca_file", "/s3cret", "requires ENTREPOT_KAFKA_SECURITY_PROTOCOL to be SASL_SSL or SSL"),
        ("api_names", "a b", "expected host names without ports"),
        ("api_names", "https://a", "expected host names without ports"),
        ("api_names", "a,,b", "expected host names without ports"),
        ("api_host", "a b", "expected the host name or IP address of this machine"),
        ("admin_token", "s3cret", "too weak: use 20 random characters or more"),
        ("admin_token", "s3cret" * 5, "8 of them different"),
        ("database_url", "s3cret", "expected postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE"),
        ("database_url", "mysql://me:s3cret@host/x", "expected postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE"),
        ("worker_id", "a b/ü", "letters, digits, dots, underscores and dashes"),
        ("worker_id", "x" * 200, "expected 1 to 100 ASCII letters"),
    ],
)
def test_an_invalid_setting_is_named(name: str, value: str, words: str) -> None:
    with pytest.raises(CommandError) as error:
        load_settings({name: value})
    assert error.value.exit_code == REFUSED
    _, line = error.value.message.splitlines()
    assert line.startswith(f"  ENTREPOT_{name.upper()}: ")
    assert words in line
    assert "s3cret" not in error.value.message


@pytest.mark.parametrize("servers", ["", "h:1", "a.b-c_d:9092,10.0.0.1:9093", "[::1]:9092, kafka:9092"])
def test_valid_cluster_addresses(servers: str) -> None:
    assert load_settings({"bootstrap_servers": servers}).bootstrap_servers == servers


def error_of(check: Any, **settings: Any) -> str:
    with pytest.raises(NotStartedError) as error:
        check(Settings(**settings))
    assert "\n" not in str(error.value)
    return str(error.value)


def open_store(settings: Settings) -> None:
    asyncio.run(check_store(settings))


def test_missing_files_and_directories_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    nowhere = tmp_path / "nowhere"
    for root in (nowhere, tmp_path / "file"):
        message = error_of(check_file_roots, file_roots=(tmp_path, root))
        assert message == f"ENTREPOT_FILE_ROOTS: {root} is not a directory"
    message = error_of(open_store, database_url=f"sqlite+aiosqlite:///{nowhere}/x.db")
    assert message == f"ENTREPOT_DATABASE_URL: no directory {nowhere}"
    message = error_of(open_store, database_url=f"sqlite+aiosqlite:///{tmp_path}")
    assert message.startswith(f"ENTREPOT_DATABASE_URL: can't open the database {tmp_path}: ")
    open_store(Settings(data_dir=nowhere))
    assert (nowhere / "views.db").exists()


def test_an_unreachable_database_is_reported_without_its_password() -> None:
    for port in ("1", "x"):
        message = error_of(open_store, database_url=f"postgresql+asyncpg://me:s3cret@127.0.0.1:{port}/x")
        assert message.startswith("ENTREPOT_DATABASE_URL: ")
        assert "s3cret" not in message


def test_corrupt_views_can_be_moved_away(tmp_path: Path) -> None:
    (tmp_path / "views.db").write_bytes(b"broken" * 1_000)
    message = error_of(open_store, data_dir=tmp_path)
    assert message.startswith(
        f"{tmp_path}/views.db is corrupt (file is not a database): move it away, and the read models are"
    )
    (tmp_path / "views.db").rename(tmp_path / "away")
    open_store(Settings(data_dir=tmp_path))


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "x" * 80])
def test_a_foreign_address_is_named(host: str) -> None:
    assert error_of(check_address, api_host=host, api_port=0).startswith("ENTREPOT_API_HOST: ")


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        message = f"ENTREPOT_API_PORT: port {port} on 127.0.0.1 is in use by {holder_of(port)}"
        assert error_of(check_address, api_port=port) == message


async def test_an_unreachable_cluster_is_reported_after_a_timeout() -> None:
    messages: list[str] = []
    with pytest.raises(NotStartedError, match=r"can't connect to Kafka at .* .Connection refused"):
        await wait_for_kafka(Settings(bootstrap_servers="127.0.0.1:1"), 0.6, messages.append)
    assert len(messages) == 1


async def test_a_server_that_closes_the_connection_is_reported() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(NotStartedError, match=f"{address} .the server closed the connection.*ENTREPOT_KAFKA_"):
            await wait_for_kafka(Settings(bootstrap_servers=address), 0, print)


def test_an_unknown_setting_is_reported_with_a_similar_name() -> None:
    environment = {
        "ENTREPOT_API_PROT": "1",
        "entrepot_data_dir": "x",
        "ENTREPOT_URL": "x",
        "ENTREPOT_ZZZZ": "",
        "PATH": "",
    }
    assert list(unknown_names(environment)) == [("ENTREPOT_API_PROT", "ENTREPOT_API_PORT"), ("ENTREPOT_ZZZZ", "")]

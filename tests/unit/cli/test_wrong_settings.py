"""A setting that can't be: one sentence that names it, before anything is started, and without what may be secret."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from app.cli.exits import REFUSED, Stopped
from app.cli.service.settings_errors import load_settings, unknown_names
from app.settings import Settings
from app.supervisor.preflight import check_address, check_file_roots, check_store, wait_for_kafka
from app.supervisor.restarts import NotStartedError


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("bootstrap_servers", "nonsense", "host:port is needed"),
        ("bootstrap_servers", "http://host:9092/", "host:port is needed"),
        ("bootstrap_servers", "host:9092,", "host:port is needed"),
        ("bootstrap_servers", "host:99999", "host:port is needed"),
        ("api_host", "a b", "the name or the IP address of this machine is needed"),
        ("database_url", "s3cret", "postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE is needed"),
        ("database_url", "mysql://me:s3cret@host/x", "postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE is needed"),
        ("worker_id", "a b/ü", "letters of A to Z, digits, dots, underscores and dashes are needed"),
        ("worker_id", "x" * 200, "1 to 100 letters"),
    ],
)
def test_what_can_not_be_read_is_refused_by_its_name(name: str, value: str, words: str) -> None:
    with pytest.raises(Stopped) as refused:
        load_settings({name: value})
    assert refused.value.exit_code == REFUSED
    _, line = refused.value.message.splitlines()
    assert line.startswith(f"  ENTREPOT_{name.upper()}: ")
    assert words in line
    assert "s3cret" not in refused.value.message


@pytest.mark.parametrize("servers", ["", "h:1", "a.b-c_d:9092,10.0.0.1:9093", "[::1]:9092, kafka:9092"])
def test_addresses_of_clusters_are_taken(servers: str) -> None:
    assert load_settings({"bootstrap_servers": servers}).bootstrap_servers == servers


def wrong(check: Any, **settings: Any) -> str:
    with pytest.raises(NotStartedError) as refused:
        check(Settings(**settings))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def store(settings: Settings) -> None:
    asyncio.run(check_store(settings))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    nowhere = tmp_path / "nowhere"
    for root in (nowhere, tmp_path / "file"):
        said = wrong(check_file_roots, file_roots=(tmp_path, root))
        assert said == f"ENTREPOT_FILE_ROOTS: {root} is not a directory"
    said = wrong(store, database_url=f"sqlite+aiosqlite:///{nowhere}/x.db")
    assert said == f"ENTREPOT_DATABASE_URL: there is no directory {nowhere}"
    said = wrong(store, database_url=f"sqlite+aiosqlite:///{tmp_path}")
    assert said.startswith(f"ENTREPOT_DATABASE_URL: the database {tmp_path} can't be used: ")
    store(Settings(data_dir=nowhere))
    assert (nowhere / "views.db").exists()


def test_a_database_that_is_away_is_named_without_its_password() -> None:
    for port in ("1", "x"):
        said = wrong(store, database_url=f"postgresql+asyncpg://me:s3cret@127.0.0.1:{port}/x")
        assert said.startswith("ENTREPOT_DATABASE_URL: ")
        assert "s3cret" not in said


def test_views_that_are_broken_may_be_moved_away(tmp_path: Path) -> None:
    (tmp_path / "views.db").write_bytes(b"broken" * 1_000)
    said = wrong(store, data_dir=tmp_path)
    assert said.startswith(f"{tmp_path}/views.db is broken (file is not a database): move it away, and the views are")
    (tmp_path / "views.db").rename(tmp_path / "away")
    store(Settings(data_dir=tmp_path))


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "x" * 80])
def test_an_address_that_is_not_ours_is_named(host: str) -> None:
    assert wrong(check_address, api_host=host, api_port=0).startswith("ENTREPOT_API_HOST: ")


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert wrong(check_address, api_port=port) == f"ENTREPOT_API_PORT: port {port} on 127.0.0.1 is in use"


async def test_a_cluster_is_waited_for_and_then_named() -> None:
    said: list[str] = []
    with pytest.raises(NotStartedError, match=r"no Kafka answers at .* .Connection refused"):
        await wait_for_kafka("127.0.0.1:1", 0.6, said.append)
    assert len(said) == 1
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        await wait_for_kafka(f"127.0.0.1:1,127.0.0.1:{server.sockets[0].getsockname()[1]}", 0, said.append)
    assert len(said) == 1


def test_a_name_that_is_no_setting_is_told_with_what_was_meant() -> None:
    given = {"ENTREPOT_API_PROT": "1", "entrepot_data_dir": "x", "ENTREPOT_URL": "x", "ENTREPOT_ZZZZ": "", "PATH": ""}
    assert list(unknown_names(given)) == [("ENTREPOT_API_PROT", "ENTREPOT_API_PORT"), ("ENTREPOT_ZZZZ", "")]

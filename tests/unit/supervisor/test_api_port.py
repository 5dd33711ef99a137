"""The free port of the API is probed on its own address, and errors name the cause."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import Settings
from app.supervisor.broker.config import properties
from app.supervisor.ports import address, holder_of, keep_ports, kept_port, loopback, with_free_api_port, with_loopback
from app.supervisor.restarts import NotStartedError
from app.supervisor.supervisor import RunningService

FAMILIES = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}


@pytest.fixture(params=FAMILIES)
def used_port(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """An address and a port in use until the end of the test."""
    host = request.param
    try:
        server = socket.create_server((host, 0), family=FAMILIES[host])
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with server:
        yield host, server.getsockname()[1]


def free_port(host: str) -> int:
    with socket.create_server((host, 0), family=FAMILIES[host]) as server:
        return int(server.getsockname()[1])


def test_without_ipv4_the_loopback_address_is_that_of_ipv6(used_port: tuple[str, int]) -> None:
    host, _ = used_port
    assert loopback(("192.0.2.1", host)) == host
    assert address(host, 9470) == {"127.0.0.1": "127.0.0.1:9470", "::1": "[::1]:9470"}[host]
    with pytest.raises(NotStartedError, match="no loopback address"):
        loopback(("192.0.2.1",))


def test_only_addresses_that_are_not_configured_are_those_of_loopback() -> None:
    settings = with_loopback(Settings(api_host="192.0.2.1"))
    assert (settings.api_host, settings.profiles_bind_host) == ("192.0.2.1", loopback())
    assert with_loopback(Settings(api_host="::", profiles_bind_host="::1")).profiles_bind_host == "::1"


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_the_broker_listens_on_loopback(host: str, shown: str) -> None:
    lines = properties(host, 9470, 9471).splitlines()
    assert f"listeners=BROKER://{shown}:9470,CONTROLLER://{shown}:9471" in lines
    assert f"advertised.listeners=BROKER://{shown}:9470" in lines
    assert f"controller.quorum.voters=1@{shown}:9471" in lines


def test_a_free_port_is_used(used_port: tuple[str, int]) -> None:
    host, _ = used_port
    messages: list[str] = []
    chosen = Settings(api_host=host, api_port=free_port(host))
    assert with_free_api_port(chosen, messages.append) == chosen
    settings = with_free_api_port(Settings(api_host=host, api_port=0), messages.append)
    assert settings.api_port > 0
    url_host = f"[{host}]" if ":" in host else host
    assert RunningService(settings, 0).url == f"http://{url_host}:{settings.api_port}"
    assert messages == []


def test_an_explicit_port_in_use_is_refused(used_port: tuple[str, int]) -> None:
    host, port = used_port
    with pytest.raises(NotStartedError, match=f"port {port} on {host} is in use"):
        with_free_api_port(Settings(api_host=host, api_port=port), print)


def test_a_default_port_in_use_is_replaced(used_port: tuple[str, int]) -> None:
    host, port = used_port
    messages: list[str] = []
    default = Settings(api_host=host).model_copy(update={"api_port": port})
    default.model_fields_set.discard("api_port")
    settings = with_free_api_port(default, messages.append)
    assert settings.api_port not in {0, port}
    assert messages == [f"port {port} is in use by {holder_of(port)}; using {settings.api_port} for the API"]


@pytest.mark.parametrize("port", [0, 8470])
def test_a_foreign_address_is_not_reported_as_a_port_in_use(port: int) -> None:
    foreign = "192.0.2.1"  # reserved for documentation, RFC 5737
    with pytest.raises(NotStartedError, match=f"can't listen on {foreign}, port {port}: Cannot assign") as error:
        with_free_api_port(Settings(api_host=foreign, api_port=port), print)
    assert "in use" not in str(error.value)


def default_settings(data_dir: Path, host: str, port: int) -> Settings:
    """Return settings whose port is the default, as if it were 8470."""
    settings = Settings(api_host=host, data_dir=data_dir).model_copy(update={"api_port": port})
    settings.model_fields_set.discard("api_port")
    return settings


def test_the_port_of_the_first_start_is_kept(used_port: tuple[str, int], tmp_path: Path) -> None:
    host, port = used_port
    default = default_settings(tmp_path, host, port)
    first = with_free_api_port(default, print)
    keep_ports(first, default)
    assert with_free_api_port(default_settings(tmp_path, host, free_port(host)), print).api_port == first.api_port
    with socket.create_server((host, first.api_port), family=FAMILIES[host]), pytest.raises(NotStartedError) as error:
        with_free_api_port(default, print)
    assert f"process {os.getpid()} in {Path.cwd()}" in str(error.value)
    assert f"port {first.api_port} on {host}, which this data directory has used" in str(error.value)


def test_a_configured_port_replaces_the_kept_one_and_any_port_does_not(tmp_path: Path) -> None:
    for configured in (free_port("127.0.0.1"), 0, free_port("127.0.0.1")):
        before = kept_port(tmp_path, "api")
        settings = Settings(data_dir=tmp_path, api_port=configured, bootstrap_servers="kafka:9092")
        keep_ports(with_free_api_port(settings, print), settings)
        assert kept_port(tmp_path, "api") == (configured or before)
        assert kept_port(tmp_path, "broker") is None, "a cluster has its own ports"


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"api": "8470"}', '{"api": 70000}', '{"api": -1}', '{"api": null}']
)
def test_a_damaged_file_of_ports_is_ignored(content: str, tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text(content)
    assert kept_port(tmp_path, "api") is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_holder_of_a_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert f"(process {os.getpid()} in {Path.cwd()})" in holder_of(port)
    assert holder_of(port) == "another process"

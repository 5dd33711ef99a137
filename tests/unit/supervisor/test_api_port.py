"""The free port of the API is probed on its own address, and errors name the cause."""

import socket
from collections.abc import Iterator

import pytest

from app.settings import Settings
from app.supervisor.restarts import NotStartedError
from app.supervisor.supervisor import RunningService, with_free_api_port

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
    assert messages == [f"port {port} is in use; using {settings.api_port} for the API"]


@pytest.mark.parametrize("port", [0, 8470])
def test_a_foreign_address_is_not_reported_as_a_port_in_use(port: int) -> None:
    foreign = "192.0.2.1"  # reserved for documentation, RFC 5737
    with pytest.raises(NotStartedError, match=f"can't listen on {foreign}, port {port}: Cannot assign") as error:
        with_free_api_port(Settings(api_host=foreign, api_port=port), print)
    assert "in use" not in str(error.value)

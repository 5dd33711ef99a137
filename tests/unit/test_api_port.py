"""The port of the API is looked for where the API will listen, and what is wrong with it is said as it is."""

import socket
from collections.abc import Iterator

import pytest

from app.settings import Settings
from app.supervisor.restarts import NotStartedError
from app.supervisor.supervisor import RunningService, with_free_api_port

FAMILIES = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}


@pytest.fixture(params=FAMILIES)
def taken(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """An address and a port where something listens until the end of the test."""
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


def test_a_free_port_is_kept_and_any_is_found(taken: tuple[str, int]) -> None:
    host, _ = taken
    said: list[str] = []
    chosen = Settings(api_host=host, api_port=free_port(host))
    assert with_free_api_port(chosen, said.append) == chosen
    found = with_free_api_port(Settings(api_host=host, api_port=0), said.append)
    assert found.api_port > 0
    shown = f"[{host}]" if ":" in host else host
    assert RunningService(found, 0).url == f"http://{shown}:{found.api_port}"
    assert said == []


def test_a_port_that_was_chosen_and_is_taken_is_refused(taken: tuple[str, int]) -> None:
    host, port = taken
    with pytest.raises(NotStartedError, match=f"port {port} on {host} is in use"):
        with_free_api_port(Settings(api_host=host, api_port=port), print)


def test_a_port_that_nobody_chose_and_is_taken_is_moved_away_from(taken: tuple[str, int]) -> None:
    host, port = taken
    said: list[str] = []
    nobody_chose = Settings(api_host=host).model_copy(update={"api_port": port})
    nobody_chose.model_fields_set.discard("api_port")
    found = with_free_api_port(nobody_chose, said.append)
    assert found.api_port not in {0, port}
    assert said == [f"port {port} is in use; using {found.api_port} for the API"]


@pytest.mark.parametrize("port", [0, 8470])
def test_an_address_of_another_machine_is_called_that_and_not_a_taken_port(port: int) -> None:
    elsewhere = "192.0.2.1"  # for documentation, RFC 5737: nobody has it
    with pytest.raises(NotStartedError, match=f"can't listen at {elsewhere}, port {port}: Cannot assign") as refused:
        with_free_api_port(Settings(api_host=elsewhere, api_port=port), print)
    assert "taken" not in str(refused.value)

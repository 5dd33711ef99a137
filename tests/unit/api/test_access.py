"""Who may send which request: all routes with all roles, and with tokens and sessions that are over."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from app.api.http.auth import COOKIE, FORM_HEADER
from app.api.server import ALL
from app.auth import form_token
from app.kafka.memory.cluster import MemoryCluster
from schemas.access import ROLES, AccessRole
from tests.integration.api.rig import Client, as_caller
from tests.unit.api.conftest import WallClock, serving, until_connected

NOTHING = "00000000-0000-4000-8000-000000000000"
PROTECTED = [route for route in ALL if route.role is not None]
PUBLIC = ("/livez", "/readyz", "/metrics", "/openapi.json", "/registry/")  # registry: schemas, for stock serializers


@dataclass(frozen=True)
class Credential:
    """A credential, the role that it grants, and whether it is still valid."""

    role: AccessRole
    headers: dict[str, str]
    is_valid: bool = True


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


async def session_of(client: Client, secret: str) -> dict[str, str]:
    """Sign in with a token; return the headers that a page sends with a session."""
    async with as_caller(client.url, None) as browser:
        form = {"token": secret}
        async with browser.session.post(f"{browser.url}/sign-in", data=form, allow_redirects=False) as answer:
            session = answer.cookies[COOKIE].value
    return {"Cookie": f"{COOKIE}={session}", FORM_HEADER: form_token(session)}


async def credentials_of(client: Client, role: AccessRole, clock: WallClock) -> dict[str, Credential]:
    """Create every kind of credential of a role, and end some of them."""

    async def create(name: str, **more: Any) -> dict[str, Any]:
        created: dict[str, Any] = await client.post("/v2/token", {"name": name, "role": role, **more})
        return created

    lasting, revoked = await create("lasting"), await create("revoked")
    expiring = await create("expiring", expires_at="2026-05-04T13:00:00Z")
    credentials = {
        "token": Credential(role, bearer(lasting["token"])),
        "session": Credential(role, await session_of(client, lasting["token"])),
    }
    for name, token in (("revoked", revoked), ("expired", expiring)):
        session = await session_of(client, token["token"])
        credentials[f"{name} token"] = Credential(role, bearer(token["token"]), is_valid=False)
        credentials[f"session of a {name} token"] = Credential(role, session, is_valid=False)
    await client.ask("DELETE", f"/v2/token/{revoked['id']}")
    clock.advance(hours=1)
    return credentials


@pytest.fixture
async def anonymous(client: Client) -> AsyncIterator[Client]:
    async with as_caller(client.url, None) as caller:
        yield caller


@pytest.fixture
async def servers(
    client: Client, cluster: MemoryCluster, tmp_path: Path, clock: WallClock
) -> AsyncIterator[tuple[Client, Client]]:
    """Callers without credentials of the server that creates them, and of another on the same log."""
    async with (
        serving(cluster, tmp_path, clock) as other,
        as_caller(client.url, None) as here,
        as_caller(other.client.url, None) as there,
    ):
        await until_connected(other)
        yield here, there


async def status(caller: Client, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    """Send a request without a body about things that don't exist; return status and code of the answer."""
    for name in ("job_id", "seq", "token_id", "session_id"):
        path = path.replace(f"{{{name}}}", "1" if name == "seq" else NOTHING)
    while "{" in path:
        head, _, tail = path.partition("{")
        path = head + NOTHING + tail.partition("}")[2]
    async with caller.session.request(method, caller.url + path, headers=headers, allow_redirects=False) as answer:
        code = (await answer.json()).get("code", "") if answer.status >= 400 else ""
        return answer.status, code


def test_only_these_paths_are_public() -> None:
    assert all(route.path.startswith(PUBLIC) for route in ALL if route.role is None)


@pytest.mark.parametrize("role", ROLES)
async def test_every_route_of_every_server_admits_its_roles_and_no_ended_credential(
    client: Client, servers: tuple[Client, Client], clock: WallClock, role: AccessRole
) -> None:
    for name, credential in (await credentials_of(client, role, clock)).items():
        for caller, route in product(servers, PROTECTED):
            answer, code = await status(caller, route.method, route.path, credential.headers)
            request = (caller.url, name, role, route.method, route.path, answer, code)
            assert route.role is not None
            if not credential.is_valid:
                assert (answer, code) == (401, "unauthenticated"), request
            elif ROLES.index(role) < ROLES.index(route.role):
                assert (answer, code) == (403, "forbidden"), request
            else:
                assert answer not in {401, 403}, request
                assert answer < 500 or code == "profiles_unreachable", request


async def test_every_route_needs_a_credential(anonymous: Client) -> None:
    for route in PROTECTED:
        answer = await status(anonymous, route.method, route.path, {})
        assert answer == (401, "unauthenticated"), (route.method, route.path, answer)

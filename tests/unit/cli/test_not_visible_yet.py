"""Without control, a command is accepted, and the output says how to check it."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner, Result

from app.cli.main import cli

JOB = {"id": "j1", "name": "Orders", "status": "Running", "reason": None, "revision": 1}
SAID = "accepted; not visible yet, check with: entrepot job show j1\n"


async def _found(request: web.Request) -> web.Response:
    return web.json_response({"data": [JOB] if request.path == "/v2/job" else JOB})


async def _valid(_request: web.Request) -> web.Response:
    return web.json_response({"data": {"valid": True}})


async def _kept(_request: web.Request) -> web.Response:
    return web.json_response({"data": {"id": "j1", "href": "/v2/job/j1"}}, status=202)


async def _asked(*arguments: str) -> Result:
    app = web.Application()
    app.router.add_get("/v2/job", _found)
    app.router.add_get("/v2/job/j1", _found)
    app.router.add_put("/v2/provider/file/import/validate", _valid)
    for method, path in (("POST", "/v2/job"), ("PATCH", "/v2/job/j1"), ("POST", "/v2/job/j1/pause")):
        app.router.add_route(method, path, _kept)
    async with TestServer(app) as server:
        return await asyncio.to_thread(CliRunner().invoke, cli, [*arguments, "--url", str(server.make_url("/"))])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("create", "--provider", "file", "--name", "x", "source=a"), 0),
        (("create", "--provider", "file", "--name", "x", "source=a", "--wait"), 1),
        (("edit", "j1", "--name", "y"), 0),
        (("pause", "j1"), 0),
    ],
)
async def test_a_change_that_is_not_visible_yet_is_reported_as_accepted(arguments: tuple[str, ...], code: int) -> None:
    result = await _asked("job", *arguments)
    assert (result.exit_code, result.stdout) == (code, SAID)

"""A configuration is checked once, before the job is created or changed; `--no-validate` skips the check."""

import asyncio
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from app.cli.exits import REFUSED
from app.cli.main import cli
from tests.unit.cli.conftest import CommandLine

CREATE = ("job", "create", "--provider", "file", "--name", "People", "stream=people")


async def test_a_missing_file_is_refused_unless_the_check_is_skipped(entrepot: CommandLine, data_dir: Path) -> None:
    create = (*CREATE, "source=gone.csv")
    refused = await entrepot.run(*create)
    assert (refused.exit_code, "gone.csv" in refused.stderr) == (REFUSED, True)
    assert (await entrepot.run(*create, "--no-validate")).exit_code == 0
    edit = ("job", "edit", "People", "source=later.csv")
    assert (await entrepot.run(*edit)).exit_code == REFUSED
    assert (await entrepot.run(*edit, "--no-validate")).exit_code == 0
    (data_dir / "people.csv").write_text("id,email\n1,ada@example.com\n")
    assert (await entrepot.run("job", "edit", "People", "source=people.csv")).exit_code == 0
    assert (await entrepot.run("job", "revert", "People", "1")).exit_code == REFUSED
    assert (await entrepot.run("job", "revert", "People", "1", "--no-validate")).exit_code == 0


async def test_a_file_of_one_column_is_stored_without_the_check(entrepot: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("id;email\n1;ada@example.com\n")
    assert (await entrepot.run("collect", "people", str(path))).exit_code == REFUSED
    assert (await entrepot.run("collect", "people", str(path), "--no-validate")).exit_code == 0


async def test_the_provider_checks_a_new_job_once() -> None:
    checks: list[str] = []

    async def validate(request: web.Request) -> web.Response:
        checks.append(request.path)
        return web.json_response({"data": {"valid": True}})

    async def create(request: web.Request) -> web.Response:
        if request.query.get("validate") != "false":
            checks.append(request.path)
        return web.json_response({"data": {"id": "j1", "href": "/v2/job/j1"}}, status=202)

    app = web.Application()
    app.router.add_put("/v2/provider/file/import/validate", validate)
    app.router.add_post("/v2/job", create)
    async with TestServer(app) as server:
        arguments = [*CREATE, "source=a.csv", "--url", str(server.make_url("/"))]
        assert (await asyncio.to_thread(CliRunner().invoke, cli, arguments)).exit_code == 0
    assert len(checks) == 1

"""Names in a shell: completion, references, and suggestions after a mistake."""

import asyncio
import os
import subprocess
import sys
import uuid

import pytest

from app.cli.exits import NOT_FOUND
from app.cli.names import did_you_mean
from tests.integration.support.service import TOKEN
from tests.unit.cli.conftest import CommandLine


async def completed(entrepot: CommandLine, words: str, shell: str = "bash", **environment: str) -> list[str]:
    """Return what a shell would complete after these words; the last one is incomplete."""
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "_ENTREPOT_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": f"entrepot {words}",
        "COMP_CWORD": str(len(f"entrepot {words}".split(" ")) - 1),
        "ENTREPOT_URL": entrepot.client.url,
        "ENTREPOT_TOKEN": TOKEN,
    } | environment
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from app.cli.main import main; main()", env=variables,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert errors == b""
    return [line.partition(",")[2] for line in output.decode().splitlines() if line]


@pytest.mark.slow
async def test_names_are_completed(entrepot: CommandLine) -> None:
    job = await entrepot.create("Flights of New York")
    await entrepot.create("Planes")
    assert await completed(entrepot, "job show fl") == ["Flights\\ of\\ New\\ York"]
    assert await completed(entrepot, f"job wait {job['id'][:6]}") == [job["id"]]
    assert set(await completed(entrepot, "provider show ")) == {"collect", "file"}
    assert await completed(entrepot, "job list --provider f") == ["file"]
    assert await completed(entrepot, "job create --provider file sour") == ["source="]
    assert "source=" in await completed(entrepot, "job edit Planes ")
    assert await completed(entrepot, "job create --provider collect --type ") == ["bulk_csv", "bulk_json"]
    assert "import" in await completed(entrepot, "job list --type ")
    assert await completed(entrepot, "lane show r") == ["realtime"]
    assert await completed(entrepot, "rebuild start --exclude-job Pl") == ["Planes"]
    assert await completed(entrepot, "job edit Planes nothing") == []


async def test_streams_are_completed(entrepot: CommandLine, plane: None) -> None:
    del plane
    await entrepot.client.post("/collect/json/visits", [{"a": 1}])
    async with asyncio.timeout(10):
        while await completed(entrepot, "stream show vi") != ["visits"]:  # the lane counts it
            pass


async def test_without_an_api_completion_is_silent(entrepot: CommandLine) -> None:
    for url in ("http://127.0.0.1:1", ""):
        assert await completed(entrepot, "job show fl", ENTREPOT_URL=url, ENTREPOT_DATA_DIR="/nowhere") == []
    assert await completed(entrepot, "job show fl", ENTREPOT_TOKEN="wrong") == []


async def test_an_id_may_be_as_short_as_it_is_unique(entrepot: CommandLine) -> None:
    jobs = [await entrepot.create(f"Job {number}") for number in range(20)]
    ids = [job["id"] for job in jobs]
    for job in jobs:
        length = next(n for n in range(1, 37) if sum(other.startswith(job["id"][:n]) for other in ids) == 1)
        shown = await entrepot.run("job", "show", job["id"][:length], "-o", "name")
        assert shown.stdout == f"{job['name']}\n"
    assert len({name[:1] for name in ids}) < len(ids)
    ambiguous = next(name[:1] for name in ids if sum(other.startswith(name[:1]) for other in ids) > 1)
    refused = await entrepot.run("job", "show", ambiguous)
    assert (refused.exit_code, "is ambiguous; use an id:" in refused.stderr) == (2, True)


async def test_a_name_wins_over_the_beginning_of_an_id(entrepot: CommandLine) -> None:
    other = await entrepot.create("Other")
    named = await entrepot.create(other["id"][:3])
    assert (await entrepot.run("job", "show", other["id"][:3], "-o", "name")).stdout == f"{named['name']}\n"
    await entrepot.create("people")
    await entrepot.create("People")
    assert (await entrepot.run("job", "show", "People", "-o", "name")).stdout == "People\n"
    assert (await entrepot.run("job", "show", "PEOPLE")).exit_code == 2


async def test_a_similar_name_is_suggested(entrepot: CommandLine) -> None:
    await entrepot.create("Flights of New York")
    misspelt = await entrepot.run("job", "show", "Fligths of New York")
    assert (misspelt.exit_code, misspelt.stderr.splitlines()[-1]) == (
        NOT_FOUND,
        "Error: no job matches 'Fligths of New York'; did you mean 'Flights of New York'?",
    )
    partial = await entrepot.run("job", "show", "New York")
    assert "Similar:" in partial.stderr
    assert (await entrepot.run("job", "show", str(uuid.uuid4()))).stderr.endswith("'\n"), "nothing is similar"
    provider = await entrepot.run("provider", "show", "fiel")
    assert (provider.exit_code, "did you mean 'file'?" in provider.stderr) == (NOT_FOUND, True)
    create = await entrepot.run("job", "create", "--provider", "fille", "--name", "x", "source=a.csv", "stream=a")
    assert "no provider 'fille'; did you mean 'file'?\n" in create.stderr
    typed = ("job", "create", "--provider", "file", "--type", "imprt", "--name", "x", "source=a.csv", "stream=a")
    assert "did you mean 'import'?" in (await entrepot.run(*typed)).stderr
    field = await entrepot.run("job", "create", "--provider", "file", "--name", "x", "sorce=a.csv", "stream=a")
    assert "expected one of: source," in field.stderr


async def test_missing_rules_say_how_to_draft_them(entrepot: CommandLine) -> None:
    mapping = await entrepot.run("mapping", "preview", "big orders")
    assert "entrepot stream suggest 'big orders' | entrepot mapping draft 'big orders' -" in mapping.stderr
    identity = await entrepot.run("identity", "show")
    assert "| entrepot identity draft -" in identity.stderr


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [(("jobs",), "job"), (("job", "lsit"), "list"), (("mapping", "aply"), "apply"), (("views", "rebuidl"), "rebuild")],
)
async def test_a_similar_command_is_suggested(entrepot: CommandLine, arguments: tuple[str, ...], meant: str) -> None:
    result = await entrepot.run(*arguments)
    assert (result.exit_code, f"did you mean {meant!r}?" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("name", "names", "shown"),
    [("ADA", ["ada"], "; did you mean 'ada'?"), ("x", ["ada"], ""), ("ada", [], ""), ("", ["a"], "")],
)
def test_suggestions(name: str, names: list[str], shown: str) -> None:
    assert did_you_mean(name, names) == shown

"""The list of jobs: failed ones first, filters, formats for scripts, uploads apart."""

from pathlib import Path

from tests.unit.api.conftest import until_status
from tests.unit.cli.conftest import CommandLine, RunnerTwin


async def test_failed_jobs_are_listed_first(entrepot: CommandLine, runner: RunnerTwin) -> None:
    for name in ("b", "a", "d", "c"):
        job = await entrepot.create(name)
        if name in {"c", "d"}:
            await runner.error(job["id"], permanent=True)
            await until_status(entrepot.client, job["id"], "Failed")

    async def names(*options: str) -> list[str]:
        return (await entrepot.run("job", "list", "-o", "name", *options)).stdout.split()

    assert await names() == ["c", "d", "a", "b"]
    assert await names("--limit", "3") == ["c", "d", "a"]
    assert await names("--limit", "2") == ["c", "d"]
    assert await names("--sort", "-name") == ["d", "c", "b", "a"]
    assert await names("--status", "Failed") == ["c", "d"]
    assert await names("--status", "Running") == ["a", "b"]
    assert await names("--kind", "export") == []
    assert await names("--type", "import", "--provider", "file", "--kind", "import") == ["c", "d", "a", "b"]
    assert "match the filters" in (await entrepot.run("job", "list", "--kind", "export")).stderr
    limited = await entrepot.run("job", "list", "--limit", "2")
    assert "there are more than 2" in limited.stderr


async def test_uploads_are_listed_apart(entrepot: CommandLine, tmp_path: Path) -> None:
    await entrepot.create("People")
    (tmp_path / "sent.csv").write_text("a\n1\n")
    assert (await entrepot.run("collect", "people", str(tmp_path / "sent.csv"))).exit_code == 0
    assert (await entrepot.run("job", "list", "-o", "name")).stdout == "People\n"
    assert (await entrepot.run("job", "list", "--uploads", "-o", "name")).stdout == "sent.csv\n"
    assert (await entrepot.run("job", "show", "sent.csv", "-o", "name")).stdout == "sent.csv\n"


async def test_tables_for_scripts(entrepot: CommandLine) -> None:
    await entrepot.create("People")
    table = (await entrepot.run("job", "list")).stdout.splitlines()
    assert "PROVIDER  TYPE" in table[0]
    assert table[0].endswith("CREATED")
    assert (await entrepot.run("job", "list", "--no-headers")).stdout.splitlines() == table[1:]
    assert (await entrepot.run("job", "list")).stdout.splitlines() == table, "the option is not remembered"
    assert (await entrepot.run("provider", "list", "-o", "name")).stdout.split() == ["collect", "file"]
    assert (await entrepot.run("job", "list", "--search", "nothing", "-o", "name")).stdout == ""

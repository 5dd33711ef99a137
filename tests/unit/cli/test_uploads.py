"""An upload shows the columns of its file, is refused like the creation of a job, and warns about duplicates."""

from pathlib import Path

from tests.unit.cli.conftest import CommandLine


async def test_an_upload_shows_its_columns_and_warns_about_a_duplicate(entrepot: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("id,full name\n1,Ann\n")
    first = await entrepot.run("collect", "people", str(path), "--output", "json")
    assert first.exit_code == 0, first.output
    assert "2 columns: id, full name" in first.stderr
    assert "Warning" not in first.stderr
    again = await entrepot.run("collect", "people", str(path))
    assert again.exit_code == 0
    assert "the same file was uploaded before" in again.stderr


async def test_an_upload_with_the_wrong_delimiter_is_refused(entrepot: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("id;name\n1;Ann\n")
    refused = await entrepot.run("collect", "people", str(path))
    assert refused.exit_code != 0
    assert "delimiter" in refused.output + refused.stderr
    assert (await entrepot.run("collect", "people", str(path), "--delimiter", ";")).exit_code == 0

"""An upload shows the columns of its file, is refused like the creation of a job, and warns about duplicates."""

from pathlib import Path

import pytest

from app.cli.exits import REFUSED
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


@pytest.mark.parametrize(
    ("name", "text", "advice"),
    [
        ("wrapped.json", '{"data": [{"id": 1}]}', "the member 'data'"),
        ("table.json", "id,name\n1,Ann\n", "expected `[`"),
        ("page.csv", "<!doctype html><html><body>Sign in</body></html>", "download the file again"),
    ],
)
async def test_a_file_that_no_job_would_be_created_for_is_refused(
    entrepot: CommandLine, tmp_path: Path, name: str, text: str, advice: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    refused = await entrepot.run("collect", "people", str(path))
    assert (refused.exit_code, advice in refused.stderr) == (REFUSED, True), refused.stderr
    assert "--idempotency-key" not in refused.stderr, "nothing of it is stored, and the key belongs to its settings"


async def test_small_json_files_are_uploads(entrepot: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "people.json"
    path.write_text('{"id": 1}\n{"id": 2}\n')
    assert (await entrepot.run("collect", "people", str(path))).exit_code == 0
    assert "the same file was uploaded before" in (await entrepot.run("collect", "people", str(path))).stderr
    listed = await entrepot.run("job", "list", "--uploads", "-o", "name")
    assert set(listed.stdout.split()) == {"people.json"}


async def test_advice_to_set_a_format_can_be_followed(entrepot: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text('[{"id": 1}]')
    refused = await entrepot.run("collect", "people", str(path))
    assert "set `format` to `json_array`" in refused.stderr
    assert (await entrepot.run("collect", "people", str(path), "--format", "json_array")).exit_code == 0


async def test_an_upload_that_stopped_at_an_invalid_record_can_be_resumed(
    entrepot: CommandLine, tmp_path: Path
) -> None:
    path = tmp_path / "people.csv"
    path.write_text("id\n1\n2,\n")
    options = ("--on-error", "abort", "--idempotency-key", "k1", "-o", "json")
    assert "--idempotency-key k1" in (await entrepot.run("collect", "people", str(path), *options)).stderr
    path.write_text("id\n1\n2\n")
    resumed = await entrepot.run("collect", "people", str(path), *options)
    assert '"duplicate_count": 1' in resumed.stdout

"""The file options of `collect` and `backfill preview` reach the API by the names of its parameters."""

import click
from click.testing import CliRunner

from app.api.collect.config import BulkQuery
from app.cli.client import Value
from app.cli.data.file_options import file_options


def test_file_options_have_the_names_of_query_parameters() -> None:
    received: dict[str, Value] = {}

    def command(**options: Value) -> None:
        received.update(options)

    arguments = ["--quote", "", "--escape", "\\", "--skip-lines", "2"]
    result = CliRunner().invoke(click.command()(file_options(command)), arguments)
    assert result.exit_code == 0, result.output
    given = {"quote": "none", "escape": "\\", "skip_lines": 2}  # an empty parameter is not sent
    assert {name: value for name, value in received.items() if value is not None} == given
    assert set(received) < set(BulkQuery.model_fields)

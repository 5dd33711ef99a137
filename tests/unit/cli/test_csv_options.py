"""The CSV options of `collect` and `backfill preview` reach the API by the names of its parameters."""

from collections.abc import Mapping

import click
from click.testing import CliRunner

from app.api.collect.config import FileQuery
from app.cli.client import Value
from app.cli.data.collect import CSV_NAMES, csv_options


def test_csv_options_have_the_names_of_query_parameters() -> None:
    received: list[Mapping[str, Value]] = []

    def command(csv: Mapping[str, Value]) -> None:
        received.append(csv)

    arguments = ["--quote", "", "--escape", "\\", "--skip-lines", "2"]
    result = CliRunner().invoke(click.command()(csv_options(command)), arguments)
    assert result.exit_code == 0, result.output
    given = {"quote": "", "escape": "\\", "skip_lines": 2}
    assert received == [dict.fromkeys(CSV_NAMES) | given]
    assert set(CSV_NAMES) < set(FileQuery.model_fields)

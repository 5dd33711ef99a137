"""`entrepot collect` can say about a file what a job can, so that the advice in its errors can be followed."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from app.cli.exits import TOO_MANY_REJECTED
from app.kafka.memory.cluster import MemoryCluster
from schemas.messages import MessageBatch
from schemas.topics import LANES
from schemas.wire.codec import decode
from tests.unit.api.conftest import PARTITIONS
from tests.unit.cli.conftest import CommandLine


def stored(cluster: MemoryCluster) -> list[dict[str, Any]]:
    records = [record for number in range(PARTITIONS) for record in cluster.records(LANES["backfill"].name, number)]
    batches = [batch for record in records if isinstance(batch := decode(record.value or b""), MessageBatch)]
    return [orjson.loads(line) for batch in batches for line in batch.payload.splitlines()]


@pytest.fixture
def excel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("uploads") / "excel.csv"
    file.write_bytes("name\nZoë\n".encode("cp1252"))
    return file


@pytest.mark.parametrize(
    ("name", "text", "encoding", "options"),
    [
        ("excel.csv", "name\nZoë €\n", "cp1252", ("--encoding", "cp1252")),
        ("unicode.txt", "name\nZoë €\n", "utf-16", ("--encoding", "utf-16", "--format", "csv")),
        ("twice.csv", "a,a\nZoë €,b\n", "utf-8", ("--headers", "name,x", "--header", "present")),
        ("bare.csv", "Zoë €,b\n", "utf-8", ("--headers", "name,x")),
        ("inch.csv", 'name\n"Zoë €\n', "utf-8", ("--quote", "")),
        ("small.json", '[{"name": "Zoë €"}]', "utf-16", ("--encoding", "utf-16")),
        ("lines.json", '{"name": "Zoë €"}\n{"name": "Zoë €"}\n', "utf-8", ("--time-zone", "Europe/Vienna")),
    ],
)
async def test_a_file_is_described_by_options(
    entrepot: CommandLine,
    cluster: MemoryCluster,
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    text: str,
    encoding: str,
    options: tuple[str, ...],
) -> None:
    file = tmp_path_factory.mktemp("uploads") / name
    file.write_bytes(text.encode(encoding))
    result = await entrepot.run("collect", "people", str(file), *options)
    assert result.exit_code == 0, result.stderr
    assert {message["name"].strip('"') for message in stored(cluster)} == {"Zoë €"}


async def test_advice_of_the_command_line_can_be_followed(entrepot: CommandLine, excel: Path) -> None:
    result = await entrepot.run("collect", "people", str(excel))
    assert (result.exit_code, "check `encoding`" in result.stderr) == (TOO_MANY_REJECTED, True)

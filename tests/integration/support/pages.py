"""Run the commands of a documentation page on a new installation, and compare the output with the page."""

import asyncio
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.supervisor.broker.server import Broker
from tests.integration.api.rig import service_with_client
from tests.integration.support.service import TOKEN, Service

ROOT = Path(__file__).resolve().parents[3]
CURRENT_TIME = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"
SHOWN_TIME = r"2026-0\d-\d\d \d\d:00:00 UTC"
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Page:
    """A page of `docs/`."""

    name: str

    @property
    def text(self) -> str:
        return (ROOT / "docs" / self.name).read_text()

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield name and content of the files that the page shows."""
        for match in re.finditer(r"^```\w+ (\S+)\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL):
            yield match[1], match[2]

    def commands(self) -> Iterator[tuple[str, str]]:
        """Yield each command of the page with the output that it shows; `…` stands for omitted lines."""
        for block in re.findall(r"^```console\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL):
            for part in re.split(r"^\$ entrepot ", block, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                yield command, output


def normalized(output: str) -> list[str]:
    """Replace what differs in each run: ids, current times, durations, digests, and the column widths that follow."""
    lines = []
    for line in output.splitlines():
        if line.startswith("Entrepot at "):  # which cluster a command speaks to; the pages leave it out
            continue
        text = re.sub(rf"{UUID}|\b[0-9a-f]{{8}}$|^[0-9a-f]{{8}}\b", "ID", line)
        text = re.sub(rf"(?!{SHOWN_TIME}){CURRENT_TIME}|20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*Z$", "NOW", text)
        text = re.sub(r"\d+\.\d (days|years)", r"N \1", text)
        text = re.sub(r"digest [0-9a-f]{32}", "digest D", text)
        text = re.sub(r"^((?:realtime|backfill) +\w+ +0).*", r"\1", text)
        lines.append(" ".join(text.split()))
    return lines


async def run_command(running: Service, folder: Path, command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.cli.main", *shlex.split(command),
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={
            "PATH": "", "TZ": "UTC", "PYTHONPATH": str(ROOT),
            "ENTREPOT_DATA_DIR": str(running.settings.data_dir), "ENTREPOT_TOKEN": TOKEN,
        },
    )  # fmt: skip
    output, _ = await process.communicate()
    return output.decode()


async def check_page(page: Page, roles: Sequence[str], tmp_path: Path, empty_broker: Broker) -> None:
    """Run all commands of a page in order."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, text in page.files():
        (folder / name).write_text(text)
    async with service_with_client(tmp_path / "data", empty_broker, roles) as (running, _):
        for command, output in page.commands():
            actual = await run_command(running, folder, command)
            expected, omits, _ = output.partition("…\n")
            lines = normalized(expected)
            assert normalized(actual)[: len(lines) if omits else None] == lines, f"{command}\n{actual}"

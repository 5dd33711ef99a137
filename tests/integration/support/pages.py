"""Pages that are typed as they stand by somebody who has just started: what comes out is what they say."""

import asyncio
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.integration.api.test_collect import url_of
from tests.integration.conftest import FreshBroker
from tests.integration.support.service import Service, service

ROOT = Path(__file__).resolve().parents[3]
TODAY = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"
SAID_THEN = r"2026-0\d-\d\d \d\d:00:00 UTC"
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Page:
    """A page of `docs/`."""

    name: str

    @property
    def text(self) -> str:
        return (ROOT / "docs" / self.name).read_text()

    def files(self) -> Iterator[tuple[str, str]]:
        """The files that the page shows, by name."""
        for found in re.finditer(r"^```\w+ (\S+)\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL):
            yield found[1], found[2]

    def commands(self) -> Iterator[tuple[str, str]]:
        """The commands that the page types, and what it shows behind each; `…` stands for more."""
        for block in re.findall(r"^```console\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL):
            for part in re.split(r"^\$ entrepot ", block, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                yield command, output


def same(output: str) -> list[str]:
    """Leave out what differs each time: ids, moments that no message says, how fast it went, and widths that follow."""
    lines = []
    for line in output.splitlines():
        known = re.sub(rf"{UUID}|\b[0-9a-f]{{8}}$|^[0-9a-f]{{8}}\b", "ID", line)
        known = re.sub(rf"(?!{SAID_THEN}){TODAY}|20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*Z$", "NOW", known)
        known = re.sub(r"\d+\.\d (days|years)", r"N \1", known)
        known = re.sub(r"digest [0-9a-f]{32}", "digest D", known)
        known = re.sub(r"^((?:realtime|backfill) +\w+ +0).*", r"\1", known)
        lines.append(" ".join(known.split()))
    return lines


async def typed(running: Service, folder: Path, command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.cli.main", *shlex.split(command),
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={
            "PATH": "", "TZ": "UTC", "PYTHONPATH": str(ROOT),
            "ENTREPOT_DATA_DIR": str(running.settings.data_dir),
        },
    )  # fmt: skip
    output, _ = await process.communicate()
    return output.decode()


async def check_page(page: Page, roles: Sequence[str], tmp_path: Path, fresh_broker: FreshBroker) -> None:
    """Type a page from its beginning to its end."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, text in page.files():
        (folder / name).write_text(text)
    async with service(tmp_path / "data", await fresh_broker(), roles) as running:
        await url_of(running)
        for command, output in page.commands():
            said = await typed(running, folder, command)
            shown, more, _ = output.partition("…\n")
            assert same(said)[: len(same(shown)) if more else None] == same(shown), f"{command}\n{said}"

"""The page about profiles, typed as it stands by somebody who has just started: what comes out is what it says."""

import asyncio
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.kafka.api.test_collect import url_of
from tests.kafka.conftest import FreshBroker
from tests.kafka.service import Service, service

PAGE = Path(__file__).resolve().parents[2] / "docs" / "profiles.md"
ROLES = ("control", "api", "lane-realtime", "lane-backfill", "profiles")
TODAY = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"
SAID_THEN = r"2026-0\d-\d\d \d\d:00:00 UTC"


def files() -> Iterator[tuple[str, str]]:
    """The files that the page shows, by name."""
    for found in re.finditer(r"^```\w+ (\S+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        yield found[1], found[2]


def commands() -> Iterator[tuple[str, str]]:
    """The commands that the page types, and what it shows behind each."""
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ entrepot ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def same(output: str) -> list[str]:
    """Leave out what differs each time: ids, moments that no message says, how fast it went, and widths that follow."""
    lines = []
    for line in output.splitlines():
        known = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{8}$", "ID", line)
        known = re.sub(rf"(?!{SAID_THEN}){TODAY}", "NOW", known)
        known = re.sub(r"^((?:realtime|backfill) +\w+ +0).*", r"\1", known)
        lines.append(" ".join(known.split()))
    return lines


async def typed(running: Service, folder: Path, command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.cli.main", *shlex.split(command),
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={
            "PATH": "", "TZ": "UTC", "PYTHONPATH": str(PAGE.parents[1]),
            "ENTREPOT_DATA_DIR": str(running.settings.data_dir),
        },
    )  # fmt: skip
    output, _ = await process.communicate()
    return output.decode()


async def test_the_page_shows_what_happens(tmp_path: Path, fresh_broker: FreshBroker) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, text in files():
        (folder / name).write_text(text)
    async with service(tmp_path / "data", await fresh_broker(), ROLES) as running:
        await url_of(running)
        for command, output in commands():
            assert same(await typed(running, folder, command)) == same(output), command

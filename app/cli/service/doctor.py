"""`entrepot doctor`: runs the checks and shows what they found. Mends nothing."""

import asyncio
import logging
from dataclasses import asdict

import click

from app.cli.exits import DIFFERS
from app.cli.output import Format, serialized
from app.cli.service.checks import Finding, find_all
from app.cli.service.settings_errors import load_settings

logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # what it says, the findings say better

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(short_help="Check this machine and a running Entrepot.")
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table")
def doctor(output: Format) -> None:
    """Check what Entrepot needs and what runs of it; each line is ok, warn or fail, and says what to do.

    Exit code 7 when anything fails.
    """
    findings: list[Finding] = []

    async def look() -> None:
        async for finding in find_all(load_settings({})):
            findings.append(finding)
            if output == "table":
                click.echo(f"{click.style(f'{finding.level:<4}', fg=COLOURS[finding.level])}  {finding.says}")
                if finding.advice:
                    click.echo(f"      → {finding.advice}")

    asyncio.run(look())
    if output != "table":
        click.echo(serialized([asdict(each) for each in findings], output))
    if any(each.level == "fail" for each in findings):
        raise click.exceptions.Exit(DIFFERS)

"""`entrepot doctor`: runs the checks and prints the findings. Changes nothing."""

import asyncio
import logging
from dataclasses import asdict

import click

from app.cli.exits import DIFFERS
from app.cli.output import Format, serialized
from app.cli.service.checks import Finding, find_all
from app.cli.service.settings_errors import load_settings

logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # the findings are clearer than its log lines

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(short_help="Diagnose this machine and a running Entrepot.")
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table")
def doctor(output: Format) -> None:
    """Check the requirements of Entrepot and its running parts. Each line is ok, warn or fail, with advice.

    Exit code 7 when a check fails.
    """
    findings: list[Finding] = []

    async def run() -> None:
        async for finding in find_all(load_settings({})):
            findings.append(finding)
            if output == "table":
                click.echo(f"{click.style(f'{finding.level:<4}', fg=COLOURS[finding.level])}  {finding.message}")
                if finding.advice:
                    click.echo(f"      → {finding.advice}")

    asyncio.run(run())
    if output != "table":
        click.echo(serialized([asdict(finding) for finding in findings], output))
    if any(finding.level == "fail" for finding in findings):
        raise click.exceptions.Exit(DIFFERS)

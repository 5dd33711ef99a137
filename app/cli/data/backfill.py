"""`entrepot backfill plan`: what to know before history is sent."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import click

from app.cli.client import Value
from app.cli.data.collect import NDJSON, TYPES, Parcel, parcel_of
from app.cli.lazy import SpelledOut
from app.cli.output import hanging, serialized, visible
from app.cli.param_types import MOMENTS, PAST
from app.cli.session import Session, talks

PATH: Final = "/v2/backfill/plan"


@click.group(cls=SpelledOut)
def backfill() -> None:
    """History, before it is sent."""


@backfill.command("plan")
@click.argument("stream")
@click.argument("file", required=False)
@click.option("--messages", type=click.IntRange(1), help="How many there will be in all.")
@click.option("--since", type=PAST, metavar="MOMENT", help=f"The time of the oldest, {MOMENTS}")
@click.option("--until", type=PAST, metavar="MOMENT", help="The time of the newest.")
@click.option("--timestamp-field", metavar="FIELD", help="As you will say it to `collect`.")
@click.option("--format", "kind", type=click.Choice(["csv", "tsv", "ndjson", "json"]), help="By default by the name.")
@click.option("--headers", metavar="A,B,…", help="Field names of CSV without a header row.")
@click.option("--delimiter", metavar="CHARACTER", help="Of CSV; `tab` is one.")
@talks
async def plan(
    session: Session,
    stream: str,
    file: str | None,
    messages: int | None,
    since: str | None,
    until: str | None,
    timestamp_field: str | None,
    kind: str | None,
    headers: str | None,
    delimiter: str | None,
) -> None:
    """Tell what to know before history is sent into STREAM. Nothing is kept.

    FILE is a small part of it (- is standard input), such as its first thousand lines: by that it says whether any
    profile would change, and how. Without one, say with --messages how many there are.

    \b
    head -n 1000 orders.csv | entrepot backfill plan orders - --format csv --messages 2500000
    """  # noqa: D301  # to click a backspace is a paragraph that keeps its lines
    query: dict[str, Value] = {
        "stream": stream,
        "messages": messages,
        "since": since,
        "until": until,
        "timestamp_field": timestamp_field,
        "headers": headers,
        "delimiter": delimiter,
    }
    if file is None:
        found = (await session.api.answer("POST", PATH, query=query))["data"]
    else:
        parcel = parcel_of(file, kind)
        sent = {"Content-Type": TYPES.get(parcel.kind, NDJSON)}
        found = await session.api.upload(PATH, _body(parcel), query=query | {"filename": parcel.filename}, headers=sent)
    if session.output != "table":
        click.echo(serialized(found, session.output))
    else:
        _print(found)


async def _body(parcel: Parcel) -> AsyncIterator[bytes]:
    with parcel.open() as file:
        while chunk := file.read(64 * 1024):
            yield chunk


def _print(found: Mapping[str, Any]) -> None:
    for each in found["in_words"]:
        click.echo(hanging(visible(each), 0))
    for each in found["warnings"]:
        click.echo(f"look first: {hanging(visible(each['message']), len('look first: '))}")
    for each in found["sample"]["first_rejects"] if found["sample"] else ():
        click.echo(visible(f"  {each['position']} {each['reason']}"))
    for each in found["sample"]["faults"] if found["sample"] else ():
        click.echo(visible(f"  {each['part']}: {each['code']}, such as {each['example']} ({each['messages']:,} times)"))

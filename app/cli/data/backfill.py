"""`entrepot backfill preview`: estimate the impact of a backfill (dry run)."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import click

from app.cli.client import Value
from app.cli.data.collect import NDJSON, TYPES, UploadFile, upload_file
from app.cli.data.file_options import file_options
from app.cli.lazy import FullHelpGroup
from app.cli.names import complete_streams
from app.cli.output import hanging
from app.cli.param_types import PAST, TIME_FORMATS
from app.cli.session import Session, api_command
from app.sentences.escapes import escaped
from app.sentences.sentence import counted

PATH: Final = "/v2/backfill/preview"


@click.group(cls=FullHelpGroup)
def backfill() -> None:
    """Estimate the impact of a backfill before it is sent."""


@backfill.command("preview")
@click.argument("stream", shell_complete=complete_streams)
@click.argument("file", required=False)
@click.option("--messages", type=click.IntRange(1), help="Total number of messages.")
@click.option("--since", type=PAST, metavar="TIME", help=f"Event time of the oldest message: {TIME_FORMATS}")
@click.option("--until", type=PAST, metavar="TIME", help="Event time of the newest message.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "tsv", "ndjson", "json"]),
    help="Input format; by default from the file name.",
)
@file_options
@api_command
async def backfill_preview(
    session: Session,
    stream: str,
    file: str | None,
    messages: int | None,
    since: str | None,
    until: str | None,
    kind: str | None,
    **options: Value,
) -> None:
    """Estimate the impact of sending history to STREAM. Nothing is stored.

    FILE is a sample (- is standard input), such as the first thousand lines: it shows whether profiles would change,
    and how. Without FILE, --messages is required.

    \b
    head -n 1000 orders.csv | entrepot backfill preview orders - --format csv --messages 2500000
    """  # noqa: D301  # to click a backspace is a paragraph that keeps its lines
    query: dict[str, Value] = {
        "stream": stream,
        "messages": messages,
        "since": since,
        "until": until,
        **options,
    }
    if file is None:
        preview = (await session.api.request("POST", PATH, query=query))["data"]
    else:
        upload = upload_file(file, kind)
        query["filename"] = upload.filename
        content_type = {"Content-Type": TYPES.get(upload.kind, NDJSON)}
        preview = await session.api.upload(PATH, _body(upload), query=query, headers=content_type)
    if not session.print_unless_table(preview):
        _print(preview)


async def _body(upload: UploadFile) -> AsyncIterator[bytes]:
    with upload.open() as file:
        while chunk := file.read(64 * 1024):
            yield chunk


def _print(preview: Mapping[str, Any]) -> None:
    for sentence in preview["in_words"]:
        click.echo(hanging(escaped(sentence), 0))
    for warning in preview["warnings"]:
        click.echo(f"warning: {hanging(escaped(warning['message']), len('warning: '))}")
    for reject in preview["sample"]["first_rejects"] if preview["sample"] else ():
        click.echo(escaped(f"  {reject['position']}: {reject['reason']}"))
    for fault in preview["sample"]["faults"] if preview["sample"] else ():
        count = counted(fault["messages"], "message")
        click.echo(escaped(f"  {fault['part']}: {fault['code']} in {count}, for example {fault['example']}"))

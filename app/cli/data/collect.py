"""`entrepot collect`: files of messages into a stream, each sent once however often the network fails."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal
from urllib.parse import quote
from uuid import uuid4

import click

from app.cli.client import Value
from app.cli.exits import UNAVAILABLE, Stopped
from app.cli.job.ingest_wait import arrived
from app.cli.output import Column, show, visible
from app.cli.progress import bar
from app.cli.session import Session, talks

CHUNK: Final = 256 * 1024
MOST_JSON_BYTES: Final = 10 * 1024 * 1024  # a larger array goes the way of files
TYPES: Final = {"csv": "text/csv", "tsv": "text/tab-separated-values", "json": "application/json"}
NDJSON: Final = "application/x-ndjson"
PAUSES: Final = (1.0, 2.0, 4.0, 8.0)  # before each further try
COLUMNS: Final = (
    Column("file", lambda row: row["file"], shrinks=True),
    Column("messages", lambda row: row["message_count"], right=True),
    Column("rejected", lambda row: row["rejected_count"], right=True),
    Column("duplicates", lambda row: row["duplicate_count"], right=True, drop=2),
    Column("upload", lambda row: row["upload_id"] or "(dry run)", drop=1),
)


@dataclass(frozen=True, slots=True)
class Parcel:
    """One file on its way: `path` None is standard input, which can't be sent twice."""

    path: Path | None
    kind: str  # csv, tsv, json or ndjson
    size: int | None
    waits: bool = False

    @property
    def name(self) -> str:
        """What it is called."""
        return self.path.name if self.path else "-"

    @property
    def filename(self) -> str:
        """What the service is told; a document of JSON is told from lines of it by its ending alone."""
        name = self.path.name if self.path else f"stdin.{self.kind}"
        return f"{name}.json" if self.kind == "json" and ".json" not in name else name

    @property
    def route(self) -> Literal["json", "bulk"]:
        """Which way it goes: a JSON document that fits into memory goes at once, what is waited for as a job."""
        if self.waits:
            return "bulk"
        fits = self.kind == "json" and self.size is not None and self.size <= MOST_JSON_BYTES
        return "json" if fits and self.name.endswith(".json") else "bulk"

    def open(self) -> BinaryIO:
        """Open it at its beginning."""
        return self.path.open("rb") if self.path else sys.stdin.buffer


@click.command(short_help="Send files of messages into a stream.")
@click.argument("stream")
@click.argument("files", nargs=-1, required=True)
@click.option("--format", "kind", type=click.Choice(["csv", "tsv", "ndjson", "json"]), help="By default by the name.")
@click.option("--timestamp-field", metavar="FIELD", help="Says when a message happened.")
@click.option("--lane", type=click.Choice(["backfill", "realtime"]), default="backfill", show_default=True)
@click.option(
    "--on-error", type=click.Choice(["quarantine", "drop", "abort"]), default="quarantine", show_default=True,
    help="What becomes of a bad record.",
)  # fmt: skip
@click.option("--headers", metavar="A,B,…", help="Field names of CSV without a header row.")
@click.option("--delimiter", metavar="CHARACTER", help="Of CSV; `tab` is one.")
@click.option("--append", metavar="JSON", help="An object: fields that every message gets, unless it has them.")
@click.option("--idempotency-key", metavar="KEY", help="The same key again goes on where it stopped.")
@click.option("--dry-run", is_flag=True, help="Check and count, and keep nothing.")
@click.option("-w", "--wait", is_flag=True, help="Stay until all that was sent is in the profiles.")
@talks
async def collect(
    session: Session,
    stream: str,
    files: tuple[str, ...],
    kind: str | None,
    timestamp_field: str | None,
    lane: str,
    on_error: str,
    headers: str | None,
    delimiter: str | None,
    append: str | None,
    idempotency_key: str | None,
    *,
    dry_run: bool,
    wait: bool,
) -> None:
    """Send FILES (CSV, NDJSON or JSON; plain, gzip or zstd; - is standard input) into STREAM.

    What is on its way when the connection breaks is sent again by itself, and nothing comes twice.

    \b
    entrepot collect flights flights.csv.gz --timestamp-field time_hour
    tail -n 1000 events.ndjson | entrepot collect events - --format ndjson --lane realtime
    """  # noqa: D301  # to click a backspace is a paragraph that keeps its lines
    query: dict[str, Value] = {"timestamp_field": timestamp_field, "lane": lane, "on_error": on_error, "append": append}
    query["dryrun"] = "true" if dry_run else None
    parcels = [replace(parcel_of(each, kind), waits=wait) for each in files]
    rows = []
    for parcel in parcels:
        more = {"headers": headers, "delimiter": delimiter, "filename": parcel.filename}
        key = _key(idempotency_key, parcel, alone=len(parcels) == 1)
        found = await _sent(session, stream, parcel, query | more if parcel.route == "bulk" else query, key)
        rows.append({"file": parcel.name, **found})
        for each in found["first_rejects"]:
            click.echo(visible(f"{parcel.name}: {each['position']} {each['reason']}"), err=True)
    for each in rows if wait and not dry_run else ():
        await arrived(session, each["upload_id"], lane)
    show(rows, session.output, COLUMNS)


def _key(given: str | None, parcel: Parcel, *, alone: bool) -> str:
    """Return the key of one file: of several, each has its own."""
    if given is None:
        return str(uuid4())
    return given if alone else f"{given}/{parcel.name}"


def parcel_of(name: str, kind: str | None) -> Parcel:
    """Return the file of that name, `-` being standard input, once it is known how it is written."""
    if name == "-":
        if kind is None:
            raise click.UsageError("say with --format what comes on standard input")
        return Parcel(None, kind, None)
    path = Path(name)
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise click.BadParameter(f"{name}: {error.strerror}") from error
    endings = [each.lstrip(".").lower() for each in path.suffixes if each not in {".gz", ".gzip", ".zst", ".zstd"}]
    by_name = {"csv": "csv", "tsv": "tsv", "json": "json", "ndjson": "ndjson", "jsonl": "ndjson"}
    found = kind or (by_name.get(endings[-1]) if endings else None)
    if found is None:
        raise click.UsageError(f"{name} doesn't say how it is written: name that with --format")
    return Parcel(path, found, size)


async def _sent(session: Session, stream: str, parcel: Parcel, query: Mapping[str, Value], key: str) -> Any:
    """Send a file, again when the service can't be reached; an upload that is known there goes on."""
    path = f"/collect/{parcel.route}/{quote(stream, safe='')}"
    headers = {"Content-Type": TYPES.get(parcel.kind, NDJSON), "Idempotency-Key": key}
    for pause in (*PAUSES, None):
        with bar(f"{parcel.name}") as update:
            try:
                return await session.api.upload(path, _chunks(parcel, update), query=query, headers=headers)
            except Stopped as stopped:
                if stopped.exit_code != UNAVAILABLE or pause is None or parcel.path is None:
                    hint = f"\nTo go on where it stopped: --idempotency-key {key}" if parcel.route == "bulk" else ""
                    raise Stopped(stopped.message + hint, stopped.exit_code) from stopped
        await asyncio.sleep(pause)
    raise AssertionError("the last try has returned or raised")


async def _chunks(parcel: Parcel, update: Callable[[float, float | None, str], None]) -> AsyncIterator[bytes]:
    sent = 0
    with parcel.open() as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            yield chunk
            sent += len(chunk)
            update(sent, parcel.size, f"{sent / 1e6:,.1f} MB sent")

"""`entrepot collect`: upload files to a stream exactly once, with retries after network failures."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final
from uuid import uuid4

import click

from app.cli.client import RefusedError, Value, api_path
from app.cli.data.file_options import file_options
from app.cli.exits import REFUSED, TOO_MANY_REJECTED, UNAVAILABLE, CommandError
from app.cli.job.arguments import NO_VALIDATE
from app.cli.job.ingest import wait_ingested
from app.cli.job.wait import MAX_REJECTED, TIMEOUT, RejectLimit, check_time_limit, print_reject_summary
from app.cli.names import complete_streams
from app.cli.output import Column, show
from app.cli.progress import bar
from app.cli.session import Session, api_command
from app.sentences.escapes import escaped
from app.sentences.sentence import counted

CHUNK_BYTES: Final = 256 * 1024
TYPES: Final = {"csv": "text/csv", "tsv": "text/tab-separated-values", "json": "application/json"}
NDJSON: Final = "application/x-ndjson"
RETRY_DELAYS_SECONDS: Final = (1.0, 2.0, 4.0, 8.0)
MAX_SHOWN_COLUMNS: Final = 30
COLUMNS: Final = (
    Column("file", lambda row: row["file"], shrinks=True),
    Column("messages", lambda row: row["message_count"], right=True),
    Column("rejected", lambda row: row["rejected_count"], right=True),
    Column("duplicates", lambda row: row["duplicate_count"], right=True, drop=2),
    Column("upload", lambda row: row["upload_id"] or "(dry run)", drop=1),
)


@dataclass(frozen=True, slots=True)
class UploadFile:
    """A file to upload; `path` None is standard input, which cannot be retried."""

    path: Path | None
    kind: str  # csv, tsv, json or ndjson
    size: int | None

    @property
    def name(self) -> str:
        """The name to show."""
        return self.path.name if self.path else "-"

    @property
    def filename(self) -> str:
        """The file name sent to the API, which detects a JSON document by its extension."""
        name = self.path.name if self.path else f"stdin.{self.kind}"
        return f"{name}.json" if self.kind == "json" and ".json" not in name else name

    def open(self) -> BinaryIO:
        """Open the file for reading."""
        return self.path.open("rb") if self.path else sys.stdin.buffer


@click.command()
@click.argument("stream", shell_complete=complete_streams)
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "tsv", "ndjson", "json", "json_array"]),
    callback=lambda _context, _option, value: "json" if value == "json_array" else value,
    help="Input format; by default from the file name.",
)
@click.option(
    "--lane",
    type=click.Choice(["backfill", "realtime"]),
    default="backfill",
    show_default=True,
    help="Lane that processes the messages.",
)
@click.option(
    "--on-error", type=click.Choice(["quarantine", "drop", "abort"]), default="quarantine", show_default=True,
    help="Handling of invalid records.",
)  # fmt: skip
@file_options
@click.option("--append", metavar="JSON", help="JSON object of default fields, added to messages that lack them.")
@click.option("--idempotency-key", metavar="KEY", help="Reuse a key to resume an interrupted upload.")
@NO_VALIDATE
@click.option("--dry-run", is_flag=True, help="Validate and count records without storing them.")
@click.option("-w", "--wait", is_flag=True, help="Wait until all messages are applied to profiles.")
@TIMEOUT
@MAX_REJECTED
@api_command
async def collect(
    session: Session,
    stream: str,
    files: tuple[str, ...],
    kind: str | None,
    lane: str,
    on_error: str,
    append: str | None,
    validate: str | None,
    idempotency_key: str | None,
    time_limit: int | None,
    max_rejected: RejectLimit,
    *,
    dry_run: bool,
    wait: bool,
    **options: Value,
) -> int:
    """Upload FILES (CSV, NDJSON or JSON; plain, gzip or zstd; - is standard input) to STREAM.

    Interrupted uploads are retried automatically, without duplicates.

    \b
    entrepot collect flights flights.csv.gz --timestamp-field time_hour
    tail -n 1000 events.ndjson | entrepot collect events - --format ndjson --lane realtime
    """  # noqa: D301  # to click a backspace is a paragraph that keeps its lines
    check_time_limit(time_limit, wait=wait)
    query: dict[str, Value] = {"lane": lane, "on_error": on_error, "append": append, "validate": validate, **options}
    query |= {"dryrun": "true"} if dry_run else {}
    uploads = [upload_file(name, kind) for name in files]
    rows: list[dict[str, Any]] = []
    for upload in uploads:
        key = _key(idempotency_key, upload, alone=len(uploads) == 1)
        result = await _sent(session, stream, upload, {**query, "filename": upload.filename}, key)
        rows.append({"file": upload.name, **result})
        _print_file(rows[-1])
        _print_rejects(rows[-1])
    for row in rows if wait and not dry_run else ():
        await wait_ingested(session, row["upload_id"], lane, time_limit)
    show(rows, session.output, COLUMNS)
    return TOO_MANY_REJECTED if any(max_rejected.is_exceeded(*_counts(row)) for row in rows) else 0


def _print_file(row: Mapping[str, Any]) -> None:
    """Print the columns of a file, and a warning if it was uploaded before."""
    if columns := row["columns"]:
        more = ", …" if len(columns) > MAX_SHOWN_COLUMNS else ""
        shown = ", ".join(columns[:MAX_SHOWN_COLUMNS])
        click.echo(escaped(f"{row['file']}: {counted(len(columns), 'column')}: {shown}{more}"), err=True)
    if duplicate := row["duplicate_of"]:
        text = f"Warning: {row['file']}: the same file was uploaded before, as {duplicate}, and counts twice"
        click.echo(escaped(f"{text}; to take one back: entrepot job undo {duplicate}"), err=True)


def _print_rejects(row: Mapping[str, Any]) -> None:
    for reject in row["first_rejects"]:
        click.echo(escaped(f"{row['file']}: {reject['position']}: {reject['reason']}"), err=True)
    rejected, read = _counts(row)
    if rejected:
        print_reject_summary(rejected, read, row["upload_id"] if row["dead_letters"] else None)


def _counts(row: Mapping[str, Any]) -> tuple[int, int]:
    """Return the numbers of rejected and of all records."""
    return row["rejected_count"], row["message_count"] + row["rejected_count"]


def _key(given: str | None, upload: UploadFile, *, alone: bool) -> str:
    """Return the idempotency key of one file; each of several files has its own."""
    if given is None:
        return str(uuid4())
    return given if alone else f"{given}/{upload.name}"


def upload_file(name: str, kind: str | None) -> UploadFile:
    """Return the upload of a file name (`-` is standard input) with its format."""
    if name == "-":
        if kind is None:
            raise click.UsageError("--format is required for standard input")
        return UploadFile(None, kind, None)
    path = Path(name)
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise click.BadParameter(f"{name}: {error.strerror}") from error
    endings = [
        suffix.lstrip(".").lower() for suffix in path.suffixes if suffix not in {".gz", ".gzip", ".zst", ".zstd"}
    ]
    by_name = {"csv": "csv", "tsv": "tsv", "json": "json", "ndjson": "ndjson", "jsonl": "ndjson"}
    detected = kind or (by_name.get(endings[-1]) if endings else None)
    if detected is None:
        raise click.UsageError(f"{name}: unknown file type; expected .csv, .tsv, .json, .ndjson or .jsonl, or --format")
    return UploadFile(path, detected, size)


async def _sent(session: Session, stream: str, upload: UploadFile, query: Mapping[str, Value], key: str) -> Any:
    """Upload a file; retries while the API is unavailable, and resumes."""
    path = api_path("/collect/bulk", stream)
    headers = {"Content-Type": TYPES.get(upload.kind, NDJSON), "Idempotency-Key": key}
    for delay in (*RETRY_DELAYS_SECONDS, None):
        with bar(f"{upload.name}") as update:
            try:
                return await session.api.upload(path, _chunks(upload, update), query=query, headers=headers)
            except CommandError as error:
                if error.exit_code != UNAVAILABLE or delay is None or upload.path is None:
                    hint = f"\nTo resume the upload: --idempotency-key {key}" if _is_resumable(error) else ""
                    raise CommandError(error.message + hint, error.exit_code) from error
        await asyncio.sleep(delay)
    raise AssertionError("the last attempt returns or raises")


def _is_resumable(error: CommandError) -> bool:
    """Whether the same key may continue an upload: not if the API refused the file before it stored a record."""
    return error.exit_code != REFUSED or (isinstance(error, RefusedError) and error.message_count > 0)


async def _chunks(upload: UploadFile, update: Callable[[float, float | None, str], None]) -> AsyncIterator[bytes]:
    sent = 0
    with upload.open() as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
            sent += len(chunk)
            update(sent, upload.size, f"{sent / 1e6:,.1f} MB sent")

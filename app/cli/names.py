"""Names of jobs, streams, providers and fields, from the API: for completion, and to suggest similar ones."""

import asyncio
import os
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any, Final
from urllib.parse import unquote

import click
from click.shell_completion import CompletionItem

from app.cli.exits import CommandError

TIMEOUT_SECONDS: Final = 2.0
MAX_ITEMS: Final = 200
MAX_HELP_CHARACTERS: Final = 60
UNSAFE_IN_BASH: Final = re.compile(r"([^\w.@%+=:,/-])")
LISTS: Final = {"provider": "name", "stream": "stream", "definition": "id"}  # the lists of names, and their keys
_IN_PATH: Final = re.compile(r"/v2/(provider|stream|definition)/([^/?]+)(?:/([^/?]+))?")
MAPPING: Final = "mapping:"

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def complete_jobs(context: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name or the id of a job."""
    jobs = _fetched(context, "/v2/job", search=incomplete, limit=MAX_ITEMS)
    named = [(job["name"], f"{job['status_label']}, {job['id'][:8]}") for job in jobs]
    by_id = [(job["id"], job["name"]) for job in jobs if incomplete and job["id"].startswith(incomplete)]
    return _items([*named, *by_id], incomplete)


def complete_streams(context: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a stream."""
    names = dict.fromkeys(row["stream"] for row in _fetched(context, "/v2/stream"))
    return _items([(name, "") for name in names], incomplete)


def complete_providers(context: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a provider."""
    return _items([(row["name"], row["title"]) for row in _fetched(context, "/v2/provider")], incomplete)


def complete_lanes(context: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a lane."""
    return _items([(row["name"], "") for row in _fetched(context, "/v2/lane")], incomplete)


def complete_job_types(context: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a job type, of the provider given or of all."""
    provider = context.params.get("provider")
    rows = [row for row in _fetched(context, "/v2/provider") if provider in {None, row["name"]}]
    return _items([(offered["name"], offered["title"]) for row in rows for offered in row["job_types"]], incomplete)


def complete_fields(context: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a configuration field, of the provider and the job type given or of the job."""
    provider, job_type = context.params.get("provider"), context.params.get("job_type")
    for job in _fetched(context, "/v2/job", reference=context.params["job"]) if context.params.get("job") else ():
        provider, job_type = job["provider"], job["job_type"]
    types = [
        offered
        for row in _fetched(context, "/v2/provider")
        for offered in row["job_types"]
        if row["name"] == provider and offered["name"] == (job_type or "import")
    ]
    fields = types[0]["configuration"].get("properties", {}) if types else {}
    return _items([(f"{name}=", field.get("description", "")) for name, field in fields.items()], incomplete)


def _items(names: Iterable[tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    matching = [(name, about) for name, about in names if name.casefold().startswith(incomplete.casefold())]
    return [CompletionItem(_quoted(name), help=about[:MAX_HELP_CHARACTERS] or None) for name, about in matching]


def _quoted(name: str) -> str:
    """Escape a name for bash, which inserts it as it is; other shells escape it themselves."""
    is_bash = os.environ.get("_ENTREPOT_COMPLETE", "").startswith("bash")
    return UNSAFE_IN_BASH.sub(r"\\\1", name) if is_bash else name


def _fetched(context: click.Context, path: str, **query: Any) -> Sequence[Any]:
    """Return a list of the API; nothing when there is no API: completion prints no errors."""
    from app.cli.client import connected  # noqa: PLC0415  # loads an HTTP client: not needed to complete commands
    from app.cli.session import endpoint_of  # noqa: PLC0415  # as above

    async def fetch() -> Sequence[Any]:
        endpoint = endpoint_of(context)
        async with asyncio.timeout(TIMEOUT_SECONDS), connected(endpoint.url, endpoint.token) as api:
            items: Sequence[Any] = await api.get(path, **query)
            return items

    try:
        return asyncio.run(fetch())
    except (CommandError, TimeoutError):
        return ()


async def suggestion(api: Any, path: str) -> str:
    """Return a suggestion for a path that was not found, to append to an error; empty if nothing is similar."""
    match = _IN_PATH.match(path)
    if match is None:
        return ""
    kind, name, part = match[1], unquote(match[2]), unquote(match[3] or "")
    try:
        rows = await api.get(f"/v2/{kind}")
    except CommandError:
        return ""
    named = {row[LISTS[kind]]: row for row in rows}
    if kind == "provider" and name in named:
        return did_you_mean(part, (offered["name"] for offered in named[name]["job_types"]))
    if name in named:
        return ""
    return did_you_mean(name, named) or _how_to_draft(kind, name)


def _how_to_draft(kind: str, name: str) -> str:
    """Return the commands that draft a missing definition: rules exist once they are drafted."""
    if kind != "definition":
        return ""
    if name.startswith(MAPPING):
        stream = shlex.quote(name.removeprefix(MAPPING))
        return f"; to draft one: entrepot stream suggest {stream} | entrepot mapping draft {stream} -"
    return "; to draft one: entrepot stream suggest STREAM --identity | entrepot identity draft -"


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a question with the most similar name, to append to an error; empty if none is similar."""
    by_folded = {known.casefold(): known for known in names}
    similar = get_close_matches(name.casefold(), by_folded, 1)
    return f"; did you mean {by_folded[similar[0]]!r}?" if similar else ""

"""Where the API is and who asks, when neither is said: from the files that a running Entrepot leaves for its owner."""

from dataclasses import dataclass
from pathlib import Path

import orjson

from app.cli.exits import UNAVAILABLE, Stopped

ADDRESS: str = "api.json"
TOKEN: str = "admin-token"  # noqa: S105  # the name of the file, which only its owner may read


@dataclass(frozen=True, slots=True)
class Found:
    """The API's address and a token for it."""

    url: str
    token: str | None


def find(url: str | None, token: str | None, data_dir: Path) -> Found:
    """Return what was given, and for the rest what stands in the data directory.

    A token from the data directory is for its own API only: it isn't sent to another address.
    """
    if url is not None:
        local = _address(data_dir)
        return Found(url, token or (_token(data_dir) if local is not None and local == url.rstrip("/") else None))
    local = _address(data_dir)
    if local is None:
        raise Stopped(
            f"no Entrepot runs in {data_dir}: start one with `entrepot up`, or name one with --data-dir or --url",
            UNAVAILABLE,
        )
    return Found(local, token or _token(data_dir))


def _address(data_dir: Path) -> str | None:
    try:
        return str(orjson.loads((data_dir / ADDRESS).read_bytes())["url"]).rstrip("/")
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _token(data_dir: Path) -> str | None:
    try:
        return (data_dir / TOKEN).read_text().strip() or None
    except OSError:
        return None

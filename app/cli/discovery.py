"""Finds the URL of the API and a token in the data directory when the command line names none."""

import os
from dataclasses import dataclass
from pathlib import Path

import orjson

from app.cli.exits import UNAVAILABLE, CommandError
from app.data_dir import ADMIN_FILE, API_ADDRESS_FILE


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The API's address and a token for it; `data_dir` is where the address was found, if nowhere else."""

    url: str
    token: str | None
    data_dir: Path | None = None

    @property
    def origin(self) -> str:
        """Where the address was found, to append to it."""
        return f" (data directory: {self.data_dir})" if self.data_dir else ""


def find(url: str | None, token: str | None, data_dir: Path) -> Endpoint:
    """Return the URL and token given, completed from the data directory.

    An admin token, of the settings or the data directory, is only sent to the API of that directory.
    """
    if url is not None:
        local = _address(data_dir)
        return Endpoint(url, token or (_token(data_dir) if local is not None and local == url.rstrip("/") else None))
    local = _address(data_dir)
    if local is None:
        raise CommandError(
            f"Entrepot is not running in {data_dir}: start it with `entrepot up`, or set --data-dir or --url",
            UNAVAILABLE,
        )
    return Endpoint(local, token or _token(data_dir), data_dir)


def _address(data_dir: Path) -> str | None:
    """Return the address of the API of a data directory; None if its process has ended, and left the file behind."""
    try:
        address = orjson.loads((data_dir / API_ADDRESS_FILE).read_bytes())
        os.kill(address["pid"], 0)
        return str(address["url"]).rstrip("/")
    except PermissionError:  # the process of another user
        return str(address["url"]).rstrip("/")
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _token(data_dir: Path) -> str | None:
    """Return the admin token that the API created in the data directory, else the one of the settings."""
    path, setting = data_dir / ADMIN_FILE, os.environ.get("ENTREPOT_ADMIN_TOKEN") or None
    try:
        return path.read_text().strip() or setting
    except FileNotFoundError:
        return setting
    except (OSError, UnicodeDecodeError) as error:
        if setting is not None:
            return setting
        advice = "restart the API, which replaces a damaged token, or set ENTREPOT_TOKEN"
        raise CommandError(f"the token in {path} can't be read: {error}; {advice}") from None

"""The admin token of the data directory, which the command line of its owner finds in a file.

It is a definition like every other token, so all servers accept it, but only the file has its secret. A server creates
a token unless the file has a valid one or the settings have an admin token. The new secret is in a second file until
its token is valid, so a restart meanwhile creates no other. An invalid secret of the first file is never submitted
again: its token may have been revoked. Neither is a damaged one of the second file: an empty one would admit everybody.
"""

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from app.api.http.problems import ApiProblem
from app.api.services.command_gateway import CommandGateway, Refused
from app.auth import ADMIN, hash_of, is_secret, new_secret
from app.data_dir import ADMIN_FILE, PENDING_ADMIN_FILE, write_private
from app.definitions.catalog import DefinitionCatalog
from app.process import Clock
from app.sentences.sentence import sentence
from app.settings import Settings
from app.tasks import cancel_all
from schemas.definitions import TOKEN, CreateToken

RETRY_DELAY_SECONDS: Final = 0.5
DECISION_TIMEOUT_SECONDS: Final = 3_600.0  # after it the command is sent again

_log = logging.getLogger(__name__)


class AdminToken:
    """Makes sure that the data directory has a valid admin token."""

    def __init__(self, settings: Settings, catalog: DefinitionCatalog, gateway: CommandGateway, clock: Clock) -> None:
        self.is_settled = bool(settings.admin_token)  # whether there is nothing to create, or to create any more
        self._data_dir = settings.data_dir
        self._catalog = catalog
        self._gateway = gateway
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Make the token valid in the background: Kafka and control may start later."""
        if self.is_settled:
            return
        try:
            # Before the catalog is read: a token of another server on this directory is in the file, or in the catalog.
            secret_hash = hash_of(pending_admin_secret(self._data_dir))
        except OSError as error:
            _log.error("the admin token can't be read: %s", error)
            return
        self._task = asyncio.create_task(self._settle(secret_hash), name="admin token")

    async def stop(self) -> None:
        """Stop trying."""
        await cancel_all(self._task)

    async def _settle(self, secret_hash: str) -> None:
        try:
            await self._catalog.caught_up()
            if self._is_valid(admin_secret(self._data_dir)):
                drop_pending_admin_secret(self._data_dir)
            elif await self._create(secret_hash):
                activate_admin_secret(self._data_dir)
            self.is_settled = True
        except OSError as error:
            _log.error("the admin token can't be read: %s", error)

    def _is_valid(self, secret: str) -> bool:
        token = self._catalog.tokens.by_hash.get(hash_of(secret))
        return token is not None and token.role == "admin" and token.is_valid(self._clock())

    async def _create(self, secret_hash: str) -> bool:
        command = CreateToken(
            command_id=str(uuid4()),
            definition_id=f"{TOKEN}{uuid4()}",
            issued_at=self._clock(),
            issued_by="api",
            name=ADMIN,
            role="admin",
            sha256=secret_hash,
        )
        while secret_hash not in self._catalog.tokens.by_hash:
            try:
                await self._gateway.submit(command, DECISION_TIMEOUT_SECONDS)
            except ApiProblem:  # Kafka is unreachable
                await asyncio.sleep(RETRY_DELAY_SECONDS)
            except Refused as refusal:
                if refusal.event.code != "token_exists":  # it does if another server shares the data directory
                    _log.error("no admin token is created: %s", sentence(refusal.event.code, refusal.event.params))
                    return False
        return True


def pending_admin_secret(data_dir: Path) -> str:
    """Return the secret of the admin token that is to become a definition; create it, unless another server has."""
    path = data_dir / PENDING_ADMIN_FILE
    while True:
        with suppress(FileExistsError):
            write_private(path, f"{new_secret()}\n".encode(), replace=False)
        with suppress(FileNotFoundError):  # another server has activated it meanwhile
            secret = path.read_text(errors="replace").strip()
            if is_secret(secret):
                return secret
            path.unlink()


def admin_secret(data_dir: Path) -> str:
    """Return the secret of the admin token of the data directory; empty if there is none."""
    with suppress(FileNotFoundError):
        return (data_dir / ADMIN_FILE).read_text(errors="replace").strip()
    return ""


def activate_admin_secret(data_dir: Path) -> None:
    """Replace the admin token of the data directory by the pending one, unless another server has."""
    with suppress(FileNotFoundError):
        (data_dir / PENDING_ADMIN_FILE).replace(data_dir / ADMIN_FILE)


def drop_pending_admin_secret(data_dir: Path) -> None:
    """Remove the pending admin token: the data directory has a valid one."""
    (data_dir / PENDING_ADMIN_FILE).unlink(missing_ok=True)

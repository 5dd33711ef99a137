"""Access: authenticates callers, and opens and ends browser sessions. Any number of servers share tokens and sessions.

Tokens are definitions, folded by the catalog; sessions and sign-in codes are folded here. A server that may have missed
a revocation responds 503 instead of accepting a caller. Only the admin token of the settings works during an outage.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from app.api.http.problems import ApiProblem
from app.api.services.admin_token import AdminToken
from app.api.services.command_gateway import CommandGateway
from app.auth import (
    ADMIN,
    CODE_LIFE,
    SESSION_LIFE,
    Caller,
    CallerKind,
    Sessions,
    SettingsToken,
    digest_key_of,
    hash_of,
    new_secret,
)
from app.definitions.catalog import DefinitionCatalog
from app.kafka.clients import Cluster
from app.kafka.producer_record import ProducerRecord
from app.kafka.tail import MAX_AGE_SECONDS, Tail
from app.process import Clock, Monotonic
from app.records.command_waiters import CommandWaiters
from app.sentences.sentence import sentence_of
from app.settings import Settings
from app.tasks import cancel_all
from schemas.access import PARTITION, AccessRecord, AccessRole, BrowserSession, SignInCode
from schemas.definitions import TOKEN
from schemas.topics import ACCESS_SESSIONS
from schemas.wire.catalog import UnreadableRecordError
from schemas.wire.codec import decode, encode

FOLD_TIMEOUT_SECONDS: Final = 5.0
LOAD_SECONDS: Final = 10.0  # after the start; during them requests wait instead of being refused
SWEEP_INTERVAL_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


class RootToken(NamedTuple):
    """A valid token, whose name and role its sessions have."""

    name: str
    role: AccessRole


class Access:
    """The callers that this server accepts, and their sessions."""

    def __init__(
        self,
        cluster: Cluster,
        catalog: DefinitionCatalog,
        gateway: CommandGateway,
        settings: Settings,
        clock: Clock,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._gateway = gateway
        self._settings_token = SettingsToken(settings.admin_token)
        self._clock = clock
        self._monotonic = monotonic
        self._started_at = monotonic()
        self._tail = Tail(cluster, ACCESS_SESSIONS.name, self._fold, start="beginning", monotonic=monotonic)
        self._sessions = Sessions()
        self._waiters: CommandWaiters[AccessRecord] = CommandWaiters()
        self._sweeping: asyncio.Task[None] | None = None
        self.admin_token = AdminToken(settings, catalog, gateway, clock)

    @property
    def is_current(self) -> bool:
        """Whether tokens and sessions are those of a few seconds ago, or newer; also while a tail reconnects."""
        return max(self._catalog.age, self._tail.age) <= MAX_AGE_SECONDS

    def start(self) -> None:
        """Follow the sessions, sweep them, and make sure that there is an admin token."""
        self.admin_token.start()
        self._tail.start()
        self._sweeping = asyncio.create_task(self._sweep_often(), name="sweep sessions")

    async def stop(self) -> None:
        """Stop following."""
        await self.admin_token.stop()
        await cancel_all(self._sweeping)
        await self._tail.stop()

    async def until_loaded(self) -> None:
        """Wait until tokens, definitions and sessions are read once, but only during the first seconds of a server."""
        remaining = self._started_at + LOAD_SECONDS - self._monotonic()
        if remaining > 0 and not (self._catalog.complete and self._tail.complete):
            with suppress(TimeoutError):
                async with asyncio.timeout(remaining):
                    await asyncio.gather(self._catalog.caught_up(), self._tail.caught_up(None), return_exceptions=True)

    def authenticate(self, secret: str) -> Caller | None:
        """Return the caller with this token or session; None if it is unknown, expired or a sign-in code.

        Raises:
            ApiProblem: 503, the tokens and sessions may be too old to tell.

        """
        if self._settings_token.matches(secret):
            root_id = self._settings_token.id
            return Caller(root_id, ADMIN, "admin", "token", root_id, digest_key_of(secret))
        self._check_current()
        secret_hash = hash_of(secret)
        token = self._catalog.tokens.by_hash.get(secret_hash)
        session = self._session(secret_hash)
        root_id = token.id if token else session.root_id if session else ""
        root = self._root(root_id)
        if root is None:
            return None
        kind: CallerKind = "token" if token else "session"
        token_id = token.id if token else secret_hash
        return Caller(token_id, root.name, root.role, kind, root_id, digest_key_of(secret))

    def accepts(self, caller: Caller) -> bool:
        """Whether a caller is still accepted, for long-running responses."""
        if caller.token_id == self._settings_token.id:
            return True
        if not self.is_current or self._root(caller.root_id) is None:
            return False
        return caller.kind == "token" or self._session(caller.token_id) is not None

    def open_sessions(self) -> Sequence[tuple[BrowserSession, RootToken]]:
        """Return the open sessions with their root tokens."""
        sessions = self._sessions.open_sessions(self._clock())
        return [(session, root) for session in sessions if (root := self._root(session.root_id)) is not None]

    async def create_code(self, caller: Caller) -> str:
        """Create a one-time sign-in code for a caller. It expires in 15 minutes, and with the token of the caller.

        Raises:
            ApiProblem, TimeoutError: 503, it is not certain that the code is valid.

        """
        secret, now = new_secret(), self._clock()
        code = SignInCode(id=hash_of(secret), root_id=caller.root_id, created_at=now, expires_at=now + CODE_LIFE)
        await self._write(code.id, code)
        return secret

    async def redeem(self, code: str) -> str | None:
        """Exchange a sign-in code for the secret of a new session; None if the code is invalid.

        Servers that redeem it at the same time all write a session, and see in the log which one is the first.

        Raises:
            ApiProblem, TimeoutError: 503, the code can't be checked, or it is not certain that the session is valid.

        """
        self._check_current()
        record = self._sessions.get(SignInCode, hash_of(code), self._clock())
        if record is None or self._root(record.root_id) is None:
            return None
        return await self._open_session(record.root_id, record.id)

    async def sign_in(self, secret: str) -> str | None:
        """Exchange a token for the secret of a new session; None if the token is invalid. Raises as `redeem` does."""
        caller = self.authenticate(secret)
        return None if caller is None or caller.kind != "token" else await self._open_session(caller.root_id)

    async def end_session(self, session_id: str) -> bool:
        """End a session; False if there is no such session.

        Raises:
            ApiProblem, TimeoutError: 503, it is not certain that the session has ended.

        """
        if self._session(session_id) is None:
            return False
        await self._write(session_id, None)
        return True

    async def sign_out(self, secret: str) -> None:
        """End the session with this secret, if there is one. Raises as `end_session` does."""
        await self.end_session(hash_of(secret))

    async def sweep(self) -> None:
        """Write the tombstones of ended and expired records."""
        for record_id in self._sessions.obsolete(self._clock()):
            await self._gateway.deliver(_record(record_id, None))

    def _check_current(self) -> None:
        if not self.is_current:
            detail = "tokens and sessions can't be checked: Kafka is unreachable, or this server has just started"
            raise ApiProblem(503, "access_not_current", f"{detail}; try again", headers={"Retry-After": "2"})

    def _root(self, root_id: str) -> RootToken | None:
        """Return a valid token."""
        if root_id and root_id == self._settings_token.id:
            return RootToken(ADMIN, "admin")
        token = self._catalog.tokens.by_id.get(TOKEN + root_id)
        return RootToken(token.name, token.role) if token is not None and token.is_valid(self._clock()) else None

    def _session(self, session_id: str) -> BrowserSession | None:
        return self._sessions.get(BrowserSession, session_id, self._clock())

    async def _open_session(self, root_id: str, code_id: str = "") -> str | None:
        secret, now = new_secret(), self._clock()
        session = BrowserSession(
            id=hash_of(secret), root_id=root_id, created_at=now, expires_at=now + SESSION_LIFE, code_id=code_id
        )
        await self._write(session.id, session)
        return secret if self._session(session.id) is not None else None

    async def _write(self, record_id: str, record: AccessRecord | None) -> None:
        """Write a record, and wait until it is folded here."""
        with self._waiters.expect(record_id) as folded:
            await self._gateway.deliver(_record(record_id, record))
            await asyncio.wait_for(folded, FOLD_TIMEOUT_SECONDS)

    def _fold(self, records: Sequence[Any]) -> None:
        for record in records:
            record_id = (record.key or b"").decode(errors="replace")
            try:
                self._sessions.apply(record_id, _decoded(record, record_id))
            except UnreadableRecordError as error:
                _log.warning("%s@%d is skipped: %s", ACCESS_SESSIONS.name, record.offset, sentence_of(error))
            self._waiters.answer(record_id, ())

    async def _sweep_often(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_SECONDS)
            with suppress(ApiProblem):  # Kafka is unreachable; the next sweep repeats it
                await self.sweep()


def _record(record_id: str, record: AccessRecord | None) -> ProducerRecord:
    value = None if record is None else encode(record)
    return ProducerRecord(ACCESS_SESSIONS.name, value, key=record_id.encode(), partition=PARTITION)


def _decoded(record: Any, record_id: str) -> AccessRecord | None:
    """Return the code or session in a record; None for a tombstone."""
    value = None if record.value is None else decode(record.value)
    if value is not None and not isinstance(value, SignInCode | BrowserSession):
        raise UnreadableRecordError("not_an_access_record", {"schema": type(value).__name__})
    if record.partition != PARTITION or (value is not None and value.id != record_id):
        raise UnreadableRecordError("misplaced_record", {"subject": record_id})
    return value

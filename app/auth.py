"""Who may ask for what: roles, and the tokens that carry them. Keeps hashes only; a secret is seen once, by its owner.

All lives in one file of the data directory that several processes share; the API, the command line and the supervisor
read it again when it changes.
"""

import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal
from uuid import uuid4

from pydantic import SecretStr, TypeAdapter

from app.clock import Clock, utc_now

AccessRole = Literal["viewer", "operator", "editor", "admin"]
TokenKind = Literal["token", "session", "code"]

ROLES: Final[tuple[AccessRole, ...]] = ("viewer", "operator", "editor", "admin")  # each may do what those before it may
TOKENS_FILE: Final = "tokens.json"
LOCK_FILE: Final = "tokens.lock"
ADMIN_FILE: Final = "admin-token"
ADMIN: Final = "admin"
PREFIX: Final = "ent_"
CODE_LIFE: Final = timedelta(minutes=15)
SESSION_LIFE: Final = timedelta(hours=12)


class LastAdminError(Exception):
    """This is the last admin token: create another one first, or nobody could manage tokens any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is kept of a token, of a browser's session, or of a sign-in code that waits to be used."""

    id: str
    name: str
    role: AccessRole
    kind: TokenKind
    sha256: str
    created_at: datetime
    expires_at: datetime | None = None
    parent: str = ""  # of a session or code: the token that it acts for, and ends with


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    token_id: str
    name: str
    role: AccessRole
    kind: TokenKind

    def may(self, role: AccessRole) -> bool:
        """Tell whether this caller has at least that role."""
        return ROLES.index(self.role) >= ROLES.index(role)


_FILE: Final[TypeAdapter[tuple[Token, ...]]] = TypeAdapter(tuple[Token, ...])


class Tokens:
    """The tokens in a data directory; `fixed` is an admin token from the settings, accepted beside them."""

    def __init__(self, data_dir: Path, fixed: SecretStr | None = None, clock: Clock = utc_now) -> None:
        self._path = data_dir / TOKENS_FILE
        self._lock = data_dir / LOCK_FILE
        self._admin_path = data_dir / ADMIN_FILE
        self._fixed = _hash(fixed.get_secret_value()) if fixed is not None and fixed.get_secret_value() else None
        self._clock = clock
        self._seen: tuple[int, int, int] | None = None
        self._tokens: tuple[Token, ...] = ()

    def ensure_admin(self) -> None:
        """Make an admin token in a file that only its owner may read, unless a good one is there."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._exclusive() as tokens:
            if self._admin_path.exists() and self._find(self._admin_path.read_text().strip(), ("token",)):
                return
            secret = _secret()
            write_private(self._admin_path, f"{secret}\n".encode())
            self._store((*tokens, self._made(secret, ADMIN, "admin", "token", None)))

    def caller(self, secret: str) -> Caller | None:
        """Return who holds a token or a session; None when it is unknown, expired or a sign-in code."""
        found = self._find(secret, ("token", "session"))
        if found is not None:
            return Caller(found.id, found.name, found.role, found.kind)
        if self._fixed is not None and hmac.compare_digest(self._fixed, _hash(secret)):
            return Caller("settings", ADMIN, "admin", "token")
        return None

    def listed(self) -> tuple[Token, ...]:
        """Return the tokens that people made; sessions and codes are none."""
        return tuple(each for each in self._current() if each.kind == "token")

    def create(self, name: str, role: AccessRole, expires_at: datetime | None = None) -> tuple[Token, str]:
        """Make a token; return what is kept of it, and the secret, which can't be had again."""
        return self._add(name, role, "token", expires_at)

    def revoke(self, token_id: str) -> bool:
        """End a token with all sessions that came from it; False when there is none of that id.

        Raises:
            LastAdminError: nobody could manage tokens any more.

        """
        with self._exclusive() as tokens:
            gone = next((each for each in tokens if each.id == token_id and each.kind == "token"), None)
            if gone is None:
                return False
            admins = [each for each in tokens if each.kind == "token" and each.role == "admin"]
            if gone in admins and len(admins) == 1 and self._fixed is None:
                raise LastAdminError(LastAdminError.__doc__)
            self._store(tuple(each for each in tokens if token_id not in {each.id, each.parent}))
        return True

    def sign_in_code(self, caller: Caller | None = None) -> str:
        """Make a code that signs a browser in once, within 15 minutes, as `caller`; or as the first admin."""
        admin = next((each for each in self.listed() if each.role == "admin"), None)
        name, role = (caller.name, caller.role) if caller else (ADMIN, ROLES[-1])
        parent = caller.token_id if caller else admin.id if admin else ""
        return self._add(name, role, "code", self._clock() + CODE_LIFE, parent)[1]

    def redeem(self, code: str) -> str | None:
        """Use up a sign-in code and return the secret of the session that it opens; None when it is not good."""
        with self._exclusive() as tokens:
            found = self._find(code, ("code",))
            if found is None:
                return None
            secret = _secret()
            session = self._made(secret, found.name, found.role, "session", self._clock() + SESSION_LIFE)
            kept = tuple(each for each in tokens if each != found)
            self._store((*kept, replace(session, parent=found.parent)))
        return secret

    def sign_in(self, secret: str) -> str | None:
        """Return the secret of a session for whoever holds a token; None when the token is not good."""
        caller = self.caller(secret)
        return None if caller is None or caller.kind != "token" else self.redeem(self.sign_in_code(caller))

    def sign_out(self, secret: str) -> None:
        """End a session."""
        with self._exclusive() as tokens:
            found = self._find(secret, ("session",))
            self._store(tuple(each for each in tokens if each != found))

    def _add(
        self, name: str, role: AccessRole, kind: TokenKind, expires_at: datetime | None, parent: str = ""
    ) -> tuple[Token, str]:
        secret = _secret()
        made = replace(self._made(secret, name, role, kind, expires_at), parent=parent)
        with self._exclusive() as tokens:
            self._store((*tokens, made))
        return made, secret

    def _made(self, secret: str, name: str, role: AccessRole, kind: TokenKind, expires_at: datetime | None) -> Token:
        return Token(
            id=str(uuid4()),
            name=name,
            role=role,
            kind=kind,
            sha256=_hash(secret),
            created_at=self._clock(),
            expires_at=expires_at,
        )

    def _find(self, secret: str, kinds: tuple[TokenKind, ...]) -> Token | None:
        """Look at every token, so that the time it takes tells nothing."""
        wanted, found = _hash(secret), None
        for each in self._current():
            if hmac.compare_digest(each.sha256, wanted) and each.kind in kinds:
                found = each
        return found

    def _current(self) -> tuple[Token, ...]:
        """Return what has not expired, from the file when it changed."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return ()
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if stamp != self._seen:
            self._tokens = _FILE.validate_json(self._path.read_bytes())
            self._seen = stamp
        now = self._clock()
        return tuple(each for each in self._tokens if each.expires_at is None or each.expires_at > now)

    def _store(self, tokens: tuple[Token, ...]) -> None:
        write_private(self._path, _FILE.dump_json(tokens, indent=1))

    @contextmanager
    def _exclusive(self) -> Iterator[tuple[Token, ...]]:
        """Hold the file against other processes; the kernel lets go when this one ends."""
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield self._current()
        finally:
            os.close(descriptor)


def sign_in_link(data_dir: Path, url: str, clock: Callable[[], datetime] = utc_now) -> str:
    """Return a link for the owner of the data directory: it signs a browser in as admin, once, within 15 minutes."""
    return f"{url.rstrip('/')}/sign-in?code={Tokens(data_dir, clock=clock).sign_in_code()}"


def form_token(session: str) -> str:
    """Return what a page's forms carry, so that another site can't send them: bound to the session, not its secret."""
    return hashlib.sha256(f"form:{session}".encode()).hexdigest()


def _secret() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def _hash(secret: str) -> str:
    """Return the SHA-256 of a secret: with 256 random bits there is nothing to guess, so no slow hash is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def write_private(path: Path, data: bytes) -> None:
    """Replace a file at once and for good, readable by its owner only."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise

"""Access roles, and the tokens that grant them. Only hashes are stored; a secret is shown once, to its owner.

One file of the data directory holds all tokens. The API, the command line and the supervisor reload it when it
changes.
"""

import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal
from uuid import uuid4

from pydantic import SecretStr, TypeAdapter, ValidationError

from app.clock import Clock, utc_now
from app.data_dir import write_private

AccessRole = Literal["viewer", "operator", "editor", "admin"]
TokenKind = Literal["token", "session", "code"]

ROLES: Final[tuple[AccessRole, ...]] = ("viewer", "operator", "editor", "admin")  # each includes all previous ones
TOKENS_FILE: Final = "tokens.json"
LOCK_FILE: Final = "tokens.lock"
ADMIN_FILE: Final = "admin-token"
ADMIN: Final = "admin"
PREFIX: Final = "ent_"
CODE_LIFE: Final = timedelta(minutes=15)
SESSION_LIFE: Final = timedelta(hours=12)
MAX_CODES: Final = 5  # unused sign-in codes of a token; a new one replaces the oldest


class LastAdminError(Exception):
    """This is the last admin token that does not expire: create another one first."""


class PastExpiryError(Exception):
    """The token would be expired from the start: choose a time in the future."""


class TokenFileError(Exception):
    """The token file {path} can't be read: {cause}. Restore it, or remove it and {admin}, which creates a new token."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__((self.__doc__ or "").format(path=path, cause=cause, admin=path.with_name(ADMIN_FILE)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """The stored data of a token, a browser session or an unused sign-in code."""

    id: str
    name: str
    role: AccessRole
    kind: TokenKind
    sha256: str
    created_at: datetime
    expires_at: datetime | None = None
    root_id: str = ""  # of a session or code: the token that it represents, and ends with


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated caller of a request."""

    token_id: str
    name: str
    role: AccessRole
    kind: TokenKind
    root_id: str  # of the token itself, or the one that a session came from
    digest_key: bytes = field(default=b"", repr=False)  # derived from the token or session, for digests of requests

    def may(self, role: AccessRole) -> bool:
        """Whether this caller has at least this role."""
        return ROLES.index(self.role) >= ROLES.index(role)


_FILE: Final[TypeAdapter[tuple[Token, ...]]] = TypeAdapter(tuple[Token, ...])


class Tokens:
    """The tokens in a data directory. `fixed` is an additional admin token from the settings.

    Every method raises `TokenFileError` if the file of the tokens can't be read.
    """

    def __init__(self, data_dir: Path, fixed: SecretStr | None = None, clock: Clock = utc_now) -> None:
        self._path = data_dir / TOKENS_FILE
        self._lock = data_dir / LOCK_FILE
        self._admin_path = data_dir / ADMIN_FILE
        self._fixed = _hash(fixed.get_secret_value()) if fixed is not None and fixed.get_secret_value() else None
        # Sessions that came from it end when it is changed. A part of the hash reveals nothing.
        self._fixed_id = f"settings-{self._fixed[:16]}" if self._fixed else ""
        self._clock = clock
        self._file_version: tuple[int, int, int] | None = None
        self._tokens: tuple[Token, ...] = ()

    def ensure_admin(self) -> None:
        """Create an admin token in a file that only its owner may read, unless it holds a valid one."""
        with self._exclusive() as tokens:
            if self._admin_path.exists():
                admin = self._find(self._admin_path.read_text().strip(), ("token",))
                if admin is not None and admin.role == "admin":
                    return
            secret = _secret()
            write_private(self._admin_path, f"{secret}\n".encode())
            self._store((*tokens, self._new_token(secret, ADMIN, "admin", "token", None)))

    def authenticate(self, secret: str) -> Caller | None:
        """Return the caller with this token or session; None if it is unknown, expired or a sign-in code."""
        token = self._find(secret, ("token", "session"))
        if token is not None:
            root_id = token.root_id or token.id
            return Caller(token.id, token.name, token.role, token.kind, root_id, _digest_key(secret))
        if self._fixed is not None and hmac.compare_digest(self._fixed, _hash(secret)):
            return Caller(self._fixed_id, ADMIN, "admin", "token", self._fixed_id, _digest_key(secret))
        return None

    def accepts(self, caller: Caller) -> bool:
        """Whether the token or session of a caller is still valid, for responses that go on for long."""
        return caller.token_id == self._fixed_id or any(token.id == caller.token_id for token in self._current())

    def list_tokens(self) -> tuple[Token, ...]:
        """Return the tokens, without sessions and codes."""
        return tuple(token for token in self._current() if token.kind == "token")

    def list_sessions(self) -> tuple[Token, ...]:
        """Return the open sessions."""
        return tuple(token for token in self._current() if token.kind == "session")

    def create(self, name: str, role: AccessRole, expires_at: datetime | None = None) -> tuple[Token, str]:
        """Create a token. Return its stored data and its secret, which can't be retrieved later.

        Raises:
            PastExpiryError: `expires_at` has passed.

        """
        if expires_at is not None and expires_at <= self._clock():
            raise PastExpiryError(PastExpiryError.__doc__)
        secret = _secret()
        token = self._new_token(secret, name, role, "token", expires_at)
        with self._exclusive() as tokens:
            self._store((*tokens, token))
        return token, secret

    def revoke(self, token_id: str) -> bool:
        """Revoke a token and its sessions; False if there is no such token.

        Raises:
            LastAdminError: it is the last admin token that does not expire.

        """
        with self._exclusive() as tokens:
            revoked = next((token for token in tokens if token.id == token_id and token.kind == "token"), None)
            if revoked is None:
                return False
            if revoked in (admins := _lasting_admins(tokens)) and len(admins) == 1 and self._fixed is None:
                raise LastAdminError(LastAdminError.__doc__)
            self._store(tuple(token for token in tokens if token_id not in {token.id, token.root_id}))
        return True

    def end_session(self, session_id: str) -> bool:
        """End a session; False if there is no such session."""
        with self._exclusive() as tokens:
            others = tuple(token for token in tokens if token.id != session_id or token.kind != "session")
            if len(others) < len(tokens):
                self._store(others)
        return len(others) < len(tokens)

    def sign_in_code(self, caller: Caller) -> str:
        """Create a one-time sign-in code for a caller. It expires in 15 minutes, and with the token of the caller."""
        secret = _secret()
        code = self._new_token(secret, caller.name, caller.role, "code", self._clock() + CODE_LIFE, caller.root_id)
        with self._exclusive() as tokens:
            codes = [token for token in tokens if token.kind == "code" and token.root_id == caller.root_id]
            replaced = codes[: len(codes) + 1 - MAX_CODES] if len(codes) >= MAX_CODES else []
            self._store((*(token for token in tokens if token not in replaced), code))
        return secret

    def redeem(self, code: str) -> str | None:
        """Exchange a sign-in code for the secret of a new session; None if the code is invalid."""
        with self._exclusive() as tokens:
            used = self._find(code, ("code",))
            if used is None:
                return None
            secret = _secret()
            session = self._new_token(
                secret, used.name, used.role, "session", self._clock() + SESSION_LIFE, used.root_id
            )
            self._store((*(token for token in tokens if token != used), session))
        return secret

    def sign_in(self, secret: str) -> str | None:
        """Exchange a token for the secret of a new session; None if the token is invalid."""
        caller = self.authenticate(secret)
        return None if caller is None or caller.kind != "token" else self.redeem(self.sign_in_code(caller))

    def sign_out(self, secret: str) -> None:
        """End a session."""
        with self._exclusive() as tokens:
            session = self._find(secret, ("session",))
            self._store(tuple(token for token in tokens if token != session))

    def _new_token(
        self,
        secret: str,
        name: str,
        role: AccessRole,
        kind: TokenKind,
        expires_at: datetime | None,
        root_id: str = "",
    ) -> Token:
        return Token(
            id=str(uuid4()),
            name=name,
            role=role,
            kind=kind,
            sha256=_hash(secret),
            created_at=self._clock(),
            expires_at=expires_at,
            root_id=root_id,
        )

    def _find(self, secret: str, kinds: tuple[TokenKind, ...]) -> Token | None:
        """Compare with every token, so that the duration reveals nothing."""
        sha256 = _hash(secret)
        match = None
        for token in self._current():
            if hmac.compare_digest(token.sha256, sha256) and token.kind in kinds:
                match = token
        return match

    def _current(self) -> tuple[Token, ...]:
        """Return what is valid: unexpired tokens, and unexpired sessions and codes of a valid token."""
        unexpired = self._unexpired()
        roots = {token.id for token in unexpired if token.kind == "token"} | {self._fixed_id}
        return tuple(token for token in unexpired if token.kind == "token" or token.root_id in roots)

    def _unexpired(self) -> tuple[Token, ...]:
        """Return what has not expired. Reload the file if it has changed."""
        try:
            self._reload()
        except FileNotFoundError:
            return ()
        except ValidationError as error:  # its text would show parts of the file
            details = error.errors(include_url=False, include_input=False)[0]
            raise TokenFileError(self._path, details["msg"]) from None
        except OSError as error:
            raise TokenFileError(self._path, error.strerror or type(error).__name__) from error
        now = self._clock()
        return tuple(token for token in self._tokens if token.expires_at is None or token.expires_at > now)

    def _reload(self) -> None:
        status = self._path.stat()
        version = (status.st_mtime_ns, status.st_size, status.st_ino)
        if version != self._file_version:
            self._tokens = _FILE.validate_json(self._path.read_bytes())
            self._file_version = version

    def _store(self, tokens: tuple[Token, ...]) -> None:
        write_private(self._path, _FILE.dump_json(tokens, indent=1))

    @contextmanager
    def _exclusive(self) -> Iterator[tuple[Token, ...]]:
        """Lock the file against other processes. The kernel releases the lock when this process ends."""
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield self._unexpired()  # with the sessions of a settings token that this process does not know
        finally:
            os.close(descriptor)


def sign_in_link(data_dir: Path, url: str, clock: Callable[[], datetime] = utc_now) -> str:
    """Return a one-time link that signs a browser in as the admin of the data directory. It expires in 15 minutes."""
    tokens = Tokens(data_dir, clock=clock)
    admin = tokens.authenticate((data_dir / ADMIN_FILE).read_text().strip())
    assert admin is not None, "the API has created a valid one"
    return f"{url.rstrip('/')}/sign-in?code={tokens.sign_in_code(admin)}"


def _lasting_admins(tokens: Iterable[Token]) -> list[Token]:
    return [token for token in tokens if token.kind == "token" and token.role == "admin" and token.expires_at is None]


def form_token(session: str) -> str:
    """Return the CSRF token of the forms of a session. It doesn't reveal the secret of the session."""
    return _hash(f"form:{session}")


def _digest_key(secret: str) -> bytes:
    return hashlib.sha256(f"digest:{secret}".encode("utf-8", "surrogatepass")).digest()


def _secret() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def _hash(secret: str) -> str:
    """Return the SHA-256 of a secret, which may hold bytes of a header that are no UTF-8.

    Secrets have 256 random bits, so a slow hash is not needed.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()

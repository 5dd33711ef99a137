"""Callers and their credentials: access tokens, browser sessions and one-time sign-in codes.

Only hashes are stored. Tokens are definitions; sessions and codes are records of `access.sessions`, which this module
folds. Secrets are random, so a fast hash is enough; only the admin token of the settings may be weaker.
"""

import hashlib
import hmac
import re
import secrets
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Final, Literal, TypeVar

from pydantic import SecretStr

from schemas.access import ROLES, AccessRecord, AccessRole, BrowserSession, SignInCode

CallerKind = Literal["token", "session"]

ADMIN: Final = "admin"
PREFIX: Final = "ent_"
CODE_LIFE: Final = timedelta(minutes=15)
SESSION_LIFE: Final = timedelta(hours=12)
MAX_CODES: Final = 5  # unused sign-in codes of a token; a new one replaces the oldest
MAX_SESSIONS: Final = 100  # of a token; a new one replaces the oldest

_SECRET: Final = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")

R = TypeVar("R", SignInCode, BrowserSession)


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated caller of a request."""

    token_id: str
    name: str
    role: AccessRole
    kind: CallerKind
    root_id: str  # of the token itself, or the one that a session came from
    digest_key: bytes = field(default=b"", repr=False)  # derived from the token or session, for digests of requests

    def may(self, role: AccessRole) -> bool:
        """Whether this caller has at least this role."""
        return ROLES.index(self.role) >= ROLES.index(role)


class SettingsToken:
    """The additional admin token of the settings, if there is one. It is valid at servers with the same settings."""

    def __init__(self, secret: SecretStr | None) -> None:
        self._secret = (secret.get_secret_value() if secret else "").encode()
        self.id = _settings_id(self._secret) if self._secret else ""

    def matches(self, secret: str) -> bool:
        """Whether a secret is this token."""
        return bool(self._secret) and hmac.compare_digest(self._secret, secret.encode("utf-8", "surrogatepass"))


@cache
def _settings_id(secret: bytes) -> str:
    """Return an id for the sessions of this token; they end when the token changes.

    Slow on purpose: the token may be guessable, and the id is on a topic.
    """
    return f"settings-{hashlib.scrypt(secret, salt=b'entrepot settings token', n=2**14, r=8, p=1, dklen=8).hex()}"


class Sessions:
    """The codes and sessions, folded from `access.sessions` in the order of offsets.

    All servers fold the same records, so they agree: of two sessions with one code, the first is valid.
    """

    def __init__(self) -> None:
        self._records: dict[str, AccessRecord] = {}
        self._of_token: defaultdict[tuple[type, str], dict[str, None]] = defaultdict(dict)  # ids, the oldest first
        self._first: dict[str, BrowserSession] = {}  # by id of the code that it used
        self._ended: set[str] = set()  # ids of records whose tombstone is not written yet

    def apply(self, record_id: str, record: AccessRecord | None) -> None:
        """Apply a record, or the tombstone of one."""
        self._remove(record_id)
        self._ended.discard(record_id)
        match record:
            case SignInCode():
                self._add(record, MAX_CODES)
            case BrowserSession():
                if record.code_id and self._first.setdefault(record.code_id, record).id != record_id:
                    self._ended.add(record_id)
                    return
                self._end(record.code_id)
                self._add(record, MAX_SESSIONS)
            case None:
                pass

    def get(self, kind: type[R], record_id: str, now: datetime) -> R | None:
        """Return a code or session that has not ended; its root token may have."""
        record = self._records.get(record_id)
        return record if isinstance(record, kind) and record.expires_at > now else None

    def open_sessions(self, now: datetime) -> Iterator[BrowserSession]:
        """Yield the sessions that have not ended; their root tokens may have."""
        for record in self._records.values():
            if isinstance(record, BrowserSession) and record.expires_at > now:
                yield record

    def obsolete(self, now: datetime) -> list[str]:
        """Return the ids of ended and expired records, which need a tombstone; evict codes of expired sessions."""
        self._first = {code: session for code, session in self._first.items() if session.expires_at > now}
        expired = [record_id for record_id, record in self._records.items() if record.expires_at <= now]
        return [*self._ended, *expired]

    def _add(self, record: AccessRecord, max_records: int) -> None:
        self._records[record.id] = record
        siblings = self._of_token[type(record), record.root_id]
        siblings[record.id] = None
        if len(siblings) > max_records:
            self._end(next(iter(siblings)))

    def _end(self, record_id: str) -> None:
        if self._remove(record_id):
            self._ended.add(record_id)

    def _remove(self, record_id: str) -> bool:
        record = self._records.pop(record_id, None)
        if record is None:
            return False
        siblings = self._of_token[type(record), record.root_id]
        del siblings[record_id]
        if not siblings:
            del self._of_token[type(record), record.root_id]
        return True


def form_token(session: str) -> str:
    """Return the CSRF token of the forms of a session. It doesn't reveal the secret of the session."""
    return hash_of(f"form:{session}")


def digest_key_of(secret: str) -> bytes:
    """Return a key, derived from a token or session, for digests of the requests of its caller."""
    return hashlib.sha256(f"digest:{secret}".encode("utf-8", "surrogatepass")).digest()


def new_secret() -> str:
    """Return a random secret of 256 bits."""
    return PREFIX + secrets.token_urlsafe(32)


def is_secret(text: str) -> bool:
    """Return whether a text has the form of a secret that `new_secret` returns."""
    return bool(_SECRET.fullmatch(text))


def hash_of(secret: str) -> str:
    """Return the SHA-256 of a secret, which may hold bytes of a header that are not UTF-8."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()

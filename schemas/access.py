"""Access roles, and the records of `access.sessions`: sign-in codes and browser sessions.

The id of a record is the SHA-256 of its secret. Codes and sessions end with their root token, which is a definition or
the admin token of the settings. All records use partition 0, so that servers agree on the first session of a code.
A record is a state; a tombstone ends it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

AccessRole = Literal["viewer", "operator", "editor", "admin"]

NAMESPACE: Final = "entrepot.access"
PARTITION: Final = 0
ROLES: Final[tuple[AccessRole, ...]] = ("viewer", "operator", "editor", "admin")  # each includes all previous ones


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInCode:
    """A one-time code that opens a browser session."""

    id: str
    root_id: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserSession:
    """A session of the web pages. Of several sessions with one `code_id`, only the first by offset is valid."""

    id: str
    root_id: str
    created_at: datetime
    expires_at: datetime
    code_id: str = ""  # of the sign-in code that opened it; empty if a token did


AccessRecord = SignInCode | BrowserSession

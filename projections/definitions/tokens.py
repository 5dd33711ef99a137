"""The life cycle of access tokens: created, then revoked or expired. Pure and total.

Only valid tokens are kept. A reader may get events twice after a crash of control, so an event of a command that is
folded already is ignored: it could restore a token that was revoked since.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final, assert_never

from projections.decider import is_plausible_time, state_envelope
from projections.definitions.decider import Decision, DefinitionRefusedError, check_version, decided
from projections.mapping.body_parser import field_refused
from schemas.access import AccessRole
from schemas.definitions import (
    TOKEN,
    CreateToken,
    DefinitionEvent,
    DefinitionKind,
    RevokeToken,
    TokenCommand,
    TokenCreated,
    TokenRevoked,
    kind_of,
)
from schemas.names import is_uuid

MAX_TOKENS: Final = 1_000  # valid ones

_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,80}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token that is not revoked, after event `seq`."""

    definition_id: str
    seq: int
    command_offset: int
    updated_at: datetime
    name: str
    role: AccessRole
    sha256: str
    created_at: datetime
    expires_at: datetime | None
    recent_commands: tuple[str, ...] = ()
    version: int = 1  # a token is never edited

    @property
    def id(self) -> str:
        """The definition ID without its kind."""
        return self.definition_id.removeprefix(TOKEN)

    @property
    def is_lasting_admin(self) -> bool:
        """Whether it has the admin role and never expires."""
        return self.role == "admin" and self.expires_at is None

    def is_valid(self, now: datetime) -> bool:
        """Whether it has not expired."""
        return self.expires_at is None or self.expires_at > now


@dataclass(frozen=True, slots=True)
class TokenSet:
    """The tokens by definition ID and by hash, after the command at `command_offset`."""

    by_id: Mapping[str, AccessToken] = field(default_factory=lambda: MappingProxyType({}))
    by_hash: Mapping[str, AccessToken] = field(default_factory=lambda: MappingProxyType({}))
    command_offset: int = -1


NO_TOKENS: Final = TokenSet()


def is_token_id(definition_id: str) -> bool:
    """Whether the id is valid for a token."""
    return kind_of(definition_id) is DefinitionKind.TOKEN and is_uuid(definition_id.removeprefix(TOKEN))


def decide(tokens: TokenSet, command: TokenCommand, offset: int) -> tuple[DefinitionEvent, ...]:
    """Return the event that the command at `offset` causes; none if it was handled before."""
    current = tokens.by_id.get(command.definition_id)
    return decided(current, command, offset, lambda: _decide(tokens, current, command))


def evolve(tokens: TokenSet, event: DefinitionEvent) -> TokenSet:
    """Return the tokens after an event. A repeated one, or one that is not the next of its token, changes none."""
    current = tokens.by_id.get(event.definition_id)
    if event.command_offset <= tokens.command_offset or event.seq != 1 + (current.seq if current else 0):
        return tokens
    by_id = dict(tokens.by_id)
    match event:
        case TokenCreated() if current is None:
            if len(by_id) >= MAX_TOKENS:
                by_id = {name: token for name, token in by_id.items() if token.is_valid(event.occurred_at)}
            by_id[event.definition_id] = _created(event)
        case TokenRevoked():
            by_id.pop(event.definition_id, None)
        case _ if current is not None:
            by_id[event.definition_id] = replace(current, **state_envelope(current, event))
        case _:
            pass
    by_hash = {token.sha256: token for token in by_id.values()}
    return TokenSet(MappingProxyType(by_id), MappingProxyType(by_hash), event.command_offset)


def _created(event: TokenCreated) -> AccessToken:
    return AccessToken(
        definition_id=event.definition_id,
        name=event.name,
        role=event.role,
        sha256=event.sha256,
        created_at=event.occurred_at,
        expires_at=event.expires_at,
        **state_envelope(None, event),
    )


def _decide(tokens: TokenSet, current: AccessToken | None, command: TokenCommand) -> Decision:
    if not is_token_id(command.definition_id):
        raise DefinitionRefusedError("no_such_token", {"token": command.definition_id})
    check_version(current, command)
    match command:
        case CreateToken():
            return _create(tokens, current, command)
        case RevokeToken():
            return _revoke(tokens, current, command)
        case _:
            assert_never(command)


def _create(tokens: TokenSet, current: AccessToken | None, command: CreateToken) -> Decision:
    if current is not None or command.sha256 in tokens.by_hash:
        raise DefinitionRefusedError("token_exists")
    if not _NAME.fullmatch(command.name) or not _HASH.fullmatch(command.sha256):
        raise DefinitionRefusedError("bad_token")
    expiry = command.expires_at
    if expiry is not None and (expiry <= command.issued_at or not is_plausible_time(expiry)):
        raise DefinitionRefusedError("bad_expiry", errors=(field_refused("/expires_at", "bad_expiry"),))
    if sum(token.is_valid(command.issued_at) for token in tokens.by_id.values()) >= MAX_TOKENS:
        raise DefinitionRefusedError("too_many_tokens", {"max": MAX_TOKENS})
    return TokenCreated, {
        "name": command.name,
        "role": command.role,
        "sha256": command.sha256,
        "expires_at": command.expires_at,
    }


def _revoke(tokens: TokenSet, current: AccessToken | None, command: RevokeToken) -> Decision:
    if current is None:
        raise DefinitionRefusedError("no_such_token", {"token": command.definition_id.removeprefix(TOKEN)})
    admins = [token for token in tokens.by_id.values() if token.is_lasting_admin]
    if admins == [current] and not command.allow_last_admin:
        raise DefinitionRefusedError("last_admin")
    return TokenRevoked, {}

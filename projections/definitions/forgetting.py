"""The life cycle of one forgetting: started, extended by linked identities, done. Pure and total.

The log contains no identity, only the SHA-256 hash of each identity key (`kind:value`). The owners of profiles find a
person by comparing the hashes with those of all keys that they store. Identities that a profile links are recorded here
by their hashes before any data is deleted: whatever a crash leaves can be found by these hashes alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal, assert_never

from projections.decider import is_plausible_time, state_envelope
from projections.definitions.decider import Decision, DefinitionRefusedError, check_version, decided
from schemas.definitions import (
    FORGETTING,
    DefinitionEvent,
    DefinitionKind,
    ExtendForgetting,
    ForgetPerson,
    ForgettingCommand,
    ForgettingExtended,
    ForgettingStarted,
    PersonForgotten,
    ReportForgotten,
    kind_of,
)
from schemas.instants import rfc3339
from schemas.names import is_job_id

MAX_KEYS: Final = 1_000  # in one command
MAX_PERSON_KEYS: Final = 20_000  # of one forgetting; a profile has at most half of them
MAX_UNDER_WAY: Final = 1_000  # at a time
MAX_ENDED: Final = 1_000  # the latest; older ones are dropped

ForgettingStatus = Literal["under_way", "forgotten"]

_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetting:
    """The state of a forgetting after event `seq`: the data up to `at` of these identities is deleted.

    `profiles` had data of the person. `complete` is false if there may be further identities.
    """

    definition_id: str
    seq: int
    command_offset: int
    updated_at: datetime
    at: datetime
    key_hashes: frozenset[str]
    status: ForgettingStatus = "under_way"
    version: int = 0  # the number of extensions
    profiles: int = 0
    complete: bool = True
    recent_commands: tuple[str, ...] = ()

    @property
    def is_under_way(self) -> bool:
        """Whether the owners of profiles still work on it."""
        return self.status == "under_way"


def is_forgetting_id(definition_id: str) -> bool:
    """Whether the id is valid for a forgetting."""
    return kind_of(definition_id) is DefinitionKind.FORGETTING and is_job_id(definition_id.removeprefix(FORGETTING))


def decide(
    current: Forgetting | None, command: ForgettingCommand, offset: int, under_way: int = 0
) -> tuple[DefinitionEvent, ...]:
    """Return the event that the command at `offset` causes; none if it was handled before.

    `under_way` counts the forgettings under way.
    """
    return decided(current, command, offset, lambda: _decide(current, command, under_way))


def evolve(current: Forgetting | None, event: DefinitionEvent) -> Forgetting | None:
    """Return the state after an event. An event that is not the next of its forgetting is ignored."""
    if event.seq != 1 + (current.seq if current else 0):
        return current
    envelope = state_envelope(current, event)
    if current is None:
        if not isinstance(event, ForgettingStarted):
            return None
        return Forgetting(
            definition_id=event.definition_id, at=event.at, key_hashes=frozenset(event.key_hashes), **envelope
        )
    return replace(_evolved(current, event), **envelope)


@dataclass(frozen=True, slots=True)
class Forgettings:
    """All forgettings under way, oldest first, and the latest that have ended."""

    under_way: Mapping[str, Forgetting] = field(default_factory=lambda: MappingProxyType({}))
    ended: Mapping[str, Forgetting] = field(default_factory=lambda: MappingProxyType({}))

    def get(self, definition_id: str) -> Forgetting | None:
        """Return a forgetting; None if there is none, or it is no longer remembered."""
        return self.under_way.get(definition_id) or self.ended.get(definition_id)

    def evolve(self, event: DefinitionEvent) -> "Forgettings":
        """Return the forgettings after an event."""
        before = self.get(event.definition_id)
        after = evolve(before, event)
        if after is before or after is None:
            return self
        under_way = {**self.under_way, after.definition_id: after}
        if after.is_under_way:
            return replace(self, under_way=MappingProxyType(under_way))
        ended = {**self.ended, after.definition_id: under_way.pop(after.definition_id)}
        if len(ended) > MAX_ENDED:
            del ended[next(iter(ended))]
        return Forgettings(MappingProxyType(under_way), MappingProxyType(ended))


def _evolved(current: Forgetting, event: DefinitionEvent) -> Forgetting:
    match event:
        case ForgettingExtended():
            return replace(
                current,
                key_hashes=current.key_hashes.union(event.key_hashes),
                version=current.version + 1,
                profiles=event.profiles,
                complete=event.complete,
            )
        case PersonForgotten():
            return replace(current, status="forgotten")
        case _:
            return current


def _decide(current: Forgetting | None, command: ForgettingCommand, under_way: int) -> Decision:
    if not is_forgetting_id(command.definition_id):
        raise DefinitionRefusedError("no_such_forgetting", {"forgetting": command.definition_id})
    if isinstance(command, ForgetPerson):
        return _start(current, command, under_way)
    if current is None:
        raise DefinitionRefusedError("no_such_forgetting", {"forgetting": command.definition_id})
    if not current.is_under_way:
        raise DefinitionRefusedError("not_under_way", {"status": current.status})
    check_version(current, command)
    match command:
        case ExtendForgetting():
            return _extend(current, command)
        case ReportForgotten():
            return PersonForgotten, {
                "at": current.at,
                "identities": len(current.key_hashes),
                "profiles": current.profiles,
                "complete": current.complete,
            }
        case _:
            assert_never(command)


def _start(current: Forgetting | None, command: ForgetPerson, under_way: int) -> Decision:
    if current is not None:
        raise DefinitionRefusedError("exists", {"status": current.status})
    _check_hashes(command.key_hashes, 1)
    if not is_plausible_time(command.at) or command.at > command.issued_at:
        raise DefinitionRefusedError("forgets_the_future", {"at": rfc3339(command.at)})
    if under_way >= MAX_UNDER_WAY:
        raise DefinitionRefusedError("too_many_forgettings", {"max": MAX_UNDER_WAY})
    return ForgettingStarted, {"key_hashes": command.key_hashes, "at": command.at}


def _extend(current: Forgetting, command: ExtendForgetting) -> Decision:
    _check_hashes(command.key_hashes, 0)
    if len(current.key_hashes.union(command.key_hashes)) > MAX_PERSON_KEYS:
        raise DefinitionRefusedError("too_many_linked", {"max": MAX_PERSON_KEYS})
    return ForgettingExtended, {
        "key_hashes": command.key_hashes,
        "at": current.at,
        "profiles": max(current.profiles, command.profiles),
        "complete": current.complete and command.complete,
    }


def _check_hashes(key_hashes: tuple[str, ...], least: int) -> None:
    if not least <= len(key_hashes) <= MAX_KEYS or not all(map(_HASH.fullmatch, key_hashes)):
        raise DefinitionRefusedError("bad_key_hashes", {"max": MAX_KEYS})

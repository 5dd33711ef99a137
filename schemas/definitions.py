"""The commands and events of definitions: mappings, identity rules, rebuilds, forgettings of persons, and tokens.

A definition is `mapping:{stream}`, `identity`, `rebuild:{id}`, `forgetting:{id}` or `token:{id}`. All of them use
partition 0 of their topics, so that one offset of `definitions.events` identifies the state of all rules. Definitions
never contain identity keys or secrets, only their hashes.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from schemas.access import AccessRole
from schemas.coded import Params

COMMANDS_NAMESPACE: Final = "entrepot.definitions.commands"
EVENTS_NAMESPACE: Final = "entrepot.definitions.events"
RULES: Final = 1  # the version of the rules that decide commands
PARTITION: Final = 0  # of definitions.commands and definitions.events: the only one used


class DefinitionKind(StrEnum):
    """The kind of a definition. Its ID is `kind`, or `kind:name` if a kind has several definitions."""

    MAPPING = "mapping"
    IDENTITY = "identity"
    REBUILD = "rebuild"
    FORGETTING = "forgetting"
    TOKEN = "token"  # noqa: S105  # the kind, not a secret


IDENTITY: Final = "identity"
MAPPING: Final = "mapping:"
REBUILD: Final = "rebuild:"
FORGETTING: Final = "forgetting:"
TOKEN: Final = "token:"  # noqa: S105  # the prefix of ids, not a secret


def kind_of(definition_id: str) -> DefinitionKind | None:
    """Return the kind of a definition ID; None if it is unknown."""
    return _KINDS.get(definition_id.partition(":")[0])


_KINDS: Final = {kind.value: kind for kind in DefinitionKind}


def mapping_of(stream: str) -> str:
    """Return the definition ID of the mapping of a stream."""
    return MAPPING + stream


def stream_of(definition_id: str) -> str | None:
    """Return the stream of a mapping; None if the definition is not a mapping."""
    return definition_id.removeprefix(MAPPING) if definition_id.startswith(MAPPING) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEnvelope:
    """The envelope of every command in this module. Time and IDs are part of the command."""

    command_id: str
    definition_id: str
    issued_at: datetime
    issued_by: str  # `user:NAME`, or the role of a process
    rules: int = RULES
    expected_version: int | None = None  # refuse the command if the newest version differs; 0: no version yet

    @property
    def kind(self) -> DefinitionKind | None:
        """The kind of the definition; None if it is unknown."""
        return kind_of(self.definition_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftDefinition(CommandEnvelope):
    """Store a new version for review. It replaces an existing draft."""

    body: str  # JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyDefinition(CommandEnvelope):
    """Activate the draft. `version` is the reviewed version."""

    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardDraft(CommandEnvelope):
    """Discard the draft. Its version number is not reused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetPerson(CommandEnvelope):
    """Start to delete the data up to `at` of the person with these identities."""

    key_hashes: tuple[str, ...]  # SHA-256 of each `kind:value`, in hexadecimal
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendForgetting(CommandEnvelope):
    """Add identities that are linked to the person, before anything is deleted.

    `profiles` counts the profiles of all identities so far. `complete` is false if there may be further identities
    that cannot be determined.
    """

    key_hashes: tuple[str, ...]
    profiles: int
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportForgotten(CommandEnvelope):
    """Report that the data of all identities so far is deleted, and that no further ones are linked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRebuild(CommandEnvelope):
    """Build all profiles from raw messages with other rules, beside the live profiles.

    `spec` is JSON, see `projections/definitions/rebuild_spec.py`: the rules with their versions, and the excluded
    messages.
    """

    spec: str
    note: str = ""  # a comment of the user
    basis: str = ""  # the rules that the spec is based on, see `projections/definitions/state.py`; empty: any


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRebuilt(CommandEnvelope):
    """Report that the rebuild is complete and caught up. `report` compares it with the live profiles."""

    report: str  # JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteRebuild(CommandEnvelope):
    """Make the rebuilt profiles live."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardRebuild(CommandEnvelope):
    """Discard a rebuild, finished or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateToken(CommandEnvelope):
    """Accept the secret with this hash as an access token. Secrets are random, so a fast hash is enough."""

    name: str
    role: AccessRole
    sha256: str  # hexadecimal
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeToken(CommandEnvelope):
    """Revoke an access token, and end its browser sessions."""

    allow_last_admin: bool = False  # the API also accepts an admin token of its settings


@dataclass(frozen=True, slots=True, kw_only=True)
class EventEnvelope:
    """The envelope of every event in this module."""

    event_id: str  # UUIDv5 of the command ID
    definition_id: str
    seq: int  # numbers the events of a definition from 1 without gaps; 0 for a refusal without a definition
    occurred_at: datetime  # UTC; never before the previous event of the definition
    command_id: str
    command_offset: int  # of the command in definitions.commands
    actor: str
    rules: int

    @property
    def kind(self) -> DefinitionKind | None:
        """The kind of the definition; None if it is unknown, as in a refusal."""
        return kind_of(self.definition_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionDrafted(EventEnvelope):
    """Version `version` was drafted."""

    version: int
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionApplied(EventEnvelope):
    """Version `version` was activated."""

    version: int
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftDiscarded(EventEnvelope):
    """The draft was discarded."""

    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgettingStarted(EventEnvelope):
    """Messages up to `at` that name one of these identities are excluded; the deletion of their data has started."""

    key_hashes: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgettingExtended(EventEnvelope):
    """Messages up to `at` that name one of these further identities are excluded, too."""

    key_hashes: tuple[str, ...]
    at: datetime
    profiles: int  # of all identities so far
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonForgotten(EventEnvelope):
    """The data up to `at` of all identities of the forgetting is deleted; `profiles` had data of the person.

    `complete` is false if the person may have further identities, which are not forgotten.
    """

    at: datetime
    identities: int
    profiles: int
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildStarted(EventEnvelope):
    """A rebuild with a spec was started."""

    spec: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildReady(EventEnvelope):
    """The rebuild can be promoted. Its comparison may be updated later."""

    report: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildPromoted(EventEnvelope):
    """The rules of the spec are active, and the profiles of this generation are live."""

    generation: int  # numbers promotions from 1
    spec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildDiscarded(EventEnvelope):
    """The rebuild was discarded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCreated(EventEnvelope):
    """The secret with this hash is an access token."""

    name: str
    role: AccessRole
    sha256: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRevoked(EventEnvelope):
    """The access token was revoked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRefused:
    """One problem of a body; `pointer` is a JSON pointer into it."""

    pointer: str
    code: str
    params: Params


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionRefused(EventEnvelope):
    """A command was refused. `code` is stable; `errors` lists the problems of the body, if any."""

    command: str
    code: str
    params: Params
    errors: tuple[FieldRefused, ...]
    version: int  # the newest version


RuleCommand = DraftDefinition | ApplyDefinition | DiscardDraft
ForgettingCommand = ForgetPerson | ExtendForgetting | ReportForgotten
RebuildCommand = StartRebuild | ReportRebuilt | PromoteRebuild | DiscardRebuild
TokenCommand = CreateToken | RevokeToken
DefinitionCommand = RuleCommand | ForgettingCommand | RebuildCommand | TokenCommand
DefinitionEvent = (
    DefinitionDrafted
    | DefinitionApplied
    | DraftDiscarded
    | ForgettingStarted
    | ForgettingExtended
    | PersonForgotten
    | DefinitionRefused
    | RebuildStarted
    | RebuildReady
    | RebuildPromoted
    | RebuildDiscarded
    | TokenCreated
    | TokenRevoked
)

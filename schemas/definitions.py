"""What may be asked of the rules, and what became of it: mappings, identity rules, rebuilds, people to be forgotten.

A definition is `mapping:{stream}`, `identity`, `rebuild:{id}` or `forgotten`. All of them live in partition 0 of their
topics, so that one offset of `definitions.events` names the state of all rules. Identity keys never stand in here, only
their hashes.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from schemas.coded import Params

COMMANDS_NAMESPACE: Final = "entrepot.definitions.commands"
EVENTS_NAMESPACE: Final = "entrepot.definitions.events"
RULES: Final = 1  # by which commands are decided
PARTITION: Final = 0  # of definitions.commands and definitions.events: the only one used


class DefinitionKind(StrEnum):
    """The kind of a definition: its id is `kind`, or `kind:name` where there are several of a kind."""

    MAPPING = "mapping"
    IDENTITY = "identity"
    REBUILD = "rebuild"
    FORGOTTEN = "forgotten"


IDENTITY: Final = "identity"
FORGOTTEN: Final = "forgotten"
MAPPING: Final = "mapping:"
REBUILD: Final = "rebuild:"


def kind_of(definition_id: str) -> DefinitionKind | None:
    """Return the kind that an id names; None when there is no such kind."""
    return _KINDS.get(definition_id.partition(":")[0])


_KINDS: Final = {kind.value: kind for kind in DefinitionKind}


def mapping_of(stream: str) -> str:
    """Return the id of a stream's mapping."""
    return MAPPING + stream


def stream_of(definition_id: str) -> str | None:
    """Return the stream whose mapping it is; None when it is no mapping."""
    return definition_id.removeprefix(MAPPING) if definition_id.startswith(MAPPING) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEnvelope:
    """What every command of this module has; time and ids come in with it."""

    command_id: str
    definition_id: str
    issued_at: datetime
    issued_by: str  # `user:NAME`
    rules: int = RULES
    expected_version: int | None = None  # refuse when the newest version is another; 0: there is none yet

    @property
    def kind(self) -> DefinitionKind | None:
        """The kind of the definition; None when the id names no kind."""
        return kind_of(self.definition_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftDefinition(CommandEnvelope):
    """Keep a new version, to be looked at and applied later; it takes the place of the draft there is."""

    body: str  # JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyDefinition(CommandEnvelope):
    """Let the draft be the rules from now on; `version` is that of the draft that was looked at."""

    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardDraft(CommandEnvelope):
    """Drop the draft; its number is not given again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetPerson(CommandEnvelope):
    """Forget what was said up to `at` of the identities with these hashes."""

    key_hashes: tuple[str, ...]  # SHA-256 of each `kind:value`, in hexadecimal
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRebuild(CommandEnvelope):
    """Make all profiles anew, beside those that are live, from raw messages and by other rules.

    `recipe` is JSON, see `projections/definitions/rebuild_spec.py`: the rules with their versions, and which messages
    are left out.
    """

    recipe: str
    note: str = ""  # why, for people
    basis: str = (
        ""  # stands for the rules that the recipe was made from, see `projections/definitions/state.py`; empty: any
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRebuilt(CommandEnvelope):
    """The builder says: all is built, keeps up with what comes in, and compares with what is live as `report` says."""

    report: str  # JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteRebuild(CommandEnvelope):
    """Let what was built be what is live."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardRebuild(CommandEnvelope):
    """Drop what was built, finished or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventEnvelope:
    """What every event of this module has."""

    event_id: str  # UUIDv5 of the command id
    definition_id: str
    seq: int  # counts a definition's events from 1 without a gap; 0 for a refusal where there is no definition
    occurred_at: datetime  # UTC; never before the definition's event before it
    command_id: str
    command_offset: int  # of the command in definitions.commands
    actor: str
    rules: int

    @property
    def kind(self) -> DefinitionKind | None:
        """The kind of the definition; None when the id names no kind, as in a refusal."""
        return kind_of(self.definition_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionDrafted(EventEnvelope):
    """There is a draft, version `version`."""

    version: int
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionApplied(EventEnvelope):
    """What the draft said are the rules now."""

    version: int
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftDiscarded(EventEnvelope):
    """The draft is gone."""

    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonForgotten(EventEnvelope):
    """What was said up to `at` of the identities with these hashes is forgotten."""

    key_hashes: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildStarted(EventEnvelope):
    """Profiles are being built by a recipe."""

    recipe: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildReady(EventEnvelope):
    """What was built can be promoted; it may be compared again later."""

    report: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildPromoted(EventEnvelope):
    """The recipe is what the rules are from now on, and profiles are those of this generation."""

    generation: int  # counts promotions from 1
    recipe: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildDiscarded(EventEnvelope):
    """Nothing came of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRefused:
    """One problem of a body; `pointer` is a JSON pointer into it."""

    pointer: str
    code: str
    params: Params


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionRefused(EventEnvelope):
    """A command changed nothing; `code` is stable. `errors` has what is wrong with the body, as far as it is that."""

    command: str
    code: str
    params: Params
    errors: tuple[FieldRefused, ...]
    version: int  # the newest that there is


RuleCommand = DraftDefinition | ApplyDefinition | DiscardDraft | ForgetPerson
RebuildCommand = StartRebuild | ReportRebuilt | PromoteRebuild | DiscardRebuild
DefinitionCommand = RuleCommand | RebuildCommand
DefinitionEvent = (
    DefinitionDrafted
    | DefinitionApplied
    | DraftDiscarded
    | PersonForgotten
    | DefinitionRefused
    | RebuildStarted
    | RebuildReady
    | RebuildPromoted
    | RebuildDiscarded
)

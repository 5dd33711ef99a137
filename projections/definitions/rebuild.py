"""The life of one rebuild: started, ready as often as it is compared, then promoted or discarded. Pure and total.

Only one is under way at a time. It is for the rules that were in force when it was started: when others are applied
meanwhile, what was built is of no use.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal, assert_never

from projections.decider import state_envelope
from projections.definitions.body_checks import InvalidBodyError, check_applied, check_body
from projections.definitions.decider import Decision, DefinitionRefusedError, check_version, decided, invalid_body
from projections.definitions.rebuild_spec import AppliedBody, RebuildSpec, read_recipe
from projections.definitions.rules import Rules
from projections.mapping.body_parser import InvalidRulesError, field_refused
from schemas.definitions import (
    IDENTITY,
    REBUILD,
    DefinitionEvent,
    DefinitionKind,
    DiscardRebuild,
    FieldRefused,
    PromoteRebuild,
    RebuildCommand,
    RebuildDiscarded,
    RebuildPromoted,
    RebuildReady,
    RebuildStarted,
    ReportRebuilt,
    StartRebuild,
    kind_of,
    mapping_of,
)
from schemas.json_values import json_pointer
from schemas.names import is_job_id

MAX_REPORT_BYTES: Final = 512 * 1024  # bytes

Status = Literal["building", "ready", "promoted", "discarded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRebuild:
    """A rebuild as its events up to `seq` made it."""

    definition_id: str
    seq: int
    command_offset: int
    updated_at: datetime
    status: Status
    recipe: str  # empty when it isn't under way any more
    version: int = 0  # how often it was reported to be ready
    generation: int = 0  # of the profiles that it became
    recent_commands: tuple[str, ...] = ()

    @property
    def is_under_way(self) -> bool:
        """Whether it may still become what is live."""
        return self.status in {"building", "ready"}


def is_rebuild_id(definition_id: str) -> bool:
    """Whether a rebuild can have that id."""
    return kind_of(definition_id) is DefinitionKind.REBUILD and is_job_id(definition_id.removeprefix(REBUILD))


def decide(
    known: ProfileRebuild | None, command: RebuildCommand, offset: int, rules: Rules, others: "RebuildContext"
) -> tuple[DefinitionEvent, ...]:
    """Return what a command, found at `offset`, leads to under `rules`; nothing, when it was seen before."""
    return decided(known, command, offset, lambda: _decide(known, command, rules, others))


@dataclass(frozen=True, slots=True)
class RebuildContext:
    """What has to be known beside a rebuild and the rules."""

    under_way: str = ""  # the id of another rebuild
    outdated: bool = False  # other rules are in force than when it was started or, to start it, when it was asked for
    room: int = 2**62  # bytes that a recipe may have
    versions: Mapping[str, int] = field(default_factory=dict)  # the newest of each definition


def evolve(known: ProfileRebuild | None, event: DefinitionEvent) -> ProfileRebuild | None:
    """Return the state behind an event. An event that is not the next one of its rebuild changes nothing."""
    if event.seq != 1 + (known.seq if known else 0):
        return known
    envelope = state_envelope(known, event)
    if known is None:
        if not isinstance(event, RebuildStarted):
            return None
        return ProfileRebuild(definition_id=event.definition_id, status="building", recipe=event.recipe, **envelope)
    return replace(_evolved(known, event), **envelope)


def _evolved(known: ProfileRebuild, event: DefinitionEvent) -> ProfileRebuild:
    match event:
        case RebuildReady():
            return replace(known, status="ready", version=known.version + 1)
        case RebuildPromoted():
            return replace(known, status="promoted", generation=event.generation, recipe="")
        case RebuildDiscarded():
            return replace(known, status="discarded", recipe="")
        case _:
            return known


def _decide(known: ProfileRebuild | None, command: RebuildCommand, rules: Rules, others: RebuildContext) -> Decision:
    if not is_rebuild_id(command.definition_id):
        raise DefinitionRefusedError("no_such_rebuild", {"rebuild": command.definition_id})
    if isinstance(command, StartRebuild):
        return _start(known, command, others)
    if known is None:
        raise DefinitionRefusedError("no_such_rebuild", {"rebuild": command.definition_id})
    if not known.is_under_way:
        raise DefinitionRefusedError("not_under_way", {"status": known.status})
    check_version(known, command)
    match command:
        case ReportRebuilt():
            if len(command.report.encode("utf-8", "replace")) > MAX_REPORT_BYTES:
                raise DefinitionRefusedError("report_too_large", {"max": MAX_REPORT_BYTES})
            return RebuildReady, {"report": command.report}
        case PromoteRebuild():
            return _promote(known, rules, others)
        case DiscardRebuild():
            return RebuildDiscarded, {}
        case _:
            assert_never(command)


def _start(known: ProfileRebuild | None, command: StartRebuild, others: RebuildContext) -> Decision:
    if known is not None:
        raise DefinitionRefusedError("exists", {"status": known.status})
    if others.under_way:
        raise DefinitionRefusedError("busy", {"rebuild": others.under_way})
    if others.outdated:
        raise DefinitionRefusedError("outdated")
    if len((command.recipe + command.note).encode("utf-8", "replace")) > others.room:
        raise DefinitionRefusedError("too_much")
    try:
        _check(read_recipe(command.recipe), others.versions)
    except InvalidRulesError as error:
        raise invalid_body("invalid_body", error.problems) from error
    return RebuildStarted, {"recipe": command.recipe, "note": command.note}


def _promote(known: ProfileRebuild, rules: Rules, others: RebuildContext) -> Decision:
    if known.status != "ready":
        raise DefinitionRefusedError("not_ready")
    if others.outdated:
        raise DefinitionRefusedError("outdated")
    return RebuildPromoted, {"generation": rules.generation + 1, "recipe": known.recipe}


def _check(recipe: RebuildSpec, versions: Mapping[str, int]) -> None:
    """Make sure that a recipe is made of versions that there are, and that they can be in force together."""
    problems: list[FieldRefused] = []
    for pointer, name, item in _bodies(recipe):
        if item.version > versions.get(name, 0):
            problems.append(field_refused(f"{pointer}/version", "no_such_version", {"definition": name}))
        problems += _problems(pointer, name, item.body, None)
    if not problems:
        rules = Rules(recipe.identity, recipe.mappings)
        for pointer, name, item in _bodies(recipe):
            problems += _problems(pointer, name, item.body, rules)
    if problems:
        raise InvalidRulesError(tuple(problems))


def _bodies(recipe: RebuildSpec) -> list[tuple[str, str, AppliedBody]]:
    found = [
        (json_pointer("mappings", stream), mapping_of(stream), mapping) for stream, mapping in recipe.mappings.items()
    ]
    return [*([("/identity", IDENTITY, recipe.identity)] if recipe.identity else []), *found]


def _problems(pointer: str, name: str, body: str, rules: Rules | None) -> list[FieldRefused]:
    try:
        if rules is None:
            check_body(name, body)
        else:
            check_applied(rules, name, body)
    except InvalidBodyError as error:
        return [replace(item, pointer=f"{pointer}/body{item.pointer}") for item in error.errors]
    return []

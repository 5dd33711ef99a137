"""The life cycle of one rebuild: started, ready (again after each comparison), promoted or discarded. Pure and total.

Only one is under way at a time. It is based on the rules that were active when it was started: if others are applied
meanwhile, it can only be discarded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal, assert_never

from projections.decider import state_envelope
from projections.definitions.body_checks import InvalidBodyError, check_applied, check_body
from projections.definitions.decider import Decision, DefinitionRefusedError, check_version, decided, invalid_body
from projections.definitions.rebuild_spec import RebuildSpec, parse_spec
from projections.definitions.rules import Rules
from projections.mapping.body_parser import InvalidRulesError, field_refused
from schemas.definitions import (
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
    stream_of,
)
from schemas.json_values import json_pointer
from schemas.names import is_job_id, is_safe_text

MAX_REPORT_BYTES: Final = 512 * 1024
UNBOUNDED: Final = 2**62  # bytes

ProfileRebuildStatus = Literal["building", "ready", "promoted", "discarded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRebuild:
    """The state of a rebuild after event `seq`."""

    definition_id: str
    seq: int
    command_offset: int
    updated_at: datetime
    status: ProfileRebuildStatus
    spec: str  # the JSON of its spec; empty once it is promoted or discarded
    version: int = 0  # the number of reports that it is ready
    generation: int = 0  # of its profiles; 0 until it is promoted
    recent_commands: tuple[str, ...] = ()

    @property
    def is_under_way(self) -> bool:
        """Whether it can still be promoted or discarded."""
        return self.status in {"building", "ready"}


def is_rebuild_id(definition_id: str) -> bool:
    """Whether the id is valid for a rebuild."""
    return kind_of(definition_id) is DefinitionKind.REBUILD and is_job_id(definition_id.removeprefix(REBUILD))


def decide(
    current: ProfileRebuild | None, command: RebuildCommand, offset: int, rules: Rules, context: "RebuildContext"
) -> tuple[DefinitionEvent, ...]:
    """Return the event that the command at `offset` causes under the active `rules`; none if it was handled before."""
    return decided(current, command, offset, lambda: _decide(current, command, rules, context))


@dataclass(frozen=True, slots=True)
class RebuildContext:
    """What a decision depends on beside the rebuild and the active rules."""

    under_way: str = ""  # the id of another rebuild that is under way
    outdated: bool = False  # the active rules changed since the start, or since it was requested
    max_bytes: int = UNBOUNDED  # of the spec and the note
    versions: Mapping[str, int] = field(default_factory=dict)  # the newest of each definition


def evolve(current: ProfileRebuild | None, event: DefinitionEvent) -> ProfileRebuild | None:
    """Return the state after an event. An event that is not the next of its rebuild is ignored."""
    if event.seq != 1 + (current.seq if current else 0):
        return current
    envelope = state_envelope(current, event)
    if current is None:
        if not isinstance(event, RebuildStarted):
            return None
        return ProfileRebuild(definition_id=event.definition_id, status="building", spec=event.spec, **envelope)
    return replace(_evolved(current, event), **envelope)


def _evolved(current: ProfileRebuild, event: DefinitionEvent) -> ProfileRebuild:
    match event:
        case RebuildReady():
            return replace(current, status="ready", version=current.version + 1)
        case RebuildPromoted():
            return replace(current, status="promoted", generation=event.generation, spec="")
        case RebuildDiscarded():
            return replace(current, status="discarded", spec="")
        case _:
            return current


def _decide(current: ProfileRebuild | None, command: RebuildCommand, rules: Rules, context: RebuildContext) -> Decision:
    if not is_rebuild_id(command.definition_id):
        raise DefinitionRefusedError("no_such_rebuild", {"rebuild": command.definition_id})
    if isinstance(command, StartRebuild):
        return _start(current, command, context)
    if current is None:
        raise DefinitionRefusedError("no_such_rebuild", {"rebuild": command.definition_id})
    if not current.is_under_way:
        raise DefinitionRefusedError("not_under_way", {"status": current.status})
    check_version(current, command)
    match command:
        case ReportRebuilt():
            if len(command.report.encode("utf-8", "replace")) > MAX_REPORT_BYTES:
                raise DefinitionRefusedError("report_too_large", {"max": MAX_REPORT_BYTES})
            return RebuildReady, {"report": command.report}
        case PromoteRebuild():
            return _promote(current, rules, context)
        case DiscardRebuild():
            return RebuildDiscarded, {}
        case _:
            assert_never(command)


def _start(current: ProfileRebuild | None, command: StartRebuild, context: RebuildContext) -> Decision:
    if current is not None:
        raise DefinitionRefusedError("exists", {"status": current.status})
    if context.under_way:
        raise DefinitionRefusedError("busy", {"rebuild": context.under_way})
    if context.outdated:
        raise DefinitionRefusedError("outdated")
    if len((command.spec + command.note).encode("utf-8", "replace")) > context.max_bytes:
        raise DefinitionRefusedError("too_much")
    if not is_safe_text(command.note):
        raise DefinitionRefusedError("bad_note", {"pointer": "/note"})
    try:
        _check(parse_spec(command.spec), context.versions)
    except InvalidRulesError as error:
        raise invalid_body("invalid_body", error.problems) from error
    return RebuildStarted, {"spec": command.spec, "note": command.note}


def _promote(current: ProfileRebuild, rules: Rules, context: RebuildContext) -> Decision:
    if current.status != "ready":
        raise DefinitionRefusedError("not_ready")
    if context.outdated:
        raise DefinitionRefusedError("outdated")
    return RebuildPromoted, {"generation": rules.generation + 1, "spec": current.spec}


def _check(spec: RebuildSpec, versions: Mapping[str, int]) -> None:
    """Check that a spec names existing versions, and that its bodies are valid and consistent with each other.

    Raises:
        InvalidRulesError: it does not; lists every problem.

    """
    problems: list[FieldRefused] = []
    for name, body in spec.bodies.items():
        if body.version > versions.get(name, 0):
            problems.append(field_refused(f"{_pointer(name)}/version", "no_such_version", {"definition": name}))
        problems += _problems(name, body.body, None)
    if not problems:
        rules = Rules(spec.identity, spec.mappings)
        for name, body in spec.bodies.items():
            problems += _problems(name, body.body, rules)
    if problems:
        raise InvalidRulesError(tuple(problems))


def _pointer(definition_id: str) -> str:
    """Return the JSON pointer to the rules of a definition in a spec."""
    stream = stream_of(definition_id)
    return json_pointer("identity") if stream is None else json_pointer("mappings", stream)


def _problems(name: str, body: str, rules: Rules | None) -> list[FieldRefused]:
    """Return the problems of a body by itself, or with `rules` those of its consistency with them."""
    try:
        if rules is None:
            check_body(name, body)
        else:
            check_applied(rules, name, body)
    except InvalidBodyError as error:
        return [replace(problem, pointer=f"{_pointer(name)}/body{problem.pointer}") for problem in error.errors]
    return []

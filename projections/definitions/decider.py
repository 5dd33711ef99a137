"""The part of deciding that definitions and rebuilds share: each command causes one event, perhaps a refusal."""

from collections.abc import Callable
from typing import Any, Final, Protocol

from projections.decider import DecidedState, RefusedError, check_envelope, event_envelope, is_handled
from schemas.coded import Params, caused_by, fit_params
from schemas.definitions import RULES, DefinitionCommand, DefinitionEvent, DefinitionRefused, FieldRefused

MAX_ERRORS: Final = 100  # of a body, in a refusal

Decision = tuple[type[Any], dict[str, Any]]  # the type of the event, and its fields besides the envelope


class VersionedState(DecidedState, Protocol):
    """A state with a version number."""

    @property
    def version(self) -> int:
        """The version that `expected_version` of a command is compared with."""
        ...


class DefinitionRefusedError(RefusedError):
    """The command about a definition is refused; becomes a `DefinitionRefused`."""

    def __init__(self, code: str, params: Params | None = None, errors: tuple[FieldRefused, ...] = ()) -> None:
        super().__init__(code, params)
        self.errors = errors


def invalid_body(code: str, errors: tuple[FieldRefused, ...]) -> DefinitionRefusedError:
    """Return the refusal of an invalid body: its parameters name the first problem."""
    first = errors[0]
    params = {"at": first.pointer, "more": len(errors) - 1, **caused_by(first.code, first.params)}
    return DefinitionRefusedError(code, params, errors[:MAX_ERRORS])


def decided(
    state: VersionedState | None, command: DefinitionCommand, offset: int, decide: Callable[[], Decision]
) -> tuple[DefinitionEvent, ...]:
    """Return the event that the command at `offset` causes; none if it was handled before.

    `decide` returns the event, or raises `RefusedError`. A refusal without a state has `seq` 0.
    """
    if is_handled(state, command, offset):
        return ()
    try:
        check_envelope(command, RULES)
        kind, fields = decide()
    except RefusedError as refusal:
        kind, fields = DefinitionRefused, _refusal_fields(state, command, refusal)
    envelope = event_envelope(state, command, offset, 0)
    if state is None and kind is DefinitionRefused:
        envelope["seq"] = 0
    return (kind(definition_id=command.definition_id, **envelope, **fields),)


def check_version(state: VersionedState | None, command: DefinitionCommand) -> None:
    """Check the version that a command expects, if any.

    Raises:
        DefinitionRefusedError: the state has another version.

    """
    version = state.version if state else 0
    if command.expected_version not in {None, version}:
        raise DefinitionRefusedError("version_mismatch", {"version": version, "expected": command.expected_version})


def _refusal_fields(state: VersionedState | None, command: DefinitionCommand, refusal: RefusedError) -> dict[str, Any]:
    return {
        "command": type(command).__name__,
        "code": refusal.code,
        "params": fit_params(refusal.params),
        "errors": refusal.errors if isinstance(refusal, DefinitionRefusedError) else (),
        "version": state.version if state else 0,
    }

"""Kinds of definitions: which ids they have, and that an id of no kind is refused."""

import pytest

from projections.definitions.body_checks import InvalidBodyError, check_body
from projections.definitions.definition import Definition
from projections.definitions.kinds import versioned_kind
from schemas.definitions import DefinitionKind, DiscardDraft, DraftDiscarded, kind_of
from tests.unit.projections.definitions.scenario import START


@pytest.mark.parametrize(
    ("definition_id", "kind"),
    [
        ("mapping:flights", DefinitionKind.MAPPING),
        ("identity", DefinitionKind.IDENTITY),
        ("rebuild:1", DefinitionKind.REBUILD),
        ("forgetting:1", DefinitionKind.FORGETTING),
        ("audiences:vip", None),
        ("", None),
    ],
)
def test_the_id_names_the_kind(definition_id: str, kind: DefinitionKind | None) -> None:
    assert kind_of(definition_id) is kind


@pytest.mark.parametrize("definition_id", ["mapping:", "mapping", "identity:x", "rebuild:1", "forgetting:1", "other"])
def test_an_id_of_no_versioned_kind_has_no_body(definition_id: str) -> None:
    assert versioned_kind(definition_id) is None
    with pytest.raises(InvalidBodyError, match="unknown_definition_kind"):
        check_body(definition_id, "{}")


def test_commands_events_and_states_have_their_kind() -> None:
    command = DiscardDraft(command_id="c", definition_id="identity", issued_at=START, issued_by="user:ada")
    event = DraftDiscarded(
        event_id="e", definition_id="mapping:a", seq=1, occurred_at=START, command_id="c", command_offset=0,
        actor="user:ada", rules=1, version=1,
    )  # fmt: skip
    state = Definition(definition_id="mapping:a", seq=1, command_offset=0, updated_at=START)
    assert command.kind is DefinitionKind.IDENTITY
    assert event.kind is state.kind is DefinitionKind.MAPPING

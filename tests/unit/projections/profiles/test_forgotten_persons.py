"""The keys of forgotten persons are found by the id that nodes have, also after they are stored."""

import pytest

from projections.profiles.forgotten_persons import ForgottenPersons
from projections.profiles.identity_node import Node

ANN, BOB, EVE = "00:email:ann", "00:email:bob", "00:email:eve"


def test_keys_are_named_by_their_content() -> None:
    persons = ForgottenPersons(lambda _: None)
    person = persons.add([ANN, BOB])
    assert persons.add([ANN, BOB]) == person != persons.add([ANN])
    assert persons.take_changes().keys() == {person, persons.add([ANN])}
    assert ForgottenPersons(lambda _: None).add([ANN, BOB]) == person, "in every partition"


@pytest.mark.parametrize("stored", [False, True])
def test_a_state_is_outdated_if_the_same_person_sent_it_before_the_forgetting(stored: bool) -> None:  # noqa: FBT001  # the two cases
    store: dict[str, bytes] = {}
    persons = ForgottenPersons(store.get)
    node = Node(ANN, forgotten=5, person=persons.add([ANN, BOB]))
    if stored:
        store |= persons.take_changes()
        assert persons.take_changes() == {}
    assert persons.is_outdated(node, (BOB, 4))
    assert not persons.is_outdated(node, (BOB, 5))
    assert not persons.is_outdated(node, (EVE, 0))
    assert not persons.is_outdated(Node(ANN), (BOB, 0))

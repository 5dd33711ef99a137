"""Sealed values: only the master key opens them, and only in the place that they were sealed for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.vault.cipher import MASTER_KEY_BYTES, MasterKey, Sealed, SecretBinding, UnreadableSecret
from app.vault.secret import Secret

KEY = MasterKey(Secret(b"k" * MASTER_KEY_BYTES))
OTHER_KEY = MasterKey(Secret(b"o" * MASTER_KEY_BYTES))
BINDING = SecretBinding("job/1", "/source")


@given(st.binary(max_size=200))
def test_a_sealed_value_opens_to_what_was_sealed(value: bytes) -> None:
    sealed = KEY.sealing_key.seal(value, BINDING)
    assert KEY.open(Sealed.from_json(sealed.to_json()), BINDING).reveal() == value


def test_the_same_value_is_sealed_differently_each_time() -> None:
    first, second = (KEY.sealing_key.seal(b"value", BINDING) for _ in range(2))
    assert first.version != second.version
    assert not {first.box[start : start + 16] for start in range(len(first.box) - 15)} & {
        second.box[start : start + 16] for start in range(len(second.box) - 15)
    }


@pytest.mark.parametrize(
    "binding", [SecretBinding("job/2", "/source"), SecretBinding("job/1", "/other"), SecretBinding("job/1/source", "")]
)
def test_a_sealed_value_does_not_open_in_another_place(binding: SecretBinding) -> None:
    with pytest.raises(UnreadableSecret):
        KEY.open(KEY.sealing_key.seal(b"value", BINDING), binding)


def test_version_and_key_are_bound_to_the_ciphertext() -> None:
    sealed = KEY.sealing_key.seal(b"value", BINDING)
    for changed in (replace(sealed, version="0"), replace(sealed, key_id="0")):
        with pytest.raises(UnreadableSecret):
            KEY.open(changed, BINDING)


def test_another_master_key_opens_nothing() -> None:
    with pytest.raises(UnreadableSecret):
        OTHER_KEY.open(KEY.sealing_key.seal(b"value", BINDING), BINDING)


def test_a_box_with_a_changed_or_missing_byte_does_not_open() -> None:
    sealed = KEY.sealing_key.seal(b"value", BINDING)
    for index, byte in enumerate(sealed.box):
        changed = sealed.box[:index] + bytes([byte ^ 1]) + sealed.box[index + 1 :]
        for box in (changed, sealed.box[:index]):
            with pytest.raises(UnreadableSecret):
                KEY.open(replace(sealed, box=box), BINDING)


@pytest.mark.parametrize(
    "value", [None, 1, "text", [], {}, {"key": "k", "version": "v", "box": "?"}, {"key": "k", "version": "v", "box": 1}]
)
def test_a_damaged_json_value_is_unreadable(value: object) -> None:
    with pytest.raises(UnreadableSecret):
        Sealed.from_json(value)


def test_the_key_id_is_stable_and_differs_by_key() -> None:
    assert MasterKey(Secret(b"k" * MASTER_KEY_BYTES)).key_id == KEY.key_id == KEY.sealing_key.key_id
    assert OTHER_KEY.key_id != KEY.key_id

"""Sealed values of configurations: what the masked form hides is sealed, and nothing else."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.vault.cipher import MASTER_KEY_BYTES, MasterKey, SecretBinding, UnreadableSecret
from app.vault.master_key import KeyRing
from app.vault.sealed_json import SEALED, is_sealed, job_owner, open_secrets, seal_secrets, shown_form
from app.vault.secret import Secret
from connectors.redaction import redact_credentials
from schemas.json_values import canonical_json

KEY = MasterKey(Secret(b"k" * MASTER_KEY_BYTES))
RING = KeyRing({KEY.key_id: KEY})
OWNER = job_owner("1")
PLAIN = {
    "source": "https://user:canary@host/a.csv?sig=canary",
    "stream": "people",
    "parts": [{"url": " https://canary@host/"}, "get https://host/?canary now", 7, None],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def sealed(plain: dict[str, Any]) -> Any:
    return seal_secrets(plain, redact_credentials(plain), KEY.sealing_key, OWNER)


def test_only_secrets_are_sealed_and_their_masked_form_is_shown() -> None:
    value = sealed(PLAIN)
    assert "canary" not in canonical_json(value)
    assert value["stream"] == "people"
    assert value["parts"][2:] == [7, None]
    assert shown_form(value) == redact_credentials(PLAIN)
    assert open_secrets(value, RING.open, OWNER) == PLAIN


def test_what_is_sealed_is_not_sealed_again() -> None:
    value = sealed(PLAIN)
    again = seal_secrets(value, redact_credentials(shown_form(value)), KEY.sealing_key, OWNER)
    assert again == value


@settings(max_examples=30)
@given(st.dictionaries(st.text(), JSON, max_size=4), st.dictionaries(st.text(), JSON, max_size=4))
def test_whatever_differs_in_the_masked_form_opens_again(plain: dict[str, Any], shown: dict[str, Any]) -> None:
    value = orjson.loads(canonical_json(seal_secrets(plain, shown, KEY.sealing_key, OWNER)))
    assert open_secrets(value, RING.open, OWNER) == plain


def test_a_sealed_value_does_not_open_in_another_job_or_field() -> None:
    value = sealed(PLAIN)
    with pytest.raises(UnreadableSecret):
        open_secrets(value, RING.open, job_owner("2"))
    with pytest.raises(UnreadableSecret) as moved:
        open_secrets({"other": value["source"]}, RING.open, OWNER)
    assert moved.value.params == {"pointer": "/other"}


def test_a_sealed_text_that_is_no_json_is_unreadable() -> None:
    value = sealed(PLAIN)
    forged = KEY.sealing_key.seal(b"{", SecretBinding(OWNER, "/source")).to_json()
    with pytest.raises(UnreadableSecret):
        open_secrets(value | {"source": {SEALED: forged, "shown": ""}}, RING.open, OWNER)


def test_an_object_with_more_fields_is_not_sealed() -> None:
    assert is_sealed({SEALED: {}, "shown": ""})
    assert not is_sealed({SEALED: {}, "shown": "", "more": ""})
    assert not is_sealed({SEALED: {}})

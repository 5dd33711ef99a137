"""Nothing but `reveal` returns a secret."""

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter

from app.vault.secret import Secret

CANARY = "canary-7f3a"


@dataclass(frozen=True)
class Credentials:
    """Holds a secret."""

    password: Secret[str]


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{:>20}".format, "%s".__mod__, "%r".__mod__])
def test_texts_of_a_secret_are_masked(show: Callable[[Any], str]) -> None:
    assert CANARY not in show(Secret(CANARY))
    assert CANARY not in show(Secret(CANARY.encode()))


def test_an_object_with_a_secret_masks_it() -> None:
    assert CANARY not in repr(Credentials(Secret(CANARY)))


@pytest.mark.parametrize(
    "encode",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        json.dumps,
        orjson.dumps,
        TypeAdapter(Any).dump_json,
        lambda secret: asdict(Credentials(secret)),
        vars,
        hash,
        iter,
        bytes,
    ],
)
def test_a_secret_cannot_be_encoded_or_copied(encode: Callable[[Any], Any]) -> None:
    with pytest.raises((TypeError, ValueError)) as raised:
        encode(Secret(CANARY))
    assert CANARY not in "".join(traceback.format_exception(raised.value))


def test_a_log_record_masks_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("connecting with %s %r", Secret(CANARY), Credentials(Secret(CANARY)))
    assert caplog.text
    assert CANARY not in caplog.text


def test_secrets_are_compared_by_value() -> None:
    assert Secret("ü") == Secret("ü")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert Secret(CANARY).reveal() == CANARY

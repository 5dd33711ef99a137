"""Sealed values in JSON objects: `{"$sealed": …, "shown": …}` stands for a value, with its masked form beside it."""

import re
from collections.abc import Callable
from typing import Any, Final

import orjson

from app.vault.cipher import Sealed, SealingKey, SecretBinding, UnreadableSecret
from app.vault.secret import Secret
from connectors.redaction import MASK
from schemas.json_values import canonical_json, json_pointer

SEALED: Final = "$sealed"
SHOWN: Final = "shown"

_KEY_ID: Final = re.compile(rb'"\$sealed":\{"box":"[^"]*","key":"([0-9a-f]{1,64})"')  # as canonical JSON has it

Open = Callable[[Sealed, SecretBinding], Secret[bytes]]


def job_owner(job_id: str) -> str:
    """Return the owner that the secrets of a job are bound to."""
    return f"job/{job_id}"


def is_sealed(value: Any) -> bool:
    """Whether a JSON value stands for a sealed one."""
    return isinstance(value, dict) and value.keys() == {SEALED, SHOWN}


def sealing_keys(canonical: bytes) -> frozenset[str]:
    """Return the ids of the master keys that values are sealed with, in canonical JSON or a record that contains it."""
    return frozenset(key_id.decode() for key_id in _KEY_ID.findall(canonical))


def shown_form(value: Any) -> Any:
    """Return a JSON value with the masked form of everything that is sealed."""
    return _map_sealed(value, lambda node, _path: node[SHOWN], ())


def seal_secrets(value: Any, shown: Any, key: SealingKey, owner: str) -> Any:
    """Return a JSON value in which everything that differs in its masked form is sealed. What is sealed stays."""

    def seal(node: Any, masked: Any, path: tuple[str | int, ...]) -> Any:
        if is_sealed(node) or node == masked:
            return node
        if isinstance(node, dict) and isinstance(masked, dict):
            return {name: seal(item, masked.get(name, MASK), (*path, name)) for name, item in node.items()}
        if isinstance(node, list) and isinstance(masked, list) and len(node) == len(masked):
            return [seal(item, masked[index], (*path, index)) for index, item in enumerate(node)]
        plain = canonical_json(node).encode()
        return {SEALED: key.seal(plain, SecretBinding(owner, json_pointer(*path))).to_json(), SHOWN: masked}

    return seal(value, shown, ())


def open_secrets(value: Any, open_: Open, owner: str) -> Any:
    """Return a JSON value with everything that is sealed opened.

    Raises:
        MasterKeyMissing, UnreadableSecret: a value can't be opened.

    """

    def plain(node: dict[str, Any], path: tuple[str | int, ...]) -> Any:
        binding = SecretBinding(owner, json_pointer(*path))
        secret = open_(Sealed.from_json(node[SEALED]), binding)
        try:
            return orjson.loads(secret.reveal())
        except orjson.JSONDecodeError:
            raise UnreadableSecret("secret_unreadable", {"pointer": binding.field}) from None

    return _map_sealed(value, plain, ())


def _map_sealed(
    value: Any, change: Callable[[dict[str, Any], tuple[str | int, ...]], Any], path: tuple[str | int, ...]
) -> Any:
    if is_sealed(value):
        return change(value, path)
    if isinstance(value, dict):
        return {name: _map_sealed(item, change, (*path, name)) for name, item in value.items()}
    if isinstance(value, list):
        return [_map_sealed(item, change, (*path, index)) for index, item in enumerate(value)]
    return value

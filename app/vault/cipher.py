"""Seal values to a public key: AES-256-GCM under a fresh data key, which HPKE (RFC 9180) wraps to an X25519 key.

The public key seals and does not open. The key pair is derived from the master key, which therefore opens everything
that was ever sealed to it.
"""

import hashlib
import os
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.vault.secret import Secret
from schemas.coded import CodedError
from schemas.json_values import canonical_json

MASTER_KEY_BYTES: Final = 32
DATA_KEY_BITS: Final = 256
NONCE_BYTES: Final = 12
WRAPPED_BYTES: Final = 32 + DATA_KEY_BITS // 8 + 16  # ephemeral public key, data key, tag
PRIVATE_KEY_INFO: Final = b"entrepot sealing key 1"
DATA_KEY_INFO: Final = b"entrepot data key 1"

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class MasterKeyMissing(CodedError):
    """The master key that a value was sealed with is not available."""


class UnreadableSecret(CodedError):
    """A sealed value is damaged, or was moved from the place that it was sealed for."""


@dataclass(frozen=True, slots=True)
class SecretBinding:
    """What a sealed value belongs to: the owner, and a field of it as a JSON pointer. It opens in no other place."""

    owner: str
    field: str

    def associated_data(self, key_id: str, version: str) -> bytes:
        """Return the associated data of the ciphertext."""
        return canonical_json([self.owner, self.field, key_id, version]).encode()


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed value: the id of its master key, its own version, the wrapped data key and the ciphertext."""

    key_id: str
    version: str
    box: bytes

    def to_json(self) -> dict[str, str]:
        """Return it as a JSON value."""
        return {"key": self.key_id, "version": self.version, "box": b64encode(self.box).decode()}

    @classmethod
    def from_json(cls, value: Any) -> "Sealed":
        """Return the sealed value in a JSON value.

        Raises:
            UnreadableSecret: there is none.

        """
        try:
            return cls(str(value["key"]), str(value["version"]), b64decode(value["box"], validate=True))
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableSecret("secret_unreadable") from error


@dataclass(frozen=True, slots=True)
class SealingKey:
    """The X25519 public key of a master key."""

    public: bytes

    @property
    def key_id(self) -> str:
        """The id of the master key."""
        return hashlib.sha256(self.public).hexdigest()[:16]

    def seal(self, value: bytes, binding: SecretBinding) -> Sealed:
        """Seal a value, as a new version, for one place."""
        version, data_key, nonce = uuid4().hex, AESGCM.generate_key(DATA_KEY_BITS), os.urandom(NONCE_BYTES)
        wrapped = _SUITE.encrypt(data_key, X25519PublicKey.from_public_bytes(self.public), info=DATA_KEY_INFO)
        ciphertext = AESGCM(data_key).encrypt(nonce, value, binding.associated_data(self.key_id, version))
        return Sealed(self.key_id, version, wrapped + nonce + ciphertext)


class MasterKey:
    """The key pair that is derived from a master key."""

    def __init__(self, key: Secret[bytes]) -> None:
        derive = HKDF(algorithm=SHA256(), length=MASTER_KEY_BYTES, salt=None, info=PRIVATE_KEY_INFO)
        self._private = X25519PrivateKey.from_private_bytes(derive.derive(key.reveal()))
        self.sealing_key = SealingKey(self._private.public_key().public_bytes_raw())

    @property
    def key_id(self) -> str:
        """The id of the master key: it identifies the key and reveals nothing of it."""
        return self.sealing_key.key_id

    def open(self, sealed: Sealed, binding: SecretBinding) -> Secret[bytes]:
        """Return a value that was sealed to this key for this place.

        Raises:
            UnreadableSecret: it is damaged, or was sealed for another job or field.

        """
        wrapped, rest = sealed.box[:WRAPPED_BYTES], sealed.box[WRAPPED_BYTES:]
        try:
            data_key = _SUITE.decrypt(wrapped, self._private, info=DATA_KEY_INFO)
            associated = binding.associated_data(sealed.key_id, sealed.version)
            return Secret(AESGCM(data_key).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], associated))
        except (InvalidTag, ValueError) as error:
            raise UnreadableSecret("secret_unreadable", {"pointer": binding.field}) from error

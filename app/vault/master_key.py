"""The file of the master key: one key a line, in Base64. The first one seals, all of them open.

Only `entrepot up` and `entrepot master-key` create a key. The runner reads it; no other role does.
"""

import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.data_dir import write_private
from app.documented_error import DocumentedError
from app.settings import Settings
from app.vault.cipher import MASTER_KEY_BYTES, MasterKey, MasterKeyMissing, Sealed, SecretBinding
from app.vault.secret import Secret

MASTER_KEY_FILE: Final = "master-key"
MAX_FILE_BYTES: Final = 64 * 1024
UNSAFE: Final = stat.S_IWGRP | stat.S_IRWXO  # a mounted secret may be readable by the group of the container


class MasterKeyFileError(DocumentedError):
    """The master key file {path} {problem}."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(path=path, problem=problem)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The master keys of a file, by id; the first one is the current one. Without a file there are none."""

    keys: Mapping[str, MasterKey]

    @property
    def current(self) -> MasterKey | None:
        """The key that new values are sealed to."""
        return next(iter(self.keys.values()), None)

    def open(self, sealed: Sealed, binding: SecretBinding) -> Secret[bytes]:
        """Return a sealed value.

        Raises:
            MasterKeyMissing: its key is not in this ring.
            UnreadableSecret: it is damaged, or was sealed for another job or field.

        """
        if sealed.key_id not in self.keys:
            raise MasterKeyMissing("master_key_missing", {"key": sealed.key_id})
        return self.keys[sealed.key_id].open(sealed, binding)


def no_keys() -> KeyRing:
    """Return a ring without keys."""
    return KeyRing({})


def master_key_path(settings: Settings) -> Path:
    """Return the path of the master key."""
    return settings.master_key_file or settings.data_dir / MASTER_KEY_FILE


def missing_keys(key_ids: Iterable[str], ring: KeyRing) -> str:
    """Return a problem that names the keys, of those that secrets are sealed with, that the ring lacks; "" if none."""
    match sorted(set(key_ids) - ring.keys.keys()):
        case []:
            return ""
        case [key_id]:
            return f"master key {key_id} is missing"
        case several:
            return f"master keys {', '.join(several)} are missing"


def read_key_ring(path: Path) -> KeyRing:
    """Return the master keys in a file; an empty ring when there is no file.

    Raises:
        MasterKeyFileError: the file can't be read, is accessible to other users, or holds something else.

    """
    try:
        with path.open("rb") as file:
            exposed = os.fstat(file.fileno()).st_mode & UNSAFE
            lines = file.read(MAX_FILE_BYTES).split()
    except FileNotFoundError:
        return no_keys()
    except OSError as error:
        raise MasterKeyFileError(path, f"can't be read: {error.strerror}") from error
    if exposed:
        raise MasterKeyFileError(path, f"is accessible to other users; run: chmod 600 {path}")
    keys = [_parse(line, path) for line in lines]
    if not keys:
        raise MasterKeyFileError(path, "is empty; restore it from a backup")
    return KeyRing({key.key_id: key for key in keys})


def create_master_key(path: Path) -> KeyRing:
    """Create a master key in a file that only its owner may read, and return it.

    Raises:
        MasterKeyFileError: the file can't be written.

    """
    try:
        write_private(path, b64encode(os.urandom(MASTER_KEY_BYTES)) + b"\n")
    except OSError as error:
        raise MasterKeyFileError(path, f"can't be written: {error.strerror}") from error
    return read_key_ring(path)


def _parse(line: bytes, path: Path) -> MasterKey:
    try:
        key = b64decode(line, validate=True)
    except ValueError:
        key = b""
    if len(key) != MASTER_KEY_BYTES:
        raise MasterKeyFileError(path, f"is damaged; expected {MASTER_KEY_BYTES} bytes in Base64 a line")
    return MasterKey(Secret(key))

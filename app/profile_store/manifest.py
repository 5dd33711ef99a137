"""The manifest of a snapshot: its files and offsets as JSON, validated completely before use."""

from hashlib import sha256
from typing import Annotated, Final, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.documented_error import DocumentedError
from app.profile_store.partition_store import FORMAT

MANIFEST_FORMAT: Final = 1
MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
MANIFEST_NAME: Final = r"[0-9]{12}-[0-9]{8}T[0-9]{12}Z\.json"
# The files of a checkpoint: no path out of the directory, and nothing that RocksDB would not read.
FILE_NAME: Final = (
    r"^(?:[0-9]{6,20}\.(?:sst|log)|CURRENT|IDENTITY|(?:MANIFEST|OPTIONS)-[0-9]{6,20}|rocksdict-config\.json)$"
)

Count = Annotated[int, Field(ge=0, lt=2**63)]


class DamagedSnapshot(DocumentedError):
    """The snapshot {name} can't be used: {why}."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name=name, why=why)


class SnapshotFile(BaseModel):
    """A file of a store, stored under the hash of its content."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    name: Annotated[str, Field(pattern=FILE_NAME)]
    size: Annotated[int, Field(ge=0, lt=2**40)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Snapshot(BaseModel):
    """The state of a partition at one time. `offsets` are those of its inputs, which the files hold too."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    format: Annotated[int, Field(ge=MANIFEST_FORMAT, le=MANIFEST_FORMAT)] = MANIFEST_FORMAT
    store_format: Annotated[int, Field(ge=FORMAT, le=FORMAT)] = FORMAT
    partition: Annotated[int, Field(ge=0, lt=10**6)]
    generation: Annotated[int, Field(ge=0, lt=10**12)]
    sequence: Annotated[int, Field(ge=1, lt=10**12)]
    taken_at: Annotated[str, Field(pattern=r"^[0-9]{8}T[0-9]{12}Z$")]  # UTC, to the microsecond
    offsets: Annotated[dict[Annotated[str, Field(max_length=512)], Count], Field(max_length=10_000)]
    files: Annotated[tuple[SnapshotFile, ...], Field(max_length=20_000)]

    @property
    def name(self) -> str:
        """Return the name of the manifest; names sort by age."""
        return f"{self.sequence:012}-{self.taken_at}.json"

    @property
    def folder(self) -> str:
        """Return the folder of the manifest."""
        return snapshot_folder(self.partition, self.generation)

    @model_validator(mode="after")
    def _is_a_store(self) -> Self:
        names = {file.name for file in self.files}
        if len(names) != len(self.files):
            raise ValueError("a file is named twice")
        if "CURRENT" not in names:
            raise ValueError("CURRENT is missing")
        return self


def snapshot_folder(partition: int, generation: int) -> str:
    """Return the folder of a partition's snapshots; generations share no files, so that one can be removed."""
    return f"partition-{partition}/generation-{generation}"


def encode_manifest(snapshot: Snapshot) -> bytes:
    """Return a manifest, with a checksum."""
    content = _canonical(snapshot.model_dump())
    return orjson.dumps({"checksum": sha256(content).hexdigest(), "snapshot": orjson.Fragment(content)})


def decode_manifest(folder: str, name: str, manifest: bytes) -> Snapshot:
    """Return the snapshot that a manifest describes.

    Raises:
        DamagedSnapshot: it was truncated or changed, or has another format, folder or name, or invalid files.

    """
    try:
        envelope = orjson.loads(manifest)
        content = _canonical(envelope["snapshot"])
        if envelope["checksum"] != sha256(content).hexdigest():
            raise DamagedSnapshot(name, "its manifest does not match its checksum")
        snapshot = Snapshot.model_validate_json(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()[:3]
        )
        raise DamagedSnapshot(name, f"its manifest is invalid or of another version: {problems}") from None
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, KeyError, TypeError) as error:
        raise DamagedSnapshot(name, f"its manifest is incomplete: {error}") from None
    if (snapshot.folder, snapshot.name) != (folder, name):
        raise DamagedSnapshot(name, f"its manifest belongs to {snapshot.folder}/{snapshot.name}")
    return snapshot


def _canonical(content: object) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)

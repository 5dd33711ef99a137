"""What a snapshot consists of, as it is written down. Every word of a manifest is checked before it is used."""

from hashlib import sha256
from typing import Annotated, Final, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.profile_store.partition_store import FORMAT

MANIFEST_FORMAT: Final = 1
MANIFEST_BYTES: Final = 4 * 1024 * 1024
MANIFEST_NAME: Final = r"[0-9]{12}-[0-9]{8}T[0-9]{12}Z\.json"
# What a checkpoint consists of: nothing that leads out of a directory, and nothing that RocksDB wouldn't read.
FILE_NAME: Final = (
    r"^(?:[0-9]{6,20}\.(?:sst|log)|CURRENT|IDENTITY|(?:MANIFEST|OPTIONS)-[0-9]{6,20}|rocksdict-config\.json)$"
)

Count = Annotated[int, Field(ge=0, lt=2**63)]


class DamagedSnapshot(Exception):
    """The snapshot {name} can't be used: {why}."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__((self.__doc__ or "").format(name=name, why=why))


class SnapshotFile(BaseModel):
    """A file of a store, found by the hash of its content."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    name: Annotated[str, Field(pattern=FILE_NAME)]
    size: Annotated[int, Field(ge=0, lt=2**40)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Snapshot(BaseModel):
    """A partition as it was. `offsets` are those of its inputs, as the files hold them, too."""

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
        """Return the name of its manifest; names order as snapshots do."""
        return f"{self.sequence:012}-{self.taken_at}.json"

    @property
    def folder(self) -> str:
        """Return where it is kept."""
        return folder_of(self.partition, self.generation)

    @model_validator(mode="after")
    def _is_a_store(self) -> Self:
        names = {each.name for each in self.files}
        if len(names) != len(self.files):
            raise ValueError("a file is named twice")
        if "CURRENT" not in names:
            raise ValueError("CURRENT isn't among its files")
        return self


def folder_of(partition: int, generation: int) -> str:
    """Return the folder of a partition's snapshots; generations share nothing, so that one can be removed whole."""
    return f"partition-{partition}/generation-{generation}"


def written(snapshot: Snapshot) -> bytes:
    """Return a manifest, with a checksum of itself."""
    content = _canonical(snapshot.model_dump())
    return orjson.dumps({"checksum": sha256(content).hexdigest(), "snapshot": orjson.Fragment(content)})


def read(folder: str, name: str, manifest: bytes) -> Snapshot:
    """Return what a manifest describes.

    Raises:
        DamagedSnapshot: it was cut or changed, is of an unknown format or of another place, or names odd files.

    """
    try:
        envelope = orjson.loads(manifest)
        content = _canonical(envelope["snapshot"])
        if envelope["checksum"] != sha256(content).hexdigest():
            raise DamagedSnapshot(name, "the manifest's checksum is another")
        snapshot = Snapshot.model_validate_json(content)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:3])
        raise DamagedSnapshot(name, f"its manifest isn't one that this version knows: {wrong}") from None
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, KeyError, TypeError) as error:
        raise DamagedSnapshot(name, f"its manifest is no whole manifest: {error}") from None
    if (snapshot.folder, snapshot.name) != (folder, name):
        raise DamagedSnapshot(name, f"its manifest is that of {snapshot.folder}/{snapshot.name}")
    return snapshot


def _canonical(content: object) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)

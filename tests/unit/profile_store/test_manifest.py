"""A manifest is used only when it is completely valid."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import orjson
import pytest

from app.profile_store.manifest import DamagedSnapshot, Snapshot, SnapshotFile, decode_manifest, encode_manifest
from app.profile_store.partition_store import FORMAT

SNAPSHOT = Snapshot(
    partition=2,
    generation=1,
    sequence=7,
    taken_at="20261103T140300000000Z",
    offsets={"updates.realtime": 2**40},
    files=tuple(SnapshotFile(name=name, size=16, sha256="ab" * 32) for name in ("CURRENT", "000012.sst")),
)
FOLDER, NAME = "partition-2/generation-1", "000000000007-20261103T140300000000Z.json"


def manifest(content: Any) -> bytes:
    """Return a manifest whose checksum is right."""
    checksum = sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return orjson.dumps({"checksum": checksum, "snapshot": content})


def test_a_manifest_survives_encoding() -> None:
    assert (SNAPSHOT.folder, SNAPSHOT.name) == (FOLDER, NAME)
    assert decode_manifest(FOLDER, NAME, encode_manifest(SNAPSHOT)) == SNAPSHOT
    assert orjson.loads(encode_manifest(SNAPSHOT)) == orjson.loads(manifest(orjson.loads(SNAPSHOT.model_dump_json())))


def test_a_truncated_or_changed_manifest_is_refused() -> None:
    whole = encode_manifest(SNAPSHOT)
    for at in range(len(whole)):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            with pytest.raises(DamagedSnapshot, match="its manifest"):
                decode_manifest(FOLDER, NAME, damaged)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "..",
        "",
        "a/000012.sst",
        "000012.sst\n",
        "000012.sst/..",
        "x.sst",
        "LOCK",
        "LOG",
    ],
)
def test_a_file_name_outside_the_store_is_refused(name: str) -> None:
    content = SNAPSHOT.model_dump()
    content["files"] = [*content["files"], {"name": name, "size": 1, "sha256": "cd" * 32}]
    with pytest.raises(DamagedSnapshot, match=r"is invalid or of another version: files\.2\.name"):
        decode_manifest(FOLDER, NAME, manifest(content))


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "another format": lambda content: content.update(format=2),
    "another format of the store": lambda content: content.update(store_format=FORMAT - 1),
    "an unknown field": lambda content: content.update(extra=1),
    "a field less": lambda content: content.pop("offsets"),
    "an offset below zero": lambda content: content.update(offsets={"x": -1}),
    "an offset that is no number": lambda content: content.update(offsets={"x": "1"}),
    "a size below zero": lambda content: content["files"][0].update(size=-1),
    "a hash that is a path": lambda content: content["files"][0].update(sha256="../" * 21 + "x"),
    "a file twice": lambda content: content["files"].append(content["files"][0]),
    "no CURRENT": lambda content: content["files"].pop(0),
    "no files": lambda content: content.update(files=[]),
    "another partition": lambda content: content.update(partition=3),
    "another generation": lambda content: content.update(generation=0),
    "another sequence": lambda content: content.update(sequence=8),
    "a moment that is a path": lambda content: content.update(taken_at="../x"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_manifest_with_an_invalid_field_is_refused(wrong: Callable[[dict[str, Any]], object]) -> None:
    content = orjson.loads(SNAPSHOT.model_dump_json())
    wrong(content)
    with pytest.raises(DamagedSnapshot, match=f"The snapshot {NAME} can't be used: its manifest"):
        decode_manifest(FOLDER, NAME, manifest(content))


@pytest.mark.parametrize(
    "nonsense", [b"", b"[]", b"null", b"{}", b"7", b'{"snapshot": 1, "checksum": 2}', b"[" * 100_000]
)
def test_malformed_json_is_refused(nonsense: bytes) -> None:
    with pytest.raises(DamagedSnapshot):
        decode_manifest(FOLDER, NAME, nonsense)
    with pytest.raises(DamagedSnapshot):
        decode_manifest(FOLDER, NAME, manifest([nonsense.decode()]))

"""Ways to damage the stores and snapshots of profiles while no process has them open."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from app.settings import Settings


class ProfileFiles:
    """The stores and snapshots of generation 0."""

    def __init__(self, settings: Settings) -> None:
        self.stores = settings.data_dir / "profiles"
        self.snapshots = Path(settings.snapshots())
        self.partitions = range(settings.partitions)

    def manifests(self, number: int) -> list[Path]:
        """Return the complete manifests of a partition, newest first."""
        manifests = self.snapshots.glob(f"partition-{number}/generation-0/*.json")
        complete = [manifest for manifest in manifests if manifest.read_bytes().endswith(b"}")]
        return sorted(complete, key=lambda manifest: manifest.name, reverse=True)

    def files(self, number: int) -> list[Path]:
        """Return the files that only the newest snapshot of a partition contains."""
        newest, *older = (
            {file["sha256"] for file in orjson.loads(manifest.read_bytes())["snapshot"]["files"]}
            for manifest in self.manifests(number)
        )
        return [self.manifests(number)[0].parent / "files" / name for name in newest.difference(*older)]

    def leave_intact(self) -> None:
        """Damage nothing."""

    def delete_snapshots(self) -> None:
        shutil.rmtree(self.snapshots)

    def delete_stores(self) -> None:
        shutil.rmtree(self.stores)

    def delete_everything(self) -> None:
        self.delete_stores()
        self.delete_snapshots()

    def corrupt_snapshot_files(self) -> None:
        self.delete_stores()
        for number in self.partitions:
            flip_bits(max(self.files(number), key=lambda file: file.stat().st_size))

    def truncate_snapshot_files(self) -> None:
        self.delete_stores()
        for number in self.partitions:
            file = max(self.files(number), key=lambda file: file.stat().st_size)
            os.truncate(file, file.stat().st_size // 2)

    def truncate_manifests(self) -> None:
        self.delete_stores()
        for number in self.partitions:
            manifest = self.manifests(number)[0]
            os.truncate(manifest, manifest.stat().st_size // 2)

    def corrupt_stores(self) -> None:
        for number in self.partitions:
            for path in (self.stores / f"0.{number}").glob("*.sst"):
                flip_bits(path)

    def delete_current_files(self) -> None:
        for number in self.partitions:
            (self.stores / f"0.{number}" / "CURRENT").unlink()


def flip_bits(path: Path) -> None:
    """Flip all bits in the middle third of a file."""
    content = bytearray(path.read_bytes())
    for position in range(len(content) // 3, 2 * len(content) // 3):
        content[position] ^= 0xFF
    path.write_bytes(content)


DAMAGE: Sequence[tuple[Callable[[ProfileFiles], None], str]] = (  # with what the log says of each partition
    (ProfileFiles.leave_intact, ""),
    (ProfileFiles.delete_snapshots, ""),
    (ProfileFiles.delete_stores, "restored from snapshot"),
    (ProfileFiles.corrupt_snapshot_files, "Trying the previous one."),
    (ProfileFiles.truncate_snapshot_files, "Trying the previous one."),
    (ProfileFiles.truncate_manifests, "Trying the previous one."),
    (ProfileFiles.corrupt_stores, "can't be used"),
    (ProfileFiles.delete_current_files, "can't be used"),
    (ProfileFiles.delete_everything, ""),
)

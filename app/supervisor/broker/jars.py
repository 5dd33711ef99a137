"""Kafka's jars: pinned by path and SHA-256, fetched once into the local Maven repository. Starts nothing.

`jars.sha256` is what `COORDINATES` resolve to; `python -m app.supervisor.broker.jars` prints it anew after an upgrade.
"""

import asyncio
import errno
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from app.supervisor.broker.errors import OUTSIDE_CLUSTER, DiskFull, JarChanged, JarsUnavailable

COORDINATES: Final = "org.apache.kafka:kafka_2.13:4.1.1+org.slf4j:slf4j-simple:1.7.36"
PINS: Final = Path(__file__).with_name("jars.sha256")


@dataclass(frozen=True, slots=True)
class Pin:
    """One jar: its place in a Maven repository, and the SHA-256 of its bytes."""

    path: PurePosixPath  # group/artifact/version/file
    sha256: str


def read_pins(file: Path = PINS) -> tuple[Pin, ...]:
    """Every pinned jar; the file has the format of `sha256sum`."""
    lines = (line.split() for line in file.read_text(encoding="ascii").splitlines())
    return tuple(Pin(PurePosixPath(path), sha256) for sha256, path in lines)


async def class_path(on_progress: Callable[[str], None]) -> str:
    """The class path of Kafka, every jar verified; fetches what is missing from the local Maven repository."""
    repository, remotes = await asyncio.to_thread(maven_settings)
    pins = read_pins()
    missing = [pin for pin in pins if not (repository / pin.path).exists()]
    if missing:
        on_progress("fetching Kafka, 43 MB, once")
    for count, pin in enumerate(missing, start=1):  # one call each, so that Ctrl-C is heard between two jars
        await asyncio.to_thread(fetch, pin, repository, remotes)
        on_progress(f"fetched {count} of {len(missing)}: {pin.path.name}")
    # 43 MB take 40 ms to hash: cheaper than a stamp is to get right.
    await asyncio.to_thread(verify_all, pins, repository)
    return os.pathsep.join(str(repository / pin.path) for pin in pins)


def maven_settings() -> tuple[Path, dict[str, str]]:
    """Where Maven, and so jgo, keeps jars on this machine, and the repositories to fetch them from, by name."""
    from jgo.config import GlobalSettings  # noqa: PLC0415  jgo takes 0.2 s to import: in the thread, not at start
    from jgo.maven import MavenContext  # noqa: PLC0415  likewise

    settings = GlobalSettings.load()
    repository = Path(settings.repo_cache).absolute()  # the JVM has a working directory of its own
    return repository, {**MavenContext().remote_repos, **settings.repositories}


def verify_all(pins: tuple[Pin, ...], repository: Path) -> None:
    """Raise `JarChanged` for the first jar whose bytes are not those that were pinned."""
    for pin in pins:
        verify(pin, repository / pin.path)


def verify(pin: Pin, jar: Path) -> None:
    """Raise `JarChanged` when the file is not the pinned one."""
    found = hashlib.sha256(jar.read_bytes()).hexdigest()
    if found != pin.sha256:
        raise JarChanged(f"{jar} has SHA-256 {found}, expected {pin.sha256}. {JarChanged.__doc__}")


def fetch(pin: Pin, repository: Path, remotes: dict[str, str]) -> None:
    """Fetch one jar, verify it, and only then move it into the repository: a cut download leaves nothing behind."""
    from jgo.maven import MavenContext  # noqa: PLC0415  see maven_settings

    try:
        repository.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=repository, prefix=".fetching-") as staging:
            maven = MavenContext(repo_cache=Path(staging), remote_repos=remotes)
            *group, artifact, version, _ = pin.path.parts
            jar = maven.project(".".join(group), artifact).at_version(version).artifact().resolve()
            verify(pin, jar)
            (repository / pin.path).parent.mkdir(parents=True, exist_ok=True)
            jar.replace(repository / pin.path)
    except (RuntimeError, OSError) as error:  # jgo raises the first, requests and the disk the second
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise DiskFull(repository, "no space left while fetching Kafka") from None
        # A repository's address may carry a password and jgo's messages name it: only the kind of error is told.
        raise JarsUnavailable(
            f"{pin.path.name}: {type(error).__name__}. {JarsUnavailable.__doc__} "
            f"Or copy the jars of another machine into {repository}, or {OUTSIDE_CLUSTER}."
        ) from None


def resolve_pins() -> tuple[Pin, ...]:
    """What `COORDINATES` resolve to now, dependencies included; for whoever upgrades Kafka."""
    import jgo  # noqa: PLC0415  see maven_settings

    repository, _ = maven_settings()
    jars = sorted(artifact.resolve() for artifact in jgo.resolve(COORDINATES))
    return tuple(
        Pin(PurePosixPath(jar.relative_to(repository)), hashlib.sha256(jar.read_bytes()).hexdigest()) for jar in jars
    )


if __name__ == "__main__":
    sys.stdout.writelines(f"{pin.sha256}  {pin.path}\n" for pin in resolve_pins())

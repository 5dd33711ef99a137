"""Kafka's jars: pinned by path and SHA-256, downloaded once into the local Maven repository.

`jars.sha256` lists the jars of `COORDINATES`. `python -m app.supervisor.broker.jars` prints the list after an upgrade.
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

from app.supervisor.broker.errors import OUTSIDE_CLUSTER, DiskFull, JarChecksumMismatch, JarsUnavailable

COORDINATES: Final = "org.apache.kafka:kafka_2.13:4.1.1+org.slf4j:slf4j-simple:1.7.36"
PINS: Final = Path(__file__).with_name("jars.sha256")
JARS_DIR: Final = "jars"  # in the directory of the broker, if the home is read-only


@dataclass(frozen=True, slots=True)
class Pin:
    """A jar: its path in a Maven repository and its SHA-256."""

    path: PurePosixPath  # group/artifact/version/file
    sha256: str


def read_pins(file: Path = PINS) -> tuple[Pin, ...]:
    """Return the pinned jars. The file has the format of `sha256sum`."""
    lines = (line.split() for line in file.read_text(encoding="ascii").splitlines())
    return tuple(Pin(PurePosixPath(path), sha256) for sha256, path in lines)


async def class_path(on_progress: Callable[[str], None], broker_dir: Path) -> str:
    """Return the class path of Kafka. Downloads missing jars and verifies all of them.

    They are in the local repository of Maven, or below `broker_dir` if that can't be written, as with a read-only home.
    """
    own = (broker_dir / JARS_DIR).absolute()  # the JVM has a working directory of its own
    shared, remotes = await asyncio.to_thread(maven_settings, own)
    pins = read_pins()
    repository = await asyncio.to_thread(choose_repository, shared, own, pins)
    missing = [pin for pin in pins if not (repository / pin.path).exists()]
    if missing:
        on_progress("downloading Kafka (43 MB, only once)")
    for count, pin in enumerate(missing, start=1):  # one thread call per jar, so that Ctrl-C takes effect between jars
        await asyncio.to_thread(fetch, pin, repository, remotes)
        on_progress(f"downloaded {count} of {len(missing)}: {pin.path.name}")
    # Hashing 43 MB takes 40 ms, which is simpler than a reliable cache.
    await asyncio.to_thread(verify_all, pins, repository)
    return os.pathsep.join(str(repository / pin.path) for pin in pins)


def choose_repository(shared: Path, fallback: Path, pins: tuple[Pin, ...]) -> Path:
    """Return the first directory that has all jars, else the first that can be written."""
    for repository in (shared, fallback):
        if all((repository / pin.path).exists() for pin in pins):
            return repository
    try:
        shared.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=shared, prefix=".fetching-"):
            return shared
    except OSError:
        return fallback


def maven_settings(fallback: Path) -> tuple[Path, dict[str, str]]:
    """Return the local repository of Maven and jgo, and the remote repositories by name.

    For a user without a home the local one is `fallback`.
    """
    from jgo.config import GlobalSettings  # noqa: PLC0415  takes 0.2 s to import: in the thread, not at start
    from jgo.maven import MavenContext  # noqa: PLC0415  likewise

    try:
        settings = GlobalSettings.load()
    except RuntimeError:  # HOME is unset and the user has no entry in passwd, as in a container
        return fallback, MavenContext(repo_cache=fallback).remote_repos
    repository = Path(settings.repo_cache).absolute()  # the JVM has a working directory of its own
    return repository, {**MavenContext().remote_repos, **settings.repositories}


def verify_all(pins: tuple[Pin, ...], repository: Path) -> None:
    """Raise `JarChecksumMismatch` for the first jar with another checksum."""
    for pin in pins:
        verify_jar(pin, repository / pin.path)


def verify_jar(pin: Pin, jar: Path) -> None:
    """Raise `JarChecksumMismatch` if the file has another checksum."""
    actual = hashlib.sha256(jar.read_bytes()).hexdigest()
    if actual != pin.sha256:
        raise JarChecksumMismatch(f"{jar} has SHA-256 {actual}, expected {pin.sha256}. {JarChecksumMismatch.__doc__}")


def fetch(pin: Pin, repository: Path, remotes: dict[str, str]) -> None:
    """Download one jar, verify it, and then move it into the repository: an interrupted download leaves no file."""
    from jgo.maven import MavenContext  # noqa: PLC0415  see maven_settings

    try:
        repository.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=repository, prefix=".fetching-") as staging:
            maven = MavenContext(repo_cache=Path(staging), remote_repos=remotes)
            *group, artifact, version, _ = pin.path.parts
            jar = maven.project(".".join(group), artifact).at_version(version).artifact().resolve()
            verify_jar(pin, jar)
            (repository / pin.path).parent.mkdir(parents=True, exist_ok=True)
            jar.replace(repository / pin.path)
    except (RuntimeError, OSError) as error:  # raised by jgo, and by requests and the disk
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise DiskFull(repository, "no space left while downloading Kafka") from None
        # The URL of a repository may hold a password, and messages of jgo contain it: report only the type.
        raise JarsUnavailable(
            f"{pin.path.name}: {type(error).__name__}. {JarsUnavailable.__doc__} "
            f"Or copy the jars from another machine into {repository}, or {OUTSIDE_CLUSTER}."
        ) from None


def resolve_pins() -> tuple[Pin, ...]:
    """Resolve `COORDINATES` with all dependencies, for an upgrade of Kafka."""
    import jgo  # noqa: PLC0415  see maven_settings

    repository, _ = maven_settings(Path(JARS_DIR))
    jars = sorted(artifact.resolve() for artifact in jgo.resolve(COORDINATES))
    return tuple(
        Pin(PurePosixPath(jar.relative_to(repository)), hashlib.sha256(jar.read_bytes()).hexdigest()) for jar in jars
    )


if __name__ == "__main__":
    sys.stdout.writelines(f"{pin.sha256}  {pin.path}\n" for pin in resolve_pins())

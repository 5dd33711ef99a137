"""The embedded broker as a managed process, with the same data, port and password at every restart."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from aiokafka.errors import KafkaError

from app.kafka.clients import KafkaCluster
from app.supervisor.broker.config import PortConflictPolicy
from app.supervisor.broker.errors import BrokerError
from app.supervisor.broker.server import Broker
from app.supervisor.restarts import NotStartedError

GROUPS_TIMEOUT_SECONDS: Final = 10.0


class BrokerProcess:
    """The embedded Kafka, a `ManagedProcess`. A restart uses the port and the password of the first start, or fails.

    `on_port_conflict` is the policy of the first start; `notify` prints a line to the console.
    """

    name = "broker"

    def __init__(
        self, data_dir: Path, port: int, on_port_conflict: PortConflictPolicy, notify: Callable[[str], None]
    ) -> None:
        self._data_dir = data_dir
        self._port = port
        self._on_port_conflict = on_port_conflict
        self._notify = notify
        self._broker: Broker | None = None

    @property
    def bootstrap_servers(self) -> str:
        """The address of the running broker; only after `start`."""
        assert self._broker is not None
        return self._broker.cluster.bootstrap_servers

    @property
    def port(self) -> int:
        """The port of the running broker; before `start`, the configured one."""
        return self._port

    async def start(self) -> None:
        """Start Kafka and wait until it is ready.

        Raises:
            NotStartedError: it cannot be started; the message gives the reason.

        """
        password = self._broker.cluster.security.password if self._broker else ""  # which the running roles have
        try:
            self._broker = await Broker.start(
                self._data_dir,
                port=self._port,
                on_port_conflict=self._on_port_conflict,
                password=password,
                on_progress=self._notify,
            )
        except (BrokerError, OSError) as error:
            raise NotStartedError(f"broker: {error}") from error
        self._port, self._on_port_conflict = self._broker.port, "refuse"
        with suppress(TimeoutError, KafkaError):  # if Kafka exited again, `wait` reports it
            async with asyncio.timeout(GROUPS_TIMEOUT_SECONDS):
                await _wait_for_groups(self._broker.cluster)

    async def wait(self) -> str:
        """Wait until Kafka exits, and describe how."""
        assert self._broker is not None
        try:
            await self._broker.wait_closed()
        except (BrokerError, OSError) as error:  # OSError: the data directory was removed
            await self._broker.stop()  # releases the data directory and the watchdog
            return f"broker: {str(error).partition(chr(10))[0]}"  # the other lines are the end of Kafka's log
        return "broker stopped"

    async def stop(self) -> None:
        """Stop Kafka gracefully."""
        if self._broker is not None:
            await self._broker.stop()

    def kill(self) -> None:
        """Kill Kafka; it recovers its log at the next start."""
        if self._broker is not None:
            self._broker.kill()


async def _wait_for_groups(cluster: KafkaCluster) -> None:
    """Wait until consumer groups can form: a new broker creates their topics on the first request.

    Workers would wait as well, but would log errors during the first start.
    """
    admin = cluster.admin(int(GROUPS_TIMEOUT_SECONDS * 1000))
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

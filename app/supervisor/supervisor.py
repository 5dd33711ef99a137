"""Everything of Entrepot on one machine: broker, topics, roles, in that order, and back. Moves no data itself."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import aiohttp
from yarl import URL

from app.data_dir import announce_kafka
from app.kafka.topics import TopicsError, ensure_topics
from app.roles import ROLES, ProcessRole
from app.settings import Settings
from app.supervisor.broker_process import BrokerProcess
from app.supervisor.environment import environment_of
from app.supervisor.preflight import INTERACTIVE_TIMEOUT_SECONDS, bound, check_file_roots, check_store, wait_for_kafka
from app.supervisor.process_log import RoleLog
from app.supervisor.restarts import ManagedProcess, NotStartedError, Restarter
from app.supervisor.role_process import RoleProcess, command_of
from schemas.topics import TOPICS

POLL_INTERVAL_SECONDS: Final = 0.05
IMPATIENT_SECONDS: Final = 30.0

Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunningService:
    """What runs: the settings with the ports that were really taken."""

    settings: Settings
    seconds: float

    @property
    def url(self) -> str:
        """Where the API and the pages are."""
        host = self.settings.api_host
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # where it binds to is the settings' choice
        return str(URL.build(scheme="http", host=everywhere.get(host, host), port=self.settings.api_port))


class Supervisor:
    """Starts and stops the parts; `say` prints a line for a person."""

    def __init__(self, settings: Settings, say: Notify, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._say = say
        self._clock = clock
        self._restarters: list[Restarter] = []
        self._logs: list[RoleLog] = []

    @property
    def has_started_any(self) -> bool:
        """Whether there is a part that came up."""
        return any(each.kept for each in self._restarters)

    async def start(self) -> RunningService:
        """Start all and return when the API says that it is ready; raise `NotStartedError` when that can't be."""
        started = self._clock()
        await self._look_around()
        settings = await self._broker(with_free_api_port(self._settings, self._say))
        try:
            await ensure_topics(
                settings.bootstrap_servers, TOPICS.values(), settings.partitions, settings.replication_factor
            )
        except TopicsError as error:
            raise NotStartedError(str(error)) from error
        for role in ROLES:
            await self._role(role, settings)
        up = RunningService(settings, 0)
        await self._ready(up.url)
        return RunningService(settings, self._clock() - started)

    async def _look_around(self) -> None:
        """Say what is wrong before anything is started, and not in the logs of all that was."""
        check_file_roots(self._settings)
        await check_store(self._settings)
        if self._settings.bootstrap_servers:
            await wait_for_kafka(self._settings.bootstrap_servers, INTERACTIVE_TIMEOUT_SECONDS, self._say)

    async def stop(self) -> None:
        """Stop the roles together, then the broker. May be called whatever of them was started."""
        roles = [each for each in self._restarters if each.part.name != BrokerProcess.name]
        await asyncio.gather(*(each.stop() for each in roles))
        for each in self._restarters:
            if each not in roles:
                await each.stop()
        for log in self._logs:
            log.close()

    def kill_all(self) -> None:
        """Kill all processes: no data is lost, but the next start has to repeat uncommitted work."""
        for each in self._restarters:
            each.part.kill()

    async def _broker(self, settings: Settings) -> Settings:
        if settings.bootstrap_servers:
            return settings
        port_chosen = "broker_port" in settings.model_fields_set
        part = BrokerProcess(
            settings.data_dir / "broker", settings.broker_port, "refuse" if port_chosen else "move", self._say
        )
        await self._keep(part)
        announce_kafka(settings.data_dir, part.bootstrap_servers)
        return settings.model_copy(update={"bootstrap_servers": part.bootstrap_servers})

    async def _role(self, role: ProcessRole, settings: Settings) -> None:
        log = RoleLog(settings.data_dir / "logs" / f"{role.name}.log", lambda line: self._say(f"{role.name}: {line}"))
        self._logs.append(log)
        await self._keep(RoleProcess(role.name, command_of(role), environment_of(settings), log))

    async def _keep(self, part: ManagedProcess) -> None:
        restarter = Restarter(part, self._say, self._clock)
        self._restarters.append(restarter)
        await restarter.start()

    async def _ready(self, url: str) -> None:
        impatient = self._clock() + IMPATIENT_SECONDS
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while why := await _unready(session, url):
                if self._clock() > impatient:
                    self._say(f"still not ready: {why}; the logs are in {self._settings.data_dir / 'logs'}")
                    impatient += IMPATIENT_SECONDS
                await asyncio.sleep(POLL_INTERVAL_SECONDS)


async def _unready(session: aiohttp.ClientSession, url: str) -> str:
    """Return why the API isn't ready, or "" when it is."""
    try:
        async with session.get(f"{url}/readyz") as answer:
            return "" if answer.status == 200 else f"the API says {(await answer.text())[:300]}"
    except (aiohttp.ClientError, TimeoutError) as error:
        return f"the API doesn't answer at {url} ({type(error).__name__})"


def with_free_api_port(settings: Settings, say: Notify) -> Settings:
    """Return settings whose API port can be bound; raise `NotStartedError` when a chosen one can't be."""
    if bound(settings.api_host, settings.api_port) == settings.api_port:
        return settings
    if "api_port" in settings.model_fields_set and settings.api_port != 0:
        raise NotStartedError(
            f"port {settings.api_port} on {settings.api_host} is in use; stop its process or choose another"
        )
    port = bound(settings.api_host, 0)
    if settings.api_port != 0:
        say(f"port {settings.api_port} is in use; using {port} for the API")
    return settings.model_copy(update={"api_port": port})

"""Run Entrepot on one machine: start broker, topics and roles in this order, and stop them in reverse order."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import aiohttp
from yarl import URL

from app.kafka.cluster import BROKER_DIR, announce_kafka, cluster_of, resolve_kafka
from app.kafka.topics import TopicsError, ensure_topics
from app.process import Monotonic
from app.roles import ROLES, ProcessRole
from app.settings import Settings
from app.supervisor.broker_process import BrokerProcess
from app.supervisor.environment import environment_of
from app.supervisor.fork_server import ForkServer
from app.supervisor.liveness import Liveness
from app.supervisor.master_key import prepare_master_key
from app.supervisor.ports import keep_ports, kept_port, with_free_api_port, with_loopback
from app.supervisor.preflight import (
    INTERACTIVE_TIMEOUT_SECONDS,
    check_file_roots,
    check_store,
    wait_for_kafka,
)
from app.supervisor.process_log import RoleLog
from app.supervisor.restarts import ManagedProcess, NotStartedError, Restarter
from app.supervisor.role_process import FORK_SERVER, RoleProcess, arguments_of
from app.tasks import cancel_all
from schemas.topics import TOPICS

POLL_INTERVAL_SECONDS: Final = 0.05
NOTICE_INTERVAL_SECONDS: Final = 30.0

Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunningService:
    """The running service: its settings with the actual ports, and the start-up time."""

    settings: Settings
    seconds: float

    @property
    def url(self) -> str:
        """The URL of the API and the web pages."""
        host = self.settings.api_host
        loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # the settings decide where it binds
        return str(URL.build(scheme="http", host=loopback.get(host, host), port=self.settings.api_port))


class Supervisor:
    """Starts and stops the processes; `notify` prints a line to the console."""

    def __init__(self, settings: Settings, notify: Notify, monotonic: Monotonic = time.monotonic) -> None:
        self._settings = settings
        self._notify = notify
        self._monotonic = monotonic
        self._forks = ForkServer(FORK_SERVER, environment_of(settings))
        self._restarters: list[Restarter] = []
        self._logs: list[RoleLog] = []
        self._watching: asyncio.Task[None] | None = None

    @property
    def has_started_any(self) -> bool:
        """Whether any process was started."""
        return any(restarter.was_started for restarter in self._restarters)

    async def start(self) -> RunningService:
        """Start all processes and wait until the API is ready. Raise `NotStartedError` on failure."""
        started = self._monotonic()
        await self._preflight()
        self._forks.start()  # it imports while Kafka starts
        settings = await self._start_broker(with_free_api_port(with_loopback(self._settings), self._notify))
        keep_ports(settings, self._settings)
        try:
            await ensure_topics(cluster_of(settings), TOPICS.values(), settings.partitions, settings.replication_factor)
        except TopicsError as error:
            raise NotStartedError(str(error)) from error
        if problem := await prepare_master_key(settings, cluster_of(settings)):
            self._notify(f"warning: {problem}")  # jobs without secrets can run
        for role in ROLES:
            await self._start_role(role, settings)
        running = RunningService(settings, self._monotonic() - started)
        await self._wait_until_ready(running.url)
        self._watch_api(running.url)
        return replace(running, seconds=self._monotonic() - started)

    async def _preflight(self) -> None:
        """Check the environment before any process starts, so that errors are not hidden in logs."""
        check_file_roots(self._settings)
        await check_store(self._settings)
        if self._settings.bootstrap_servers:
            await wait_for_kafka(self._settings, INTERACTIVE_TIMEOUT_SECONDS, self._notify)

    def _watch_api(self, url: str) -> None:
        api = next(restarter.process for restarter in self._restarters if restarter.process.name == "api")
        self._watching = asyncio.create_task(Liveness(api, url, self._notify).watch(), name="watch the API")

    async def stop(self) -> None:
        """Stop all roles concurrently, then the broker. Works at any stage of the start."""
        await cancel_all(self._watching)
        roles = [restarter for restarter in self._restarters if restarter.process.name != BrokerProcess.name]
        await asyncio.gather(*(role.stop() for role in roles))
        self._forks.close()
        for restarter in self._restarters:
            if restarter not in roles:
                await restarter.stop()
        for log in self._logs:
            log.close()

    def kill_all(self) -> None:
        """Kill all processes: no data is lost, but the next start has to repeat uncommitted work."""
        for restarter in self._restarters:
            restarter.process.kill()

    async def _start_broker(self, settings: Settings) -> Settings:
        if settings.bootstrap_servers:
            return settings
        kept = None if "broker_port" in settings.model_fields_set else kept_port(settings.data_dir, "broker")
        is_fixed = kept or "broker_port" in settings.model_fields_set
        broker = BrokerProcess(
            settings.data_dir / BROKER_DIR,
            kept or settings.broker_port,
            "refuse" if is_fixed else "move",
            self._notify,
        )
        await self._start(broker)
        announce_kafka(settings.data_dir, broker.bootstrap_servers)
        return resolve_kafka(settings.model_copy(update={"broker_port": broker.port}))

    async def _start_role(self, role: ProcessRole, settings: Settings) -> None:
        log = RoleLog(
            settings.data_dir / "logs" / f"{role.name}.log", lambda line: self._notify(f"{role.name}: {line}")
        )
        self._logs.append(log)
        await self._start(RoleProcess(role.name, self._forks, arguments_of(role), environment_of(settings), log))

    async def _start(self, process: ManagedProcess) -> None:
        restarter = Restarter(process, self._notify, self._monotonic)
        self._restarters.append(restarter)
        await restarter.start()

    async def _wait_until_ready(self, url: str) -> None:
        next_notice = self._monotonic() + NOTICE_INTERVAL_SECONDS
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while reason := await _unready_reason(session, url):
                if self._monotonic() > next_notice:
                    self._notify(f"still not ready: {reason}; logs are in {self._settings.data_dir / 'logs'}")
                    next_notice += NOTICE_INTERVAL_SECONDS
                await asyncio.sleep(POLL_INTERVAL_SECONDS)


async def _unready_reason(session: aiohttp.ClientSession, url: str) -> str:
    """Return why the API isn't ready; empty if it is."""
    try:
        async with session.get(f"{url}/readyz") as response:
            return "" if response.status == 200 else f"the API responds {(await response.text())[:300]}"
    except (aiohttp.ClientError, TimeoutError) as error:
        return f"no response from the API at {url} ({type(error).__name__})"

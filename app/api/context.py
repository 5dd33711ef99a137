"""What every handler may use: one value, made by the server at start."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from app.api.services.admission import Admission
from app.api.services.cluster_health import Cluster
from app.api.services.command_gateway import CommandsGateway
from app.api.services.event_tail import EventTail
from app.api.services.idempotent_writer import Once
from app.api.services.ingest_producer import Intake
from app.api.services.lag_monitor import LaneWatch
from app.api.services.metrics import Measures
from app.auth import Tokens
from app.clock import Clock
from app.definitions.catalog import DefinitionShelf
from app.definitions.rules import RulesReader
from app.profiles.history import Past
from app.profiles.lookup_client import Asking
from app.settings import Settings
from app.store.read_store import ReadStore
from connectors.contract import Limits


@dataclass(frozen=True, slots=True)
class Api:
    """The API's parts."""

    settings: Settings
    store: ReadStore
    gateway: CommandsGateway
    tail: EventTail
    shelf: DefinitionShelf
    tokens: Tokens
    measures: Measures
    cluster: Cluster
    limits: Limits
    intake: Intake
    once: Once
    rules: RulesReader
    lanes: LaneWatch
    asking: Asking
    past: Past
    admission: Admission
    clock: Clock


API: Final = web.AppKey("api", Api)
REQUEST_ID: Final = web.RequestKey("request_id", str)
QUIET: Final = web.RequestKey("quiet", bool)  # the route is asked so often that its requests aren't logged

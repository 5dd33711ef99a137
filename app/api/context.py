"""The services that handlers use, created by the server at start."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from app.api.services.access import Access
from app.api.services.admission import Admission
from app.api.services.cluster_health import ClusterHealth
from app.api.services.command_gateway import CommandGateway
from app.api.services.evaluator_pool import EvaluatorPool
from app.api.services.event_tail import EventTail
from app.api.services.idempotent_writer import IdempotentWriter
from app.api.services.ingest_producer import IngestProducer
from app.api.services.lag_monitor import LagMonitor
from app.api.services.metrics import Metrics
from app.definitions.catalog import DefinitionCatalog
from app.definitions.rules import RulesReader
from app.kafka.clients import Cluster
from app.process import Clock
from app.profiles.history import ProfileHistory
from app.profiles.lookup_client import ProfilesClient
from app.settings import Settings
from app.store.read_store import ReadStore
from connectors.contract import Limits


@dataclass(frozen=True, slots=True)
class Services:
    """The services of the API."""

    settings: Settings
    kafka: Cluster
    store: ReadStore
    gateway: CommandGateway
    tail: EventTail
    catalog: DefinitionCatalog
    access: Access
    metrics: Metrics
    cluster: ClusterHealth
    limits: Limits
    ingest: IngestProducer
    idempotency: IdempotentWriter
    rules: RulesReader
    lanes: LagMonitor
    profiles_client: ProfilesClient
    history: ProfileHistory
    admission: Admission
    evaluators: EvaluatorPool
    clock: Clock


API: Final = web.AppKey("api", Services)
REQUEST_ID: Final = web.RequestKey("request_id", str)
QUIET: Final = web.RequestKey("quiet", bool)  # successful requests of the route are logged at level DEBUG only

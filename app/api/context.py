"""What every handler may use: one value, made by the server at start."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from app.api.admission import Admission
from app.api.cluster import Cluster
from app.api.commands_gateway import CommandsGateway
from app.api.definition_shelf import DefinitionShelf
from app.api.event_tail import EventTail
from app.api.lane_watch import LaneWatch
from app.api.measures import Measures
from app.collecting.intake import Intake
from app.collecting.once import Once
from app.identity import Tokens
from app.profiles.asking import Asking
from app.profiles.past import Past
from app.rules_reader import RulesReader
from app.settings import Settings
from app.stamp import Clock
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

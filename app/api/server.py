"""The composition root of the API: services, routes, port, and the address file for clients on this machine."""

import asyncio
import logging
import os
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import web

from app.api.collect import bulk as collect_bulk
from app.api.collect import dead_letters
from app.api.collect import json as collect_json
from app.api.context import API, Services
from app.api.definitions import definitions, mapping_preview, rebuilds, streams
from app.api.http.auth import checks_host
from app.api.http.connection import MAX_CONNECTIONS, Port
from app.api.jobs import actions as job_actions
from app.api.jobs import edits as job_edits
from app.api.jobs import events, history, jobs
from app.api.lanes import backfill_preview, lanes
from app.api.pages.pages import add_pages
from app.api.pages.reference import reference_page
from app.api.profiles import findings, forgettings, profiles, suggestions
from app.api.routing.middleware import handle_errors, handler_of, protect
from app.api.routing.openapi import document
from app.api.routing.parsing import MAX_BODY_BYTES
from app.api.routing.responses import web_json
from app.api.routing.routes import Query, RequestContext, ResponseSpec, Route, Routes
from app.api.services.access import Access
from app.api.services.admission import Admission
from app.api.services.cluster_health import ClusterHealth
from app.api.services.command_gateway import CommandGateway
from app.api.services.evaluator_pool import EvaluatorPool
from app.api.services.event_tail import EventTail
from app.api.services.idempotent_writer import IdempotentWriter
from app.api.services.ingest_producer import IngestProducer
from app.api.services.lag_monitor import LagMonitor
from app.api.services.metrics import new_metrics
from app.api.system import health, providers, schema_registry, tokens
from app.data_dir import API_ADDRESS_FILE, write_private
from app.definitions.catalog import DefinitionCatalog
from app.definitions.rules import RulesReader
from app.definitions.tail import DefinitionsTail
from app.kafka.clients import Cluster
from app.kafka.cluster import cluster_of
from app.process import Clock, Monotonic, raise_file_limit, shutdown_event, utc_now
from app.profiles.history import ProfileHistory
from app.profiles.lookup_client import ProfilesClient
from app.runner.source_reader import limits_of
from app.settings import Settings
from app.store.read_store import ReadStore
from connectors.kit.threads import DaemonThreads

SHUTDOWN_TIMEOUT_SECONDS: Final = 5.0
JOB_ID: Final = "{job_id:(?!logs$)[^{}/]+}"  # `/v2/job/logs` is the log of all jobs
DEFINITION_ID: Final = "{definition_id:[^/]+}"  # a stream's name may have braces
STREAM: Final = "{name:[^/]+}"
ROUTES: Final = Routes("health")
ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared with, not bound to

_log = logging.getLogger(__name__)


async def run_api(settings: Settings) -> int:
    """Run the role until SIGTERM or SIGINT; return the exit code of the process."""
    asyncio.get_running_loop().set_default_executor(DaemonThreads())
    await serve(settings, shutdown_event())
    return 0


async def serve(settings: Settings, stop: asyncio.Event, clock: Clock = utc_now) -> None:
    """Serve until `stop` is set. The port is open at once; `/readyz` reports when Kafka and control are ready."""
    async with AsyncExitStack() as stack:
        url = await listen(await make_api(settings, stack, clock), stack)
        address = settings.data_dir / API_ADDRESS_FILE
        write_private(address, orjson.dumps({"url": url, "pid": os.getpid()}))
        stack.callback(_remove_address, address, url)
        _log.info("listening at %s", url)
        if not checks_host(settings):
            _log.warning(
                "accepting any Host header: set ENTREPOT_API_NAMES to the names by which clients reach the API"
            )
        await stop.wait()


async def make_api(
    settings: Settings,
    stack: AsyncExitStack,
    clock: Clock = utc_now,
    kafka: Cluster | None = None,
    monotonic: Monotonic = time.monotonic,
) -> Services:
    """Start the services, by default on the cluster of the settings; the stack stops them."""
    store, metrics = await ReadStore.open(settings.database()), new_metrics()
    stack.push_async_callback(store.close)
    admin = cluster_of(settings)  # health uses its admin interface, which has no twin
    cluster, kafka = ClusterHealth(admin, settings.partitions), kafka or admin
    stack.push_async_callback(cluster.close)
    tail, definitions, ingest = EventTail(kafka), DefinitionsTail(kafka, monotonic), IngestProducer(kafka)
    rules, catalog = RulesReader(definitions), DefinitionCatalog(definitions)
    gateway = CommandGateway(kafka, settings.partitions, tail, catalog, store, metrics)
    lag_monitor = LagMonitor(kafka, settings.partitions, store.lanes, clock)
    access = Access(kafka, catalog, gateway, settings, clock, monotonic)
    _start(stack, access, tail, definitions, gateway, ingest, lag_monitor)  # access first, see `AdminToken.start`
    return Services(
        settings=settings,
        kafka=kafka,
        store=store,
        gateway=gateway,
        tail=tail,
        catalog=catalog,
        access=access,
        metrics=metrics,
        cluster=cluster,
        limits=limits_of(settings),
        ingest=ingest,
        idempotency=IdempotentWriter(store, ingest, clock),
        rules=rules,
        lanes=lag_monitor,
        profiles_client=await stack.enter_async_context(ProfilesClient(store.plane, settings.partitions)),
        history=ProfileHistory(kafka, rules),
        admission=Admission(settings.max_concurrent_uploads),
        evaluators=await stack.enter_async_context(EvaluatorPool()),
        clock=clock,
    )


def _start(stack: AsyncExitStack, *parts: Any) -> None:
    """Start the parts in this order; the stack stops them in reverse."""
    for part in parts:
        part.start()
        stack.push_async_callback(part.stop)


async def listen(api: Services, stack: AsyncExitStack) -> str:
    """Open the port and return the URL for clients on this machine; the stack closes it."""
    max_connections = min(MAX_CONNECTIONS, raise_file_limit() // 2)
    runner = Port(make_web_app(api), SHUTDOWN_TIMEOUT_SECONDS, max_connections)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    stack.push_async_callback(api.tail.stop)  # first, so that event streams end before the server waits for them
    await web.TCPSite(runner, api.settings.api_host, api.settings.api_port).start()
    return url_of(runner)


def make_web_app(api: Services) -> web.Application:
    """Return the web application."""
    app = web.Application(middlewares=[handle_errors], client_max_size=MAX_BODY_BYTES)
    app[API] = api
    app.on_response_prepare.append(protect)
    for route in ALL:
        path = (
            route.path.replace("{job_id}", JOB_ID).replace("{definition_id}", DEFINITION_ID).replace("{name}", STREAM)
        )
        app.router.add_route(route.method, path, handler_of(route))
        if route.method == "GET" and not route.streams:
            app.router.add_route("HEAD", path, handler_of(route))
    add_pages(app)
    app.router.add_get("/docs", reference_page(partial(document, ALL)))
    return app


@ROUTES(
    "GET", "/openapi.json", "This document", ResponseSpec("the OpenAPI 3.1 document of the API", bare=True), role=None
)
async def openapi(_call: RequestContext[Query, None]) -> web.Response:
    """Return the OpenAPI document."""
    return web_json(document(ALL))


def url_of(runner: web.AppRunner) -> str:
    """Return the URL of a started runner for clients on this machine."""
    address: Any = runner.addresses[0]
    host, port = address[:2]
    host = ANY_ADDRESS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _remove_address(address: Path, url: str) -> None:
    """Remove the address file, unless another API has replaced it."""
    if address.exists() and orjson.loads(address.read_bytes())["url"] == url:
        address.unlink()


ALL: Final[tuple[Route, ...]] = (  # fixed paths before paths with variables
    *history.ROUTES,
    *history.METRICS,
    *jobs.ROUTES,
    *job_edits.ROUTES,
    *job_actions.ROUTES,
    *definitions.ROUTES,
    *mapping_preview.ROUTES,
    *collect_json.ROUTES,
    *collect_bulk.ROUTES,
    *dead_letters.ROUTES,
    *streams.ROUTES,
    *suggestions.ROUTES,
    *lanes.ROUTES,
    *backfill_preview.ROUTES,
    *profiles.ROUTES,
    *findings.ROUTES,
    *forgettings.ROUTES,
    *rebuilds.ROUTES,
    *providers.ROUTES,
    *events.ROUTES,
    *tokens.ROUTES,
    *schema_registry.ROUTES,
    *health.ROUTES,
    *ROUTES,
)

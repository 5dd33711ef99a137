"""Look-ups in the partitions of this process, for the API. Whoever asks needs the secret of the owner table."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from hmac import compare_digest
from typing import Any, Final, Self

import orjson
from aiohttp import web

from app.profile_store.partition_store import Shard
from app.profiles.lookup_client import MAX_KEYS
from app.profiles.partition import ProfilePartition
from app.store.data_plane import Owner, PlaneStore
from projections.profiles.identity_node import Node

MAX_RESPONSE_BYTES: Final = 4 * 1024 * 1024  # of nodes in an answer, unless a single one is larger

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LookupServer:
    """An HTTP server in front of partitions that are open; use it as an async context manager.

    `POST /nodes` takes `{"generation": g, "partition": n, "keys": […]}` and answers, key by key, with the node as it is
    stored: of the first keys, as many as fit into some megabytes, one at least. `POST /references` answers with where
    the raw messages behind each are. `POST /page` takes `"start": key` and `"most": n` in place of keys, and tells
    what is kept from that key on, in as many megabytes: `{"offsets": {topic: next}, "nodes": [[key, node], …]}`.
    404: it isn't here, or not open yet.
    """

    def __init__(self, host: str, plane: PlaneStore, partitions: Mapping[Shard, ProfilePartition]) -> None:
        self._host = host
        self._plane = plane
        self._partitions = partitions
        self._secret = secrets.token_urlsafe(32)
        app = web.Application(middlewares=[self._guarded])
        app.router.add_post("/nodes", self._nodes)
        app.router.add_post("/references", self._references)
        app.router.add_post("/page", self._page)
        self._runner = web.AppRunner(app, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, 0).start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._runner.cleanup()

    async def announce(self, place: Shard) -> None:
        """Let the API know that a partition is answered for here."""
        host, port = self._runner.addresses[0][:2]
        await self._plane.claim(*place, Owner(f"http://{host}:{port}", self._secret))

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not compare_digest(given.encode(), self._secret.encode()):
            raise web.HTTPUnauthorized
        return await handler(request)

    async def _nodes(self, request: web.Request) -> web.Response:
        partition, body = await self._asked(request)
        found, size = list[orjson.Fragment](), 0
        for key in body["keys"][:MAX_KEYS]:
            told = orjson.dumps(_facts(partition.nodes.peek(key)))
            found.append(orjson.Fragment(told))
            size += len(told)
            if size >= MAX_RESPONSE_BYTES:
                break
        return _json(found)

    async def _references(self, request: web.Request) -> web.Response:
        partition, body = await self._asked(request)
        return _json([partition.references(key) for key in body["keys"][:MAX_KEYS]])

    async def _page(self, request: web.Request) -> web.Response:
        partition, body = await self._asked(request)
        nodes = partition.store.iterate_nodes(body["start"].encode(), min(body["most"], MAX_KEYS), MAX_RESPONSE_BYTES)
        found = [[key.decode(), orjson.Fragment(stored)] for key, stored in nodes]
        return _json({"offsets": partition.store.offsets(), "nodes": found})

    async def _asked(self, request: web.Request) -> tuple[ProfilePartition, Mapping[str, Any]]:
        body: Mapping[str, Any] = orjson.loads(await request.read())
        partition = self._partitions.get((body["generation"], body["partition"]))
        if partition is None:
            raise web.HTTPNotFound
        return partition, body


def _facts(node: Node | None) -> Mapping[str, Any] | None:
    if node is None:
        return None
    return {"parent": node.parent, "cells": node.cells, "edges": node.edges, "forgotten": node.forgotten}


def _json(found: Any) -> web.Response:
    return web.Response(body=orjson.dumps(found), content_type="application/json")

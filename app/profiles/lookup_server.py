"""Answers look-ups in the partitions of this process. A caller needs the secret from the owner table."""

import asyncio
import secrets
from collections.abc import Mapping
from hmac import compare_digest
from typing import Any, Final, Self

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from app.profile_store.partition_store import Shard
from app.profiles.lookup_client import MAX_KEYS
from app.profiles.open_partitions import OpenPartitions
from app.profiles.partition import ProfilePartition
from app.store.data_plane import Owner, PlaneStore
from projections.definitions.rules import key_hash
from projections.profiles.fan_in import link_times
from projections.profiles.identity_node import Node
from projections.profiles.profile_view import kind_of, shown_key

MAX_COMPARED_KEYS: Final = 300  # in one request: about three milliseconds
MAX_FINDINGS: Final = 100  # in a response
MAX_RESPONSE_BYTES: Final = 4 * 1024 * 1024  # of nodes in a response, unless a single one is larger


class LookupServer:
    """An HTTP server in front of the open partitions; use it as an async context manager.

    - `POST /nodes` takes `{"generation": g, "partition": n, "keys": […]}` and returns the node of each key as it is
      stored, for the first keys that fit into `MAX_RESPONSE_BYTES`, at least one.
    - `POST /references` takes the same and returns the positions of the raw messages of each key.
    - `POST /keys` takes `"hashes": […]` and `"start": key`, and compares the hashes with those of the next stored keys:
      `{"keys": [key, …], "next": where to continue, or null}`.
    - `POST /page` takes `"start": key` and `"limit": n` in place of the keys, and returns the stored nodes from that
      key on, in as many bytes: `{"offsets": {topic: next offset}, "nodes": [[key, node], …]}`.
    - `POST /fan-in` takes `"limits": {kind: links}`, and returns the identities with more links, at most
      `MAX_FINDINGS` with the most: `[[root, key, links, time of the link that exceeded the limit], …]`.

    404: the partition is not open here.
    """

    def __init__(self, host: str, plane: PlaneStore, partitions: OpenPartitions) -> None:
        self._host = host
        self._plane = plane
        self._partitions = partitions
        self._secret = secrets.token_urlsafe(32)
        app = web.Application(middlewares=[self._authorize])
        app.router.add_post("/nodes", self._nodes)
        app.router.add_post("/references", self._references)
        app.router.add_post("/keys", self._keys)
        app.router.add_post("/page", self._page)
        app.router.add_post("/fan-in", self._fan_in)
        self._runner = web.AppRunner(app, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, 0).start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._runner.cleanup()

    async def announce(self, shard: Shard) -> None:
        """Record in the owner table that this process answers for a partition."""
        host, port = self._runner.addresses[0][:2]
        await self._plane.claim(*shard, Owner(str(URL.build(scheme="http", host=host, port=port)), self._secret))

    @web.middleware
    async def _authorize(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not compare_digest(token.encode("utf-8", "surrogatepass"), self._secret.encode()):
            raise web.HTTPUnauthorized
        return await handler(request)

    async def _nodes(self, request: web.Request) -> web.Response:
        partition, body = await self._parsed(request)
        nodes, size = list[orjson.Fragment](), 0
        for key in body["keys"][:MAX_KEYS]:
            encoded = orjson.dumps(_node_json(partition.nodes.peek(key)))
            nodes.append(orjson.Fragment(encoded))
            size += len(encoded)
            if size >= MAX_RESPONSE_BYTES:
                break
        return _respond(nodes)

    async def _references(self, request: web.Request) -> web.Response:
        partition, body = await self._parsed(request)
        return _respond([partition.references(key) for key in body["keys"][:MAX_KEYS]])

    async def _keys(self, request: web.Request) -> web.Response:
        partition, body = await self._parsed(request)
        rows = partition.store.iterate_nodes(body["start"].encode(), MAX_COMPARED_KEYS, MAX_RESPONSE_BYTES)
        keys, hashes = [key.decode() for key, _ in rows], frozenset(body["hashes"])
        matches = [key for key in keys if key_hash(shown_key(key)) in hashes]
        return _respond({"keys": matches, "next": f"{keys[-1]}\0" if keys else None})

    async def _page(self, request: web.Request) -> web.Response:
        partition, body = await self._parsed(request)
        limit = min(body["limit"], MAX_KEYS)
        rows = partition.store.iterate_nodes(body["start"].encode(), limit, MAX_RESPONSE_BYTES)
        nodes = [[key.decode(), orjson.Fragment(stored)] for key, stored in rows]
        return _respond({"offsets": partition.store.offsets(), "nodes": nodes})

    async def _fan_in(self, request: web.Request) -> web.Response:
        partition, body = await self._parsed(request)
        rows = list[tuple[str, str, int, int]]()
        for root, key in partition.fan_in.exceeding(body["limits"])[:MAX_FINDINGS]:
            node, limit = partition.nodes.peek(root), body["limits"][kind_of(key)]
            times = link_times(node.edges, key) if node else []
            if len(times) > limit:
                rows.append((root, key, len(times), times[limit]))
            await asyncio.sleep(0)  # a large profile takes a millisecond or two
        return _respond(rows)

    async def _parsed(self, request: web.Request) -> tuple[ProfilePartition, Mapping[str, Any]]:
        body: Mapping[str, Any] = orjson.loads(await request.read())
        partition = self._partitions.get(Shard(body["generation"], body["partition"]))
        if partition is None:
            raise web.HTTPNotFound
        return partition, body


def _node_json(node: Node | None) -> Mapping[str, Any] | None:
    if node is None:
        return None
    return {"parent": node.parent, "registers": node.registers, "edges": node.edges, "forgotten": node.forgotten}


def _respond(content: Any) -> web.Response:
    return web.Response(body=orjson.dumps(content), content_type="application/json")

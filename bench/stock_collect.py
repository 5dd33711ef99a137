"""A minimal collector: writes each request body as a record, and responds after the ack."""

import asyncio

import uvloop
from aiohttp import web
from aiokafka import AIOKafkaProducer

from app.kafka.clients import KafkaCluster
from app.kafka.cluster import cluster_of
from app.settings import Settings

TOPIC = "messages.rejected"  # any topic works


async def serve(cluster: KafkaCluster) -> None:
    """Serve on a free loopback port until terminated, and print the URL."""
    async with AIOKafkaProducer(**cluster.connection(), acks="all", linger_ms=2) as producer:

        async def collect(request: web.Request) -> web.Response:
            await producer.send_and_wait(TOPIC, await request.read())
            return web.json_response({"status": 200})

        app = web.Application(client_max_size=16 * 2**20)
        app.router.add_post("/{path:.*}", collect)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(cluster_of(Settings())))

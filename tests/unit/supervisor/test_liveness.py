"""An API that accepts connections and does not answer is killed; one that is busy or restarting is not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.supervisor.liveness import TRIES, Liveness

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Api:
    """A process whose server answers the requests of `answers`, and waits for the end of the others."""

    name = "api"

    def __init__(self, answers: str) -> None:
        self.answers = iter(answers)
        self.asked = ""
        self.asked_when_killed = ""
        self.killed = asyncio.Event()
        self.serving: list[asyncio.Task[None] | None] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.append(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        self.asked += next(self.answers, "-")
        if self.asked[-1] == "+":
            writer.write(ANSWER)
        else:
            await reader.read()
        writer.close()
        await writer.wait_closed()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def wait(self) -> str:
        await self.killed.wait()
        return "killed"

    def kill(self) -> None:
        self.asked_when_killed = self.asked_when_killed or self.asked
        self.killed.set()


@asynccontextmanager
async def serving(api: Api) -> AsyncIterator[str]:
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await asyncio.gather(*(task for task in api.serving if task), return_exceptions=True)


@pytest.mark.parametrize(("answers", "asked"), [("", "-" * TRIES), ("+--+", "+--+" + "-" * TRIES)])
async def test_an_api_is_killed_after_several_requests_in_a_row_without_an_answer(answers: str, asked: str) -> None:
    api, lines = Api(answers), list[str]()
    async with serving(api) as url:
        watching = asyncio.create_task(Liveness(api, url, lines.append, interval=0, timeout=0.5).watch())
        async with asyncio.timeout(20):
            await api.wait()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert api.asked_when_killed == asked
    assert lines[0].startswith("api has not answered http://127.0.0.1:")


async def test_an_api_that_does_not_listen_is_left_to_its_restarter() -> None:
    api, lines = Api(""), list[str]()
    async with serving(api) as url:
        pass
    liveness = Liveness(api, url, lines.append, interval=0, timeout=5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await liveness.watch()
    assert (api.killed.is_set(), lines) == (False, [])

"""The services for all tests of the API: a broker, control, and two API servers."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from app.supervisor.broker.server import Broker
from tests.integration.api.rig import ApiServers, Client, serving_several
from tests.integration.support.service import service


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def api_servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiServers]:
    folder = tmp_path_factory.mktemp("api")
    async with (
        await Broker.start(folder / "broker") as broker,
        service(folder / "data", broker, ("control",)) as running,
        serving_several(running.settings, 2) as servers,
    ):
        yield ApiServers(servers, running)


@pytest.fixture
def client(api_servers: ApiServers) -> Client:
    return api_servers.client

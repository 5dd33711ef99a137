"""The page of findings: what links too many others, and the steps that separate the people behind it."""

import asyncio
import re
from html import unescape
from urllib.parse import quote, urlencode

import pytest

from app.api.http.auth import COOKIE
from app.auth import form_token
from tests.integration.api.rig import Answer, Client
from tests.integration.support.service import TOKEN
from tests.unit.api.conftest import Api

RULES = {"kinds": [{"kind": "email", "rank": 0}, {"kind": "cookie", "rank": 5, "fan_in_limit": 10}]}
MAPPING = {"identities": [{"field": "email", "kind": "email"}, {"field": "cookie", "kind": "cookie"}]}
SHARED = "kiosk <7> 'lobby'"


class Browser:
    """A browser that has signed in."""

    def __init__(self, client: Client, session: str) -> None:
        self._client = client
        self._session = session

    async def show(self) -> tuple[int, str]:
        """Return the status of the page, and its text."""
        answer = await self._client.ask("GET", "/findings", Cookie=f"{COOKIE}={self._session}")
        return answer.status, answer.body.decode()

    async def press(self, path: str, **fields: str) -> Answer:
        """Submit a form of the page."""
        data = urlencode({"form_token": form_token(self._session), **fields}).encode()
        headers = {
            "Cookie": f"{COOKIE}={self._session}", "Content-Type": "application/x-www-form-urlencoded",
            "Sec-Fetch-Site": "same-origin",
        }  # fmt: skip
        return await self._client.ask("POST", path, raw=data, **headers)

    async def press_shown(self, path: str) -> Answer:
        """Submit the form that the page shows for a path, with the fields that it has."""
        form = re.search(rf'<form method="post" action="{path}">(.*?)</form>', (await self.show())[1], re.DOTALL)
        assert form
        fields = re.findall(r'name="(\w+)" value="([^"]*)"', form[1])
        return await self.press(path, **{name: unescape(value) for name, value in fields})


@pytest.fixture
async def browser(api: Api, client: Client) -> Browser:
    session = await api.services.access.sign_in(TOKEN)
    assert session
    return Browser(client, session)


@pytest.fixture
async def rules(client: Client) -> None:
    for name, body in (("identity", RULES), ("mapping:visits", MAPPING)):
        where = f"/v2/definition/{quote(name, safe='')}"
        await client.ask("PUT", f"{where}/draft", body, If_Match='"0"')
        await client.post(f"{where}/apply")


async def until_shown(browser: Browser, text: str) -> str:
    async with asyncio.timeout(20):
        while text not in (page := (await browser.show())[1]):
            await asyncio.sleep(0.02)
    return page


@pytest.mark.usefixtures("plane", "rules")
async def test_a_finding_is_blocked_applied_and_rebuilt(client: Client, browser: Browser) -> None:
    await until_shown(browser, "No findings")
    messages = [{"cookie": SHARED, "email": f"p{number}@example.com"} for number in range(11)]
    await client.post("/collect/json/visits", messages)
    page = await until_shown(browser, "kiosk &lt;7&gt;")
    assert '<td data-label="Links" class="right num warn">11</td>' in page
    assert "Apply version" not in page
    assert 'aria-label="Block cookie:kiosk &lt;7&gt; &#39;lobby&#39;"' in page
    blocked = await browser.press_shown("/findings/block")
    assert (blocked.status, blocked.headers["Location"]) == (303, "/findings")
    page = (await browser.show())[1]
    assert 'In the draft; <a href="#apply">apply version 2</a>' in page
    assert "entrepot rebuild start" not in page
    assert (await browser.press_shown("/findings/identity/apply")).status == 303
    page = (await browser.show())[1]
    assert 'Blocked; <a href="#rebuild">rebuild the profiles</a>' in page
    assert "entrepot rebuild start --wait\nentrepot rebuild promote --wait" in page
    (_, cookie) = (await client.get("/v2/definition/identity"))["applied"]["body"]["kinds"]
    assert cookie["blocked_values"] == [SHARED]


@pytest.mark.usefixtures("plane", "rules")
async def test_a_step_that_fails_says_why(client: Client, browser: Browser) -> None:
    await until_shown(browser, "No findings")
    refused = await browser.press("/findings/block", identity="phone:7")
    assert (refused.status, b"Action failed." in refused.body) == (404, True)
    refused = await browser.press("/findings/identity/apply", version="2")
    assert (refused.status, b"there is no draft" in refused.body) == (409, True)
    assert (await browser.press("/findings/identity/apply", version="two")).status == 422
    assert (await browser.press("/findings/block", identity="cookie:7", form_token="x")).status == 403
    assert (await client.get("/v2/definition/identity"))["version"] == 1


@pytest.mark.usefixtures("plane", "rules")
async def test_a_viewer_gets_the_commands(api: Api, client: Client, browser: Browser) -> None:
    messages = [{"cookie": SHARED, "email": f"p{number}@example.com"} for number in range(11)]
    await client.post("/collect/json/visits", messages)
    await until_shown(browser, "kiosk")
    token = await client.post("/v2/token", {"name": "reader", "role": "viewer"})
    session = await api.services.access.sign_in(token["token"])
    assert session
    viewer = Browser(client, session)
    page = unescape(await until_shown(viewer, "kiosk"))
    assert "entrepot identity block 'cookie:kiosk <7> '\"'\"'lobby'\"'\"''" in page
    assert "/findings/block" not in page
    assert (await viewer.press("/findings/block", identity="cookie:7")).status == 403


async def test_without_profiles_the_page_says_so(client: Client, browser: Browser) -> None:
    status, page = await browser.show()
    assert (status, "Findings are not available." in page, "No findings" in page) == (503, True, False)
    assert '<a href="/findings" aria-current="page">Findings</a>' in page
    signed_out = await client.ask("GET", "/findings")
    assert (signed_out.status, signed_out.headers["Location"]) == (303, "/sign-in")

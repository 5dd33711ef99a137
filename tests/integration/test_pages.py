"""The commands on the pages about profiles and rebuilds produce the output that the pages show."""

from pathlib import Path

from app.supervisor.broker.server import Broker
from tests.integration.support.pages import Page, check_page

ROLES = ("control", "api", "lane-realtime", "lane-backfill", "profiles")


async def test_the_commands_of_the_page_about_profiles_produce_its_output(tmp_path: Path, empty_broker: Broker) -> None:
    await check_page(Page("profiles.md"), ROLES, tmp_path, empty_broker)


async def test_the_commands_of_the_page_about_rebuilds_produce_its_output(tmp_path: Path, empty_broker: Broker) -> None:
    await check_page(Page("rebuilds.md"), (*ROLES, "rebuild"), tmp_path, empty_broker)

"""The pages about profiles and rebuilds, typed as they stand: what comes out is what they say."""

from pathlib import Path

from tests.integration.conftest import FreshBroker
from tests.integration.support.pages import Page, check_page

ROLES = ("control", "api", "lane-realtime", "lane-backfill", "profiles")


async def test_the_page_about_profiles_shows_what_happens(tmp_path: Path, fresh_broker: FreshBroker) -> None:
    await check_page(Page("profiles.md"), ROLES, tmp_path, fresh_broker)


async def test_the_page_about_rebuilds_shows_what_happens(tmp_path: Path, fresh_broker: FreshBroker) -> None:
    await check_page(Page("rebuilds.md"), (*ROLES, "rebuild"), tmp_path, fresh_broker)

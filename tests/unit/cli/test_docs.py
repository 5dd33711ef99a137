"""The documentation agrees with the code."""

import re
from pathlib import Path

from app.cli.main import COMMANDS
from tests.operations_tables import PAGE, filled

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text()
API = (ROOT / "docs" / "api.md").read_text()
COLLECTING = (ROOT / "docs" / "collecting.md").read_text()
PROFILES = (ROOT / "docs" / "profiles.md").read_text()
REBUILDS = (ROOT / "docs" / "rebuilds.md").read_text()
CONSUMING = (ROOT / "docs" / "consuming-events.md").read_text()


def test_the_tables_for_operators_match_the_code() -> None:
    assert PAGE.read_text() == filled(PAGE.read_text()), "run `make generate`"


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_commands_and_files_that_the_pages_name_exist() -> None:
    for page in (README, PAGE.read_text(), COLLECTING, CONSUMING, PROFILES, REBUILDS):
        assert set(re.findall(r"\bentrepot ([a-z][a-z-]+)", page)) <= set(COMMANDS) | {"doctor"}
        for path in re.findall(r"`((?:app|connectors|docs|projections|schemas|examples)/[\w./-]+)`", page):
            assert path == "connectors/providers/yours.py" or (ROOT / path).exists(), path


def test_examples_use_variables_instead_of_a_default_address() -> None:
    for page in (README, API, COLLECTING, CONSUMING):
        assert "ENTREPOT_URL" in page
        assert not re.findall(r"(?:127\.0\.0\.1|localhost):\d+", page)

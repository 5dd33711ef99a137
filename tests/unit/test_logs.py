"""Text from outside cannot forge a log record, or act on the terminal that shows one."""

import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from app.logs import configure_logs
from app.settings import Settings

HOSTILE = "bad file\n2026-11-03T14:03:00Z ERROR app.control.role: forged\x1b[2J\x9b2J\u202egpj\u200f"
SHOWN = r"bad file\n2026-11-03T14:03:00Z ERROR app.control.role: forged\x1b[2J\x9b2J\u202egpj\u200f"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def raised() -> Exception:
    try:
        int(HOSTILE)
    except ValueError as error:
        return ValueError(HOSTILE).with_traceback(error.__traceback__)
    raise AssertionError


def unsafe(text: str) -> list[str]:
    return [character for character in text if character != "\n" and not character.isprintable()]


def test_a_message_and_its_details_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(Settings())
    logging.getLogger("app.runner").warning("cannot read %s", HOSTILE)
    structlog.get_logger("app.runner").warning("cannot read", source=HOSTILE)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith(f" WARNING app.runner: cannot read {SHOWN}")
    assert lines[1].endswith(f"source={SHOWN!r}".replace(r"\\", "\\"))
    assert unsafe("".join(lines)) == []


def test_only_the_first_line_of_a_traceback_starts_at_the_margin(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(Settings())
    logging.getLogger("app.runner").error("run failed", exc_info=raised())
    first, *trace = capsys.readouterr().out.rstrip("\n").split("\n")
    assert first.endswith("ERROR app.runner: run failed")
    assert trace[0] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") for line in trace)
    assert trace[-1].endswith(r"forged\x1b[2J\x9b2J\u202egpj\u200f")
    assert unsafe("".join(trace)) == []


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_secrets_of_urls_are_masked(capsys: pytest.CaptureFixture[str], log_format: Literal["console", "json"]) -> None:
    url = "https://user:canary@host/x?sig=canary"
    configure_logs(Settings(log_format=log_format))
    try:
        raise ValueError(f"cannot read {url}")  # noqa: TRY301  # as a library does
    except ValueError:
        logging.getLogger("app.runner").exception("cannot read %s first", url)
    structlog.get_logger("app.runner").warning("cannot read", source=url)
    out = capsys.readouterr().out
    assert out.count("https://") == 3
    assert "canary" not in out


def test_json_records_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(Settings(log_format="json"))
    logging.getLogger("app.runner").warning("cannot read %s", HOSTILE)
    out = capsys.readouterr().out
    assert unsafe(out) == []
    assert json.loads(out)["event"] == f"cannot read {HOSTILE}"

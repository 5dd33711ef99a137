"""How processes write their logs: one line a record, to standard output. Decides nothing about where it ends up."""

import logging
import sys
from typing import Any, Final

import structlog

from app.settings import Settings

STAMP: Final = structlog.processors.TimeStamper(fmt="iso", utc=True)


def configure_logs(settings: Settings) -> None:
    """Send what `logging` and structlog are told to standard output, as `TIME LEVEL LOGGER: MESSAGE` or as JSON."""
    shared: list[Any] = [structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, STAMP]
    shared += [structlog.stdlib.PositionalArgumentsFormatter(), structlog.processors.format_exc_info]
    render = structlog.processors.JSONRenderer() if settings.log_format == "json" else _line
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    logging.captureWarnings(capture=True)
    for chatty in ("aiohttp.access", "aiokafka", "aiosqlite", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _line(_logger: Any, _method: str, event: Any) -> str:
    fields = dict(event)
    time, level, name = fields.pop("timestamp"), fields.pop("level").upper(), fields.pop("logger", "")
    message, trace = fields.pop("event"), fields.pop("exception", "")
    rest = "".join(f" {key}={value!r}" for key, value in fields.items())
    return f"{time} {level} {name}: {message}{rest}" + (f"\n{trace}" if trace else "")

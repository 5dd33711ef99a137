"""Configure logging: one line per record on standard output."""

import logging
import sys
from textwrap import indent
from typing import Any, Final

import structlog

from app.sentences.escapes import escaped, escaped_lines
from app.settings import Settings
from connectors.redaction import redact_text

TIMESTAMPER: Final = structlog.processors.TimeStamper(fmt="iso", utc=True)
TRACE_INDENT: Final = "  "


def configure_logs(settings: Settings) -> None:
    """Write records of `logging` and structlog to standard output, as `TIME LEVEL LOGGER: MESSAGE` or as JSON."""
    shared: list[Any] = [structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, TIMESTAMPER]
    shared += [structlog.stdlib.PositionalArgumentsFormatter(), structlog.processors.format_exc_info]
    render = structlog.processors.JSONRenderer() if settings.log_format == "json" else _line
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _redacted, render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    logging.captureWarnings(capture=True)
    for verbose in ("aiohttp.access", "aiokafka", "aiosqlite", "asyncio"):
        logging.getLogger(verbose).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _redacted(_logger: Any, _method: str, event: Any) -> Any:
    """Mask the secrets of URLs in a record and its traceback: libraries put URLs into their messages."""
    return {name: redact_text(value) if isinstance(value, str) else value for name, value in event.items()}


def _line(_logger: Any, _method: str, event: Any) -> str:
    """Render a record. Only its first line starts at the margin, so that no text in it passes for another record."""
    fields = dict(event)
    time, level, name = fields.pop("timestamp"), fields.pop("level").upper(), fields.pop("logger", "")
    message, trace = fields.pop("event"), fields.pop("exception", "")
    details = "".join(f" {key}={value!r}" for key, value in fields.items())
    line = escaped(f"{time} {level} {name}: {message}{details}")
    return f"{line}\n{indent(escaped_lines(trace), TRACE_INDENT)}" if trace else line

"""The status pages."""

from aiohttp import web


def add_pages(app: web.Application) -> None:
    """Add nothing yet."""

"""Good answers: `{data, status, message, request_id}`, and pages with a `Link`. Knows nothing of errors."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel

from app.api.routing.routes import RequestContext


def respond(
    call: RequestContext[Any, Any],
    data: Any,
    *,
    status: int = 200,
    message: str = "",
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> web.Response:
    """Return data in the envelope."""
    body = {"data": data, "status": status, "message": message, "request_id": call.request_id, **(more or {})}
    return web.Response(
        body=orjson.dumps(body, default=_plain, option=orjson.OPT_UTC_Z),
        status=status,
        content_type="application/json",
        headers=headers,
    )


def web_json(value: Any) -> web.Response:
    """Return plain JSON, where a standard says what it looks like."""
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def respond_page(call: RequestContext[Any, Any], items: Sequence[Any], next_cursor: str | None) -> web.Response:
    """Return a page of a list; the next one is behind `next_cursor`, also as a `Link` header (RFC 8288)."""
    headers = {}
    if next_cursor is not None:
        there = call.request.rel_url.update_query(cursor=next_cursor)
        headers["Link"] = f'<{there}>; rel="next"'
    return respond(call, list(items), headers=headers, more={"next_cursor": next_cursor})


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="python")
    raise TypeError(f"{type(value).__name__} has no JSON form")

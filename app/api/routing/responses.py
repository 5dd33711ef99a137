"""Success responses: views of domain values, the envelope `{data, status, message, request_id}`, and pages of lists."""

from collections.abc import Mapping
from typing import Any, Self

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict

from app.api.routing.routes import RequestContext


class View(BaseModel):
    """The JSON form of a domain value, read from its attributes of the same names."""

    model_config = ConfigDict(from_attributes=True)

    @classmethod
    def of(cls, source: object, **computed: Any) -> Self:
        """Return the view of a value; `computed` are the fields that it lacks or has in another form."""
        values = {name: getattr(source, name) for name in cls.model_fields if name not in computed}
        return cls.model_validate(values | computed)


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
    """Return JSON without the envelope, where a standard defines its form."""
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def respond_page(call: RequestContext[Any, Any], data: Any, next_cursor: str | None) -> web.Response:
    """Return a page of a list, or an object that has one.

    `next_cursor`, also as a `Link` header (RFC 8288), leads to the next page.
    """
    headers = {}
    if next_cursor is not None:
        url = call.request.rel_url.update_query(cursor=next_cursor)
        headers["Link"] = f'<{url}>; rel="next"'
    return respond(call, data, headers=headers, more={"next_cursor": next_cursor})


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="python")
    raise TypeError(f"{type(value).__name__} has no JSON form")

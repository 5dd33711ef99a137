"""From raw bytes to a checked query and body: size, content type, depth, then pydantic. Knows no routes' meaning."""

from typing import Any, Final, TypeVar, get_origin

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from app.api.http.problems import ApiProblem, FieldError, field_errors, invalid
from app.api.http.request_body import content_encoding, whole_body
from app.api.routing.routes import Query, Route
from schemas.json_depth import MAX_JSON_DEPTH, is_too_deep, may_be_too_deep

MAX_BODY_BYTES: Final = 1024 * 1024

M = TypeVar("M", bound=BaseModel)
Q = TypeVar("Q", bound=Query)


def read_query(request: web.Request, model: type[Q]) -> Q:
    """Return the query parameters; a parameter that comes twice is refused unless it is a list.

    Raises:
        Problem: 422, with every parameter that is wrong.

    """
    found: dict[str, Any] = {}
    for name in dict.fromkeys(request.query):
        values = request.query.getall(name)
        if any("\x00" in each for each in values):
            raise invalid([FieldError(f"?{name}", "bad_character", "a NUL character can't be searched for")])
        found[name] = values if len(values) > 1 or _takes_many(model, name) else values[0]
    try:
        return model.model_validate(found)
    except ValidationError as error:
        found_wrong = field_errors(error, model=model)
        errors = [FieldError(f"?{each.pointer[1:]}", each.code, each.message) for each in found_wrong]
        raise invalid(errors) from error


def _takes_many(model: type[Query], name: str) -> bool:
    return name in model.model_fields and get_origin(model.model_fields[name].annotation) is tuple


async def read_body(request: web.Request, route: Route) -> BaseModel | None:
    """Return the body as the route declares it.

    Raises:
        Problem: 413, 415, 400 when it is no JSON, or 422 with every field that is wrong.

    """
    if route.body is None:
        return None
    data = await _bytes(request)
    if not data and not route.body_required:
        return None
    if request.content_type not in {route.body_type, "application/json"}:
        raise ApiProblem(
            415,
            "wrong_content_type",
            f"the body has to be {route.body_type}, not {request.content_type}",
            headers={"Accept-Post": route.body_type},
        )
    value = parse(data)
    try:
        return route.body.model_validate(value)
    except ValidationError as error:
        raise invalid(field_errors(error, model=route.body)) from error


async def _bytes(request: web.Request) -> bytes:
    if content_encoding(request) not in {None, "none"}:
        raise ApiProblem(415, "packed_body", "a body that is packed can't be taken here: send it as it is")
    return await whole_body(request, MAX_BODY_BYTES)


def parse(data: bytes) -> Any:
    """Return the JSON in a body.

    Raises:
        Problem: 400, it is none, or nested too deep.

    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ApiProblem(400, "malformed_json", f"the body is not JSON: {error}") from error
    if may_be_too_deep(data) and is_too_deep(value):
        raise ApiProblem(400, "too_deep", f"the body's JSON is nested deeper than {MAX_JSON_DEPTH} levels")
    return value

"""Parse and validate queries and bodies: size, content type, depth of the JSON, then the pydantic model."""

from dataclasses import replace
from typing import Any, Final, TypeVar, get_origin

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from app.api.http.problems import ApiProblem, FieldError, field_errors, invalid
from app.api.http.request_body import plain_body, wrong_content_type
from app.api.routing.routes import Query, Route
from schemas.json_values import MAX_JSON_DEPTH, is_too_deep, may_be_too_deep

MAX_BODY_BYTES: Final = 1024 * 1024

Q = TypeVar("Q", bound=Query)


def read_query(request: web.Request, model: type[Q]) -> Q:
    """Return the query parameters as a model. A parameter may be repeated only if its field is a tuple.

    Raises:
        ApiProblem: 422, lists every invalid parameter.

    """
    raw: dict[str, Any] = {}
    for name in dict.fromkeys(request.query):
        values = request.query.getall(name)
        if any("\x00" in value for value in values):
            raise invalid([FieldError(f"?{name}", "bad_character", "a NUL character is not supported")])
        raw[name] = values if len(values) > 1 or _is_list(model, name) else values[0]
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        errors = field_errors(error, model=model)
        raise invalid([replace(field, pointer=f"?{field.pointer[1:]}") for field in errors]) from error


def _is_list(model: type[Query], name: str) -> bool:
    return name in model.model_fields and get_origin(model.model_fields[name].annotation) is tuple


async def read_body(request: web.Request, route: Route) -> BaseModel | None:
    """Return the body as the model of the route; None if the route has no model, or an optional body is empty.

    Raises:
        ApiProblem: 400, incomplete, not JSON or nested too deep; 408, too slow; 413, too large; 415, compressed or of
            another content type; 422, lists every invalid field.

    """
    if route.body is None:
        return None
    data = await plain_body(request, MAX_BODY_BYTES)
    if not data and not route.body_required:
        return None
    if request.content_type not in {route.body_type, "application/json"}:
        raise wrong_content_type(request, route.body_type)
    value = parse_json(data)
    try:
        return route.body.model_validate(value)
    except ValidationError as error:
        raise invalid(field_errors(error, model=route.body)) from error


def parse_json(data: bytes) -> Any:
    """Parse a JSON body.

    Raises:
        ApiProblem: 400, it is malformed or nested too deep.

    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ApiProblem(400, "malformed_json", f"the body is not JSON: {error}") from error
    if may_be_too_deep(data) and is_too_deep(value):
        raise ApiProblem(400, "too_deep", f"the body's JSON is nested deeper than {MAX_JSON_DEPTH} levels")
    return value

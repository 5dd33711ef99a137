"""The OpenAPI 3.1 document, generated from the declared routes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from app.api.http.problems import CONTENT_TYPE, REGISTRY, REGISTRY_TYPE
from app.api.routing.routes import STREAM_PATTERN, Query, ResponseSpec, Route

VERSION: Final = "2.0"
TEXT: Final[Mapping[str, Any]] = {"type": "string"}
REF: Final = "#/components/schemas/{model}"
DESCRIPTIONS: Final = {
    400: "the body is malformed, or nested too deep",
    401: "no token, or an invalid one",
    403: "the token's role is too low",
    404: "not found",
    408: "the body did not arrive in time",
    409: "not allowed in the current state; `allowed` lists the allowed actions",
    412: "modified concurrently; `changed` has both values of each field",
    413: "the body is too large",
    415: "unsupported content type",
    421: "the Host header names another host",
    422: "validation failed; `errors` lists the fields",
    428: "If-Match is missing",
    429: "too many concurrent requests; retry after `Retry-After` seconds",
    503: "a dependency is unreachable or timed out; try again",
    507: "the disk is full",
}
PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "stable"},
        "detail": {"type": "string", "description": "human-readable"},
        "request_id": {"type": "string"},
        "params": {"type": "object", "description": "the values in the detail, by name"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "code", "message"],
                "properties": {
                    "pointer": {"type": "string"},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                    "params": {"type": "object", "description": "the values in the message, by name"},
                },
            },
        },
        "allowed": {"type": "array", "items": {"type": "string"}, "description": "the actions that are allowed now"},
        "changed": {"type": "object", "description": "by field: `yours` and `current`"},
    },
}
REGISTRY_ERROR: Final = {
    "type": "object",
    "required": ["error_code", "message"],
    "properties": {"error_code": {"type": "integer"}, "message": {"type": "string"}},
}
PATH_PARAMETERS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {  # the description and the schema, by name
    "definition_id": ("`identity` or `mapping:<stream>`", TEXT),
    "forgetting_id": ("id of a forgetting", TEXT),
    "job_id": ("id of a job", TEXT),
    "job_type": ("a job type of the provider", TEXT),
    "key": ("an identity as `kind:value`", TEXT),
    "lane": ("`realtime` or `backfill`", TEXT),
    "name": ("name of a stream", TEXT),
    "provider": ("name of a provider", TEXT),
    "rebuild_id": ("id of a rebuild", TEXT),
    "schema_id": ("id of a schema, as in the frame of a record", TEXT),
    "session_id": ("id of a session", TEXT),
    "stream": ("name of a stream", {"type": "string", "pattern": STREAM_PATTERN}),
    "subject": ("name of a subject", TEXT),
    "token_id": ("id of a token", TEXT),
    "version": ("a version, or `latest`", {"type": "string", "pattern": "^([0-9]{1,9}|latest|-1)$"}),
}
SECURITY: Final = {"bearer": {"type": "http", "scheme": "bearer", "description": "a token of `POST /v2/token`"}}


class _Document:
    """Collects the schemas that the operations of routes refer to, and links operations to each other."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.schemas: dict[str, Any] = {"Problem": PROBLEM, "RegistryError": REGISTRY_ERROR}
        self.routes = routes

    def schema(self, kind: Any, mode: JsonSchemaMode = "serialization") -> dict[str, Any]:
        """Return the schema of a type; its definitions are moved to the common schemas."""
        schema = TypeAdapter(kind).json_schema(ref_template=REF, mode=mode)
        self.schemas |= schema.pop("$defs", {})
        return schema

    def operation(self, route: Route) -> dict[str, Any]:
        """Return the operation of a route."""
        successes = {response.status: response for response in route.responses}
        responses = {str(status): self._problem(route, status) for status in _problem_statuses(route) - {*successes}}
        responses |= {str(status): self._response(route, response) for status, response in successes.items()}
        operation: dict[str, Any] = {
            "operationId": _operation_id(route),
            "tags": [route.tag],
            "summary": route.summary,
            "security": [{"bearer": []}] if route.role else [],
            "parameters": [*_path_parameters(route), *self._query(route.query), *_headers(route)],
            "responses": dict(sorted(responses.items())),
        }
        if route.role:
            operation["description"] = f"Needs the role `{route.role}`."
        if route.body is not None:
            content = {route.body_type: {"schema": self.schema(route.body, "validation")}}
            operation["requestBody"] = {"required": route.body_required, "content": content}
        if route.content:
            content = {kind: {"schema": dict(schema)} for kind, schema in route.content.items()}
            operation["requestBody"] = {"required": route.body_required, "content": content}
        return operation

    def _query(self, query: type[Query]) -> list[dict[str, Any]]:
        schema = self.schema(query, "validation")
        required = schema.get("required", [])
        return [
            {"name": name, "in": "query", "required": name in required, **_described(_without_null(field))}
            for name, field in schema.get("properties", {}).items()
        ]

    def _response(self, route: Route, spec: ResponseSpec) -> dict[str, Any]:
        if spec.bare or spec.content_type != "application/json":
            schema: dict[str, Any] = {} if "json" in spec.content_type else {"type": "string"}
        else:
            schema = self._envelope(spec)
        headers = {name: {"schema": {"type": "string"}} for name in spec.headers}
        content = {spec.content_type: {"schema": schema}}
        response = {"description": spec.description or route.summary, "content": content}
        links = {_operation_id(target): link for target in self.routes if (link := _link(spec, target))}
        return response | ({"headers": headers} if headers else {}) | ({"links": links} if links else {})

    def _envelope(self, spec: ResponseSpec) -> dict[str, Any]:
        properties = {
            "data": self.schema(spec.data) if spec.data is not None else {"type": "null"},
            "status": {"const": spec.status},
            "message": {"type": "string"},
            "request_id": {"type": "string"},
        }
        if "Link" in spec.headers:
            properties["next_cursor"] = {"type": ["string", "null"]}
        required = ["data", "status", "message", "request_id"]
        return {"type": "object", "required": required, "properties": properties}

    def _problem(self, route: Route, status: int) -> dict[str, Any]:
        is_registry = route.path.startswith(f"{REGISTRY}/")
        content_type, model = (REGISTRY_TYPE, "RegistryError") if is_registry else (CONTENT_TYPE, "Problem")
        content = {content_type: {"schema": {"$ref": REF.format(model=model)}}}
        response: dict[str, Any] = {"description": DESCRIPTIONS[status], "content": content}
        return response


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the document of the routes."""
    builder = _Document(tuple(routes))
    paths: dict[str, Any] = {}
    for route in builder.routes:
        paths.setdefault(route.path, {})[route.method.lower()] = builder.operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Entrepot",
            "version": VERSION,
            "description": "Jobs that import, export and enrich customer data.",
        },
        "paths": paths,
        "components": {"schemas": dict(sorted(builder.schemas.items())), "securitySchemes": SECURITY},
    }


def _problem_statuses(route: Route) -> set[int]:
    """Return the error statuses of a route: those that it declares, and those that its declaration implies."""
    implied = {421, 422, 503}
    if route.role:
        implied |= {401, 403}
    if route.method != "GET":
        implied |= {507}
    if route.body:
        implied |= {408}
    if route.body or route.content:
        implied |= {400, 413, 415}
    if any(header.name == "If-Match" for header in route.headers):
        implied |= {412}
    if any(header.name == "If-Match" and header.required for header in route.headers):
        implied |= {428}
    return implied | {*route.problems}


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    parameters = ((name, *PATH_PARAMETERS[name]) for name in _path_names(route))
    return [
        {"name": name, "in": "path", "required": True, "description": description, "schema": dict(schema)}
        for name, description, schema in parameters
    ]


def _path_names(route: Route) -> list[str]:
    return re.findall(r"{(\w+)}", route.path)


def _link(spec: ResponseSpec, target: Route) -> dict[str, Any] | None:
    """Return the link from a response to a route whose path needs one of its ids; None if it needs none."""
    names = [name for name in _path_names(target) if name in spec.ids]
    if not names:
        return None
    parameters = {f"path.{name}": f"$response.body#{spec.ids[name]}" for name in names}
    if "ETag" in spec.headers and any(header.name == "If-Match" for header in target.headers):
        parameters["header.If-Match"] = "$response.header.ETag"
    return {"operationId": _operation_id(target), "parameters": parameters}


def _headers(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": header.name,
            "in": "header",
            "required": header.required,
            "description": header.description,
            "schema": dict(header.schema),
        }
        for header in route.headers
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter: absent, never null."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in {"anyOf", "title"}}
    if rest.get("default", "") is None:
        del rest["default"]
    return {**options[0], **rest} if len(options) == 1 else rest | ({"anyOf": options} if options else {})


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter, and its description, which belongs to the parameter."""
    description = schema.pop("description", None)
    return {"schema": schema} | ({"description": description} if description else {})


def _operation_id(route: Route) -> str:
    return "_".join([route.method.lower(), *re.findall(r"\w+", route.path)])

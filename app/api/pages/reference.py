"""The API reference: a page made from the OpenAPI document."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler
from markupsafe import Markup, escape

from app.api.pages.render import render

HTTP_METHODS: Final = ("get", "post", "put", "patch", "delete")
PREFIX: Final = "#/components/schemas/"

JsonSchema = Mapping[str, Any]


class FieldRow(NamedTuple):
    """A parameter, or a field of an object."""

    name: str
    note: str  # the place of a parameter, and whether it is required
    kind: Markup
    description: Markup


class ContentView(NamedTuple):
    """A body in one content type: its type, or its fields if it is an object without a name."""

    content_type: str
    kind: Markup
    fields: list[FieldRow]


class ResponseView(NamedTuple):
    """A response by status."""

    status: str
    description: Markup
    content: list[ContentView]


class OperationView(NamedTuple):
    """One method of one path."""

    operation_id: str
    method: str
    path: str
    summary: Markup
    description: Markup
    parameters: list[FieldRow]
    content: list[ContentView]
    responses: list[ResponseView]


class ModelView(NamedTuple):
    """A schema that several operations use."""

    name: str
    description: Markup
    kind: Markup
    fields: list[FieldRow]


def reference_page(document: Callable[[], JsonSchema]) -> Handler:
    """Return the handler of the page about an OpenAPI document. The page is made at the first request."""
    page = cache(lambda: _page(document()))

    async def show(_request: web.Request) -> web.Response:
        response = web.Response(text=page(), content_type="text/html", charset="utf-8")
        response.enable_compression()
        return response

    return show


def _page(document: JsonSchema) -> str:
    groups: dict[str, list[OperationView]] = {}
    for path, methods in document["paths"].items():
        for method in HTTP_METHODS:
            if operation := methods.get(method):
                groups.setdefault(operation["tags"][0], []).append(_operation(method, path, operation))
    groups = dict(sorted(groups.items()))
    models = [_model(name, schema) for name, schema in document["components"]["schemas"].items()]
    return render("reference.html", caller=None, info=document["info"], groups=groups, models=models).text or ""


def _operation(method: str, path: str, operation: JsonSchema) -> OperationView:
    return OperationView(
        operation["operationId"],
        method.upper(),
        path,
        with_code(operation["summary"]),
        with_code(operation.get("description", "Needs no token.")),
        [
            FieldRow(
                parameter["name"],
                f"{parameter['in']}, required" if parameter["required"] else parameter["in"],
                kind_of(parameter["schema"]),
                with_code(parameter.get("description", "")),
            )
            for parameter in operation["parameters"]
        ],
        [*_content(operation.get("requestBody", {}))],
        [
            ResponseView(status, with_code(response["description"]), [*_content(response)])
            for status, response in operation["responses"].items()
        ],
    )


def _content(owner: JsonSchema) -> Iterator[ContentView]:
    for content_type, media in owner.get("content", {}).items():
        schema = media["schema"]
        yield ContentView(content_type, kind_of(schema), [*_rows(schema)])


def _model(name: str, schema: JsonSchema) -> ModelView:
    return ModelView(name, with_code(schema.get("description", "")), kind_of(schema), [*_rows(schema)])


def _rows(schema: JsonSchema, prefix: str = "") -> Iterator[FieldRow]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        note = "required" if name in required else ""
        yield FieldRow(prefix + name, note, kind_of(field), with_code(field.get("description", "")))
        yield from _rows(field, f"{prefix}{name}.")


def with_code(text: str) -> Markup:
    """Return a text whose parts in backticks are code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )


def kind_of(schema: JsonSchema) -> Markup:  # noqa: PLR0911  # one for each form of a schema
    """Return the type of a schema in words; names of models are links."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(PREFIX)
        return Markup('<a href="#model-{}">{}</a>').format(name, name)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return Markup(" or ").join(dict.fromkeys(kind_of(option) for option in schema[key]))
    if "enum" in schema:
        return _values(schema["enum"])
    if "const" in schema:
        return _values([schema["const"]])
    match schema.get("type"):
        case "array" if "prefixItems" not in schema:
            return Markup("list of {}").format(kind_of(schema.get("items", {})))
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return Markup("object of {}").format(kind_of(schema["additionalProperties"]))
        case str(kind):
            return escape(", ".join([kind, *_limits(schema)]))
        case list(kinds):
            return escape(" or ".join(kinds))
        case _:
            return escape("any value")


def _values(values: Iterable[Any]) -> Markup:
    return Markup(" or ").join(Markup("<code>{}</code>").format(value) for value in values)


def _limits(schema: JsonSchema) -> Iterator[str]:
    if "format" in schema:
        yield schema["format"]
    for key, words in (
        ("minimum", "from {}"),
        ("maximum", "to {}"),
        ("maxLength", "at most {} characters"),
        ("default", "default {}"),
    ):
        if schema.get(key) not in (None, ""):
            yield words.format(orjson.dumps(schema[key]).decode())

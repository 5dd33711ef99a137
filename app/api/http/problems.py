"""What can go wrong with a request, as RFC 9457 problems with stable codes. Says nothing of what went well."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Final

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from connectors.kit.field_hints import UNKNOWN_FIELD, unknown_field_message
from schemas.json_pointer import json_pointer

CONTENT_TYPE: Final = "application/problem+json"
MAX_ERRORS: Final = 100  # fields that an answer goes into
MAX_NAMED_FIELDS: Final = 20
MAX_NAME_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field: `pointer` is a JSON pointer into the body, or `?name` for a query parameter."""

    pointer: str
    code: str
    message: str


class ApiProblem(Exception):
    """The request can't be answered as asked; `detail` says so in plain words, with what to do."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def response(self, request_id: str) -> web.Response:
        """Return it as `application/problem+json`."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "request_id": request_id,
            **({"errors": [asdict(each) for each in self.errors]} if self.errors else {}),
            **self.more,
        }
        return web.Response(
            body=orjson.dumps(body, option=orjson.OPT_UTC_Z),
            status=self.status,
            content_type=CONTENT_TYPE,
            headers=self.headers,
        )


def not_found(what: str, name: str, more: str = "") -> ApiProblem:
    """Return the problem of something that isn't there; `more` goes on with the sentence."""
    return ApiProblem(404, f"no_such_{what.replace(' ', '_')}", f"there is no {what} {name!r}{more}")


def invalid(errors: Sequence[FieldError]) -> ApiProblem:
    """Return the problem of fields that are not as they have to be."""
    fields = list(dict.fromkeys(each.pointer or "/" for each in errors))
    named = ", ".join(fields[:MAX_NAMED_FIELDS]) + (
        f" and {len(fields) - MAX_NAMED_FIELDS} more" if fields[MAX_NAMED_FIELDS:] else ""
    )
    shown = tuple(errors[:MAX_ERRORS])
    if more := len(errors) - len(shown):
        shown += (FieldError("", "more", f"and {more} more"),)
    return ApiProblem(422, "invalid", f"these fields are not as they have to be: {named}", errors=shown)


def field_errors(error: ValidationError, prefix: str = "", *, model: type[BaseModel] | None = None) -> list[FieldError]:
    """Return what pydantic found as field errors, without the values: they could be secrets.

    With the model, a field that it doesn't have is answered with those that it has: where many are, only the first.
    """
    found = error.errors(include_url=False, include_context=False, include_input=False)
    said = [_message(each, model) for each in found[:MAX_ERRORS]] + [each["msg"] for each in found[MAX_ERRORS:]]
    return [
        FieldError(prefix + pointer(each["loc"]), each["type"], message)
        for each, message in zip(found, said, strict=True)
    ]


def _message(error: ErrorDetails, model: type[BaseModel] | None) -> str:
    if error["type"] == UNKNOWN_FIELD:
        return unknown_field_message(model, error["loc"])
    return error["msg"].removeprefix("Value error, ")


def pointer(location: Sequence[int | str]) -> str:
    """Return a JSON pointer (RFC 6901)."""
    return json_pointer(*(_cut(str(step)) for step in location))


def _cut(name: str) -> str:
    return name if len(name) <= MAX_NAME_CHARACTERS else f"{name[:MAX_NAME_CHARACTERS]}…"

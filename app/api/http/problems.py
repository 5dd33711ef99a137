"""Error responses: RFC 9457 problems with stable codes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Any, Final

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from app.sentences.codes import SENTENCES
from app.sentences.sentence import sentence
from app.sentences.validation import SENTENCES as PYDANTIC
from app.sentences.validation import validation_sentence
from connectors.kit.field_errors import UNKNOWN_FIELD, field_names
from schemas.coded import CodedError, Params, truncate
from schemas.json_values import json_pointer

CONTENT_TYPE: Final = "application/problem+json"
REGISTRY: Final = "/registry"  # under it, the Schema Registry defines the form of errors
REGISTRY_TYPE: Final = "application/vnd.schemaregistry.v1+json"
MAX_ERRORS: Final = 100  # in a response
MAX_NAMED_FIELDS: Final = 20
MAX_NAME_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field: `pointer` is a JSON pointer into the body, or `?name` for a query parameter."""

    pointer: str
    code: str
    message: str
    params: Params = field(default_factory=dict)


class ApiProblem(Exception):
    """An error response: `detail` is the sentence of `code` and `params`, with the fix."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
        params: Params | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.more = dict(more or {})
        self.params = dict(params or {})

    def response(self, request_id: str) -> web.Response:
        """Return it as `application/problem+json`."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "request_id": request_id,
            **({"params": self.params} if self.params else {}),
            **({"errors": [asdict(error) for error in self.errors]} if self.errors else {}),
            **self.more,
        }
        return web.Response(
            body=orjson.dumps(body, option=orjson.OPT_UTC_Z),
            status=self.status,
            content_type=CONTENT_TYPE,
            headers=self.headers,
        )

    def registry_response(self) -> web.Response:
        """Return it in the form of the Schema Registry; its code is the status unless `more` has an `error_code`."""
        body = {"error_code": self.more.get("error_code", self.status), "message": self.detail}
        return web.Response(
            body=orjson.dumps(body), status=self.status, content_type=REGISTRY_TYPE, headers=self.headers
        )


def problem_of(
    status: int, error: CodedError, *, provider: str = "", code: str = "", more: Mapping[str, Any] | None = None
) -> ApiProblem:
    """Return the problem of an error with a code, under that code or another."""
    detail = sentence(error.code, error.params, provider)
    return ApiProblem(status, code or error.code, detail, more=more, params=error.params)


def field_error_of(pointer: str, code: str, params: Params, provider: str = "") -> FieldError:
    """Return the error of a field, with the sentence of its code."""
    return FieldError(pointer, code, sentence(code, params, provider), params)


def not_found(resource: str, name: str, hint: str = "") -> ApiProblem:
    """Return the problem of a missing resource; `hint` continues the sentence."""
    return ApiProblem(404, f"no_such_{resource.replace(' ', '_')}", f"there is no {resource} {name!r}{hint}")


def kafka_unreachable(content: str) -> ApiProblem:
    """Return the problem that `content` can't be read from Kafka."""
    detail = f"Kafka, which stores {content}, is unreachable; try again"
    return ApiProblem(503, "kafka_unreachable", detail, headers={"Retry-After": "5"})


def key_reused(use: str) -> ApiProblem:
    """Return the problem of an idempotency key that was used for something else before."""
    return ApiProblem(422, "idempotency_key_reused", f"Idempotency-Key was already used {use}; use a new key")


def invalid(errors: Sequence[FieldError]) -> ApiProblem:
    """Return the problem of invalid fields."""
    fields = list(dict.fromkeys(error.pointer or "/" for error in errors))
    named = ", ".join(fields[:MAX_NAMED_FIELDS]) + (
        f" and {len(fields) - MAX_NAMED_FIELDS} more" if fields[MAX_NAMED_FIELDS:] else ""
    )
    shown = tuple(errors[:MAX_ERRORS])
    if more := len(errors) - len(shown):
        shown += (FieldError("", "more", f"and {more} more"),)
    return ApiProblem(422, "invalid", f"validation failed for: {named}", errors=shown)


def field_errors(error: ValidationError, prefix: str = "", *, model: type[BaseModel] | None = None) -> list[FieldError]:
    """Return the field errors of pydantic, without the values: they could be secrets.

    With the model, the errors of unknown fields list its fields: of many errors, only those of the first.
    """
    errors = error.errors(include_url=False, include_input=False)
    named = [_field_error(details, prefix, model) for details in errors[:MAX_ERRORS]]
    return named + [_field_error(details, prefix, None) for details in errors[MAX_ERRORS:]]


def _field_error(error: ErrorDetails, prefix: str, model: type[BaseModel] | None) -> FieldError:
    where, code = prefix + pointer(error["loc"]), error["type"]
    if code == UNKNOWN_FIELD:
        return field_error_of(where, code, {"fields": field_names(model, error["loc"])})
    if code in SENTENCES and code not in PYDANTIC:
        return field_error_of(where, code, error.get("ctx", {}))
    return FieldError(where, code, validation_sentence(error))


def pointer(location: Sequence[int | str]) -> str:
    """Return a JSON pointer (RFC 6901)."""
    return json_pointer(*(truncate(str(step), MAX_NAME_CHARACTERS) for step in location))

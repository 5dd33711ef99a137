"""Providers and their job types, and trying a configuration before a job is made of it."""

import asyncio
from typing import Any, Final

import orjson
from aiohttp import web
from pydantic import BaseModel

from app.api.http.problems import FieldError, not_found
from app.api.jobs.bodies import PUSHED, CadenceBody, cadence_errors, configuration_errors
from app.api.routing.responses import respond
from app.api.routing.routes import Body, Query, RequestContext, ResponseSpec, Routes
from connectors.catalog import catalog, connector
from connectors.contract import Connector, ConnectorError, JobType

CHECK_SECONDS: Final = 20.0


class JobTypeView(BaseModel):
    """What a provider can do for a job; `configuration` is the JSON schema of what it takes."""

    name: str
    kind: str
    title: str
    description: str
    configuration: dict[str, Any]


class ProviderView(BaseModel):
    """A provider."""

    name: str
    title: str
    description: str
    documentation: str
    job_types: list[JobTypeView]


class ValidateBody(Body):
    """What would become of a job."""

    configuration: dict[str, Any]
    cadence: CadenceBody = CadenceBody()


class FieldProblem(BaseModel):
    """One thing wrong with one field."""

    pointer: str
    code: str
    message: str


class Verdict(BaseModel):
    """Whether a configuration would work, and all that is wrong with it."""

    valid: bool
    errors: list[FieldProblem]


ROUTES: Final = Routes("providers", "/v2/provider")


@ROUTES("GET", "", "List providers and what they can do", ResponseSpec("every provider", list[ProviderView]))
async def list_providers(call: RequestContext[Query, None]) -> web.Response:
    """Return every provider."""
    return respond(call, [_view(each) for each in catalog().values()])


@ROUTES("GET", "/{provider}", "Look at a provider", ResponseSpec("the provider", ProviderView), problems=(404,))
async def get_provider(call: RequestContext[Query, None]) -> web.Response:
    """Return one provider."""
    return respond(call, _view(_found(call.path("provider"))))


@ROUTES(
    "PUT",
    "/{provider}/{job_type}/validate",
    "Try a configuration; nothing is created",
    ResponseSpec("all that is wrong with it, field by field", Verdict),
    problems=(404,),
)
async def validate(call: RequestContext[Query, ValidateBody]) -> web.Response:
    """Look at every field; when they are all as they have to be, ask the provider whether it would work."""
    provider, name = call.path("provider"), call.path("job_type")
    kind = _found(provider).job_type(name)
    if kind is None:
        raise not_found("job type", f"{provider}/{name}")
    errors = configuration_errors(kind, call.body.configuration)
    wrong_cadence = cadence_errors(call.body.cadence.word(), call.api.clock())
    if not errors:
        errors = await _tried(call, kind)
    found = [
        FieldProblem(pointer=each.pointer, code=each.code, message=each.message) for each in errors + wrong_cadence
    ]
    return respond(call, Verdict(valid=not found, errors=found), message="" if found else "it would work")


async def _tried(call: RequestContext[Query, ValidateBody], kind: JobType) -> list[FieldError]:
    if kind.pushed:
        return [FieldError("", "pushed", PUSHED)]
    config = kind.config.model_validate_json(orjson.dumps(call.body.configuration))
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            problems = await kind.check(config, call.api.limits)
    except ConnectorError as error:
        return [FieldError("/configuration", error.code, error.message)]
    except TimeoutError:
        message = f"the provider did not answer within {CHECK_SECONDS:.0f} seconds"
        return [FieldError("/configuration", "provider_timeout", message)]
    return [FieldError(f"/configuration{each.field}", each.code, each.message) for each in problems]


def _found(name: str) -> Connector:
    found = connector(name)
    if found is None:
        raise not_found("provider", name)
    return found


def _view(found: Connector) -> ProviderView:
    types = [
        JobTypeView(
            name=each.name,
            kind=each.kind,
            title=each.title,
            description=each.description,
            configuration=each.config.model_json_schema(),
        )
        for each in found.job_types
    ]
    return ProviderView(
        name=found.name,
        title=found.title,
        description=found.description,
        documentation=found.documentation,
        job_types=types,
    )

"""Providers and their job types, and validation of a configuration before a job is created."""

from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel

from app.api.http.problems import FieldError, not_found
from app.api.jobs.bodies import CREATED_BY_UPLOAD, CadenceBody, cadence_errors, configuration_errors
from app.api.jobs.checks import provider_errors
from app.api.routing.responses import View, respond
from app.api.routing.routes import Body, Query, RequestContext, ResponseSpec, Routes
from connectors.catalog import catalog, connector
from connectors.contract import Connector


class JobTypeView(View):
    """A job type of a provider; `configuration` is the JSON schema of its configuration."""

    name: str
    kind: str
    title: str
    description: str
    configuration: dict[str, Any]


class ProviderView(View):
    """A provider."""

    name: str
    title: str
    description: str
    documentation: str
    job_types: list[JobTypeView]


class ValidateBody(Body):
    """The configuration and schedule of a job to validate."""

    configuration: dict[str, Any]
    cadence: CadenceBody = CadenceBody()


class FieldProblem(View):
    """One error of one field."""

    pointer: str
    code: str
    message: str


class Verdict(BaseModel):
    """Whether a configuration is valid, and its errors."""

    valid: bool
    errors: list[FieldProblem]


ROUTES: Final = Routes("providers", "/v2/provider")


@ROUTES(
    "GET",
    "",
    "List providers and their job types",
    ResponseSpec("every provider", list[ProviderView], ids={"provider": "/data/0/name"}),
)
async def list_providers(call: RequestContext[Query, None]) -> web.Response:
    """Return every provider."""
    return respond(call, [_view(provider) for provider in catalog().values()])


@ROUTES("GET", "/{provider}", "Show a provider", ResponseSpec("the provider", ProviderView), problems=(404,))
async def get_provider(call: RequestContext[Query, None]) -> web.Response:
    """Return one provider."""
    return respond(call, _view(_provider(call.path("provider"))))


@ROUTES(
    "PUT",
    "/{provider}/{job_type}/validate",
    "Validate a configuration; nothing is created",
    ResponseSpec("its errors, by field", Verdict),
    problems=(404, 429),
)
async def validate(call: RequestContext[Query, ValidateBody]) -> web.Response:
    """Validate every field; if all are valid, check the configuration with the provider."""
    provider, name = _provider(call.path("provider")), call.path("job_type")
    job_type = provider.job_type(name)
    if job_type is None:
        raise not_found("job type", f"{provider.name}/{name}")
    errors = configuration_errors(job_type, call.body.configuration)
    cadence = cadence_errors(call.body.cadence.to_policy(), call.api.clock())
    if not errors and job_type.pushed:
        errors = [FieldError("", "pushed", CREATED_BY_UPLOAD)]
    elif not errors:
        errors = await provider_errors(call.api, provider, job_type, call.body.configuration)
    problems = [FieldProblem.of(error) for error in (*errors, *cadence)]
    return respond(call, Verdict(valid=not problems, errors=problems), message="" if problems else "valid")


def _provider(name: str) -> Connector:
    provider = connector(name)
    if provider is None:
        raise not_found("provider", name)
    return provider


def _view(provider: Connector) -> ProviderView:
    job_types = [
        JobTypeView.of(job_type, configuration=job_type.config.model_json_schema()) for job_type in provider.job_types
    ]
    return ProviderView.of(provider, job_types=job_types)

"""Check a configuration with its provider, before a job is created and before each of its changes."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, Field

from app.api.context import Services
from app.api.http.problems import FieldError, field_error_of, invalid
from app.api.routing.routes import Query, RequestContext
from app.kafka.producer_record import retrieve_exception
from app.vault.sealed_json import shown_form
from connectors.catalog import connector
from connectors.contract import ConfigurationProblem, Connector, ConnectorError, JobType
from connectors.redaction import Redactor

CHECK_TIMEOUT_SECONDS: Final = 20.0

Problems = tuple[ConfigurationProblem, ...]


class ValidateQuery(Query):
    """Whether to check the configuration with the provider."""

    validate_: Annotated[
        bool, Field(alias="validate", description="false: do not check the configuration with the provider")
    ] = True


async def check_with_provider(
    call: RequestContext[Any, Any], provider: str, job_type: JobType, configuration: Mapping[str, Any]
) -> None:
    """Check a valid configuration with its provider, unless the request says `validate=false`.

    A configuration with sealed values is not checked: only the runner can open them.

    Raises:
        ApiProblem: 422, the provider refuses it; 429, too many checks.

    """
    plugin = connector(provider)
    if plugin is None or not call.query.validate_ or configuration != shown_form(configuration):
        return
    if errors := await provider_errors(call.api, plugin, job_type, configuration):
        raise invalid(errors)


async def provider_errors(
    api: Services, provider: Connector, job_type: JobType, configuration: Mapping[str, Any]
) -> list[FieldError]:
    """Return what the provider finds wrong with a valid configuration.

    Raises:
        ApiProblem: 429, too many checks.

    """
    redactor = Redactor(configuration, provider.redact(configuration))
    config = job_type.config.model_validate_json(orjson.dumps(configuration))
    try:
        problems = await _check_in_time(api, job_type, config)
    except ConnectorError as error:
        return [field_error_of("/configuration", error.code, redactor.value(error.params), provider.name)]
    except TimeoutError:
        message = f"the provider did not answer within {CHECK_TIMEOUT_SECONDS:.0f} seconds"
        return [FieldError("/configuration", "provider_timeout", message)]
    return [
        field_error_of(f"/configuration{problem.field}", problem.code, redactor.value(problem.params), provider.name)
        for problem in problems
    ]


async def _check_in_time(api: Services, job_type: JobType, config: BaseModel) -> Problems:
    """Check with the provider. A check that hangs in a thread is left behind, and keeps its slot until it ends."""
    checking = asyncio.create_task(_check(api, job_type, config), name="check a configuration")
    checking.add_done_callback(retrieve_exception)
    try:
        await asyncio.wait({checking}, timeout=CHECK_TIMEOUT_SECONDS)
        if not checking.done():
            raise TimeoutError
        return checking.result()
    finally:
        checking.cancel()


async def _check(api: Services, job_type: JobType, config: BaseModel) -> Problems:
    with api.admission.probe():
        return await job_type.check(config, api.limits)

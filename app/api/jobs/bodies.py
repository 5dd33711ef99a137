"""Request bodies that create and change jobs, and the validation that needs no decider."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, field_validator

from app.api.http.problems import FieldError, field_error_of, field_errors, invalid
from app.api.routing.routes import Body
from connectors.catalog import connector
from connectors.contract import JobType
from projections.jobs.cadence import InvalidCadenceError, check
from projections.jobs.command_checks import MAX_DESCRIPTION, MAX_NAME, MAX_SECONDS
from projections.json_object import MAX_JSON_BYTES
from schemas.policies import Cadence, CadenceKind, QuietWindow, RetryPolicy

PUSHED: Final = "such a job is created by an upload: POST /collect/bulk/{stream}"
MAX_ITEMS: Final = 100
YEAR_SECONDS: Final = 366 * 86_400

Seconds = Annotated[int, Field(ge=1, le=MAX_SECONDS)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=r"\S")]
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION)]
JsonObject = dict[str, Any]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
TimeOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


def _few(value: Any) -> Any:
    """Reject a list with too many items before the items are validated."""
    if isinstance(value, list) and len(value) > MAX_ITEMS:
        raise ValueError(f"{len(value):,} items, at most {MAX_ITEMS} are allowed")
    return value


FEW: Final = BeforeValidator(_few)


class QuietBody(Body):
    """A daily period in which the job sleeps."""

    start: TimeOfDay
    end: TimeOfDay
    days: Annotated[tuple[Day, ...], Field(max_length=7), FEW] = ()


class CadenceBody(Body):
    """The schedule of a job."""

    kind: CadenceKind = "once"
    every_seconds: Annotated[int, Field(ge=0, le=YEAR_SECONDS)] = 0
    cron: Annotated[str, Field(max_length=200)] = ""
    time_zone: Annotated[str, Field(max_length=100)] = "UTC"
    quiet: Annotated[tuple[QuietBody, ...], Field(max_length=20), FEW] = ()

    def to_policy(self) -> Cadence:
        """Return the policy for a command."""
        quiet = tuple(QuietWindow(**window.model_dump()) for window in self.quiet)
        return Cadence(**self.model_dump(exclude={"quiet"}), quiet=quiet)


class RetryBody(Body):
    """The retry policy of a job."""

    base_seconds: Seconds = 60
    cap_seconds: Seconds = 1800
    floor_seconds: Seconds = 1
    give_up_seconds: Seconds = 36_000

    def to_policy(self) -> RetryPolicy:
        """Return the policy for a command."""
        return RetryPolicy(**self.model_dump())


class _Named(Body):
    @field_validator("name", check_fields=False)
    @classmethod
    def _visible(cls, value: str) -> str:
        if not any(character.isprintable() and not character.isspace() for character in value):
            raise ValueError("a name needs a visible character")
        return value

    @field_validator("name", "description", check_fields=False)
    @classmethod
    def _no_nul(cls, value: str) -> str:
        if "\x00" in value:
            raise ValueError("a NUL character is not supported")
        return value


class CreateBody(_Named):
    """A job to create."""

    name: Name
    provider: Annotated[str, Field(max_length=100)]
    job_type: Annotated[str, Field(max_length=100)]
    description: Description = ""
    configuration: JsonObject = Field(default_factory=dict)
    cadence: CadenceBody = CadenceBody()
    retry: RetryBody = RetryBody()


class PatchBody(_Named):
    """A merge patch (RFC 7396): only named fields change; null inside an object removes a field.

    `cursor` replaces the whole cursor.
    """

    name: Name = ""
    description: Description = ""
    configuration: JsonObject = Field(default_factory=dict)
    cadence: JsonObject = Field(default_factory=dict)
    retry: JsonObject = Field(default_factory=dict)
    cursor: JsonObject = Field(
        default_factory=dict, description="replaces the whole cursor; `{}` restarts from the beginning"
    )


def known_type(provider: str, job_type: str) -> JobType:
    """Return a job type of a provider.

    Raises:
        ApiProblem: 422, unknown provider or job type.

    """
    known = connector(provider)
    if known is None:
        raise invalid([FieldError("/provider", "no_such_provider", f"no provider {provider!r}")])
    kind = known.job_type(job_type)
    if kind is None:
        names = ", ".join(candidate.name for candidate in known.job_types)
        message = f"{provider} has no job type {job_type!r}; job types: {names}"
        raise invalid([FieldError("/job_type", "no_such_job_type", message)])
    return kind


def configuration_errors(kind: JobType, configuration: Mapping[str, Any]) -> list[FieldError]:
    """Return the errors of a configuration that its connector finds without the provider."""
    data = orjson.dumps(configuration)
    if len(data) > MAX_JSON_BYTES:
        return [FieldError("/configuration", "too_large", f"a configuration is limited to {MAX_JSON_BYTES:,} bytes")]
    try:
        kind.config.model_validate_json(data)
    except ValidationError as error:
        return field_errors(error, "/configuration", model=kind.config)
    return []


def cursor_errors(kind: JobType, cursor: Mapping[str, Any]) -> list[FieldError]:
    """Return the errors of an edited cursor."""
    if len(orjson.dumps(cursor)) > MAX_JSON_BYTES:
        return [FieldError("/cursor", "too_large", f"a cursor is limited to {MAX_JSON_BYTES:,} bytes")]
    return [
        field_error_of(f"/cursor{problem.field}", problem.code, problem.params) for problem in kind.check_cursor(cursor)
    ]


def cadence_errors(cadence: Cadence, at: datetime) -> list[FieldError]:
    """Return the errors of a cadence."""
    try:
        check(cadence, at)
    except InvalidCadenceError as error:
        return [field_error_of(f"/cadence{error.pointer}", error.code, error.params)]
    return []


def merged(current: Any, patch: Any) -> Any:
    """Return a value after a merge patch (RFC 7396, section 2)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def unmasked(patch: Any, shown: Any, stored: Any) -> Any:
    """Return a patch with every value that equals the shown one replaced by the stored one: secrets are masked."""
    if patch == shown:
        return stored
    if not (isinstance(patch, dict) and isinstance(shown, Mapping) and isinstance(stored, dict)):
        return patch
    return {
        name: unmasked(value, shown[name], stored[name]) if name in shown and name in stored else value
        for name, value in patch.items()
    }


def plain(policy: Cadence | RetryPolicy) -> dict[str, Any]:
    """Return a policy as JSON values."""
    values: dict[str, Any] = orjson.loads(orjson.dumps(asdict(policy)))
    return values


def canonical(value: Mapping[str, Any]) -> str:
    """Return canonical JSON: equal values have equal text."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def parsed(model: type[BaseModel], value: Any, prefix: str) -> tuple[Any, list[FieldError]]:
    """Return a value as a model, or its errors."""
    try:
        return model.model_validate(value), []
    except ValidationError as error:
        return None, field_errors(error, prefix, model=model)

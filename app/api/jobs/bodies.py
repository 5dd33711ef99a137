"""Request bodies that create and change jobs, and the validation before a command is sent."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, field_validator

from app.api.http.param_types import SAFE_LINE, SAFE_TEXT
from app.api.http.problems import FieldError, field_error_of, field_errors, invalid
from app.api.jobs.sealing import masked_errors
from app.api.routing.routes import Body
from connectors.catalog import connector
from connectors.contract import JobType
from connectors.redaction import has_credentials
from projections.jobs.cadence import (
    MAX_BLACKOUT_WINDOWS,
    MAX_CRON,
    MAX_INTERVAL_SECONDS,
    InvalidCadenceError,
    check_cadence,
)
from projections.jobs.command_checks import MAX_DESCRIPTION_CHARACTERS, MAX_NAME_CHARACTERS, MAX_SECONDS
from projections.json_object import MAX_JSON_BYTES
from schemas.policies import BlackoutWindow, Cadence, CadenceKind, RetryPolicy

CREATED_BY_UPLOAD: Final = "a job of this type is created by an upload: POST /collect/bulk/{stream}"
MAX_ITEMS: Final = 100  # of any list


def _no_credentials(text: str) -> str:
    if has_credentials(text):
        raise ValueError("has a URL with credentials, and only `configuration` is encrypted: remove them here")
    return text


NO_CREDENTIALS: Final = AfterValidator(_no_credentials)
Seconds = Annotated[int, Field(ge=1, le=MAX_SECONDS)]
JobName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS, pattern=r"\S"), SAFE_LINE, NO_CREDENTIALS]
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION_CHARACTERS), SAFE_TEXT, NO_CREDENTIALS]
JsonObject = dict[str, Any]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
TimeOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


def _limit_items(value: Any) -> Any:
    """Reject a list with too many items before the items are validated."""
    if isinstance(value, list) and len(value) > MAX_ITEMS:
        raise ValueError(f"{len(value):,} items, at most {MAX_ITEMS} are allowed")
    return value


ITEM_LIMIT: Final = BeforeValidator(_limit_items)


class BlackoutWindowBody(Body):
    """A daily period in which the job sleeps, in the time zone of its cadence; it may end on the next day."""

    start: TimeOfDay
    end: TimeOfDay
    days: Annotated[tuple[Day, ...], Field(max_length=7), ITEM_LIMIT] = ()


class CadenceBody(Body):
    """The schedule of a job."""

    kind: CadenceKind = "once"
    every_seconds: Annotated[int, Field(ge=0, le=MAX_INTERVAL_SECONDS)] = 0
    cron: Annotated[str, Field(max_length=MAX_CRON)] = ""
    time_zone: Annotated[str, Field(max_length=100)] = "UTC"
    blackout_windows: Annotated[tuple[BlackoutWindowBody, ...], Field(max_length=MAX_BLACKOUT_WINDOWS), ITEM_LIMIT] = ()

    def to_policy(self) -> Cadence:
        """Return the policy for a command."""
        windows = tuple(BlackoutWindow(**window.model_dump()) for window in self.blackout_windows)
        return Cadence(**self.model_dump(exclude={"blackout_windows"}), blackout_windows=windows)


class RetryBody(Body):
    """The retry policy of a job: the delay after an error doubles from `base_seconds` to `cap_seconds`.

    No delay is below `floor_seconds`. The job fails `give_up_seconds` after the first error since the last success.
    """

    base_seconds: Seconds = 60
    cap_seconds: Seconds = 1800
    floor_seconds: Seconds = 1
    give_up_seconds: Seconds = 36_000

    def to_policy(self) -> RetryPolicy:
        """Return the policy for a command."""
        return RetryPolicy(**self.model_dump())


class _NamedBody(Body):
    """Checks the name of a subclass."""

    @field_validator("name", check_fields=False)
    @classmethod
    def _visible(cls, value: str) -> str:
        if not any(character.isprintable() and not character.isspace() for character in value):
            raise ValueError("a name needs a visible character")
        return value


class CreateBody(_NamedBody):
    """A job to create."""

    name: JobName
    provider: Annotated[str, Field(max_length=100)]
    job_type: Annotated[str, Field(max_length=100)]
    description: Description = ""
    configuration: JsonObject = Field(
        default_factory=dict,
        description="user, password, query and fragment of URLs are encrypted and shown as `•••`",
    )
    cadence: CadenceBody = CadenceBody()
    retry: RetryBody = RetryBody()


class PatchBody(_NamedBody):
    """A merge patch (RFC 7396): only fields that are present change; null in an object removes a field.

    `cursor` replaces the whole cursor.
    """

    name: JobName = ""
    description: Description = ""
    configuration: JsonObject = Field(
        default_factory=dict, description="a value that is sent back as it was shown, with `•••`, keeps its secrets"
    )
    cadence: JsonObject = Field(default_factory=dict)
    retry: JsonObject = Field(default_factory=dict)
    cursor: JsonObject = Field(
        default_factory=dict, description="replaces the whole cursor; `{}` restarts from the beginning"
    )


def find_job_type(provider: str, name: str) -> JobType:
    """Return a job type of a provider.

    Raises:
        ApiProblem: 422, unknown provider or job type.

    """
    module = connector(provider)
    if module is None:
        raise invalid([FieldError("/provider", "no_such_provider", f"no provider {provider!r}")])
    job_type = module.job_type(name)
    if job_type is None:
        names = ", ".join(candidate.name for candidate in module.job_types)
        message = f"{provider} has no job type {name!r}; job types: {names}"
        raise invalid([FieldError("/job_type", "no_such_job_type", message)])
    return job_type


def configuration_errors(
    job_type: JobType, configuration: dict[str, Any], kept: dict[str, Any] | None = None
) -> list[FieldError]:
    """Return the errors of a configuration that can be found without a request to the provider.

    Masked values in it are valid if they keep a sealed one: `kept` is the configuration with the values that it keeps.
    """
    if errors := list(masked_errors(configuration, configuration if kept is None else kept)):
        return errors
    data = orjson.dumps(configuration)
    if len(data) > MAX_JSON_BYTES:
        return [FieldError("/configuration", "too_large", f"a configuration is limited to {MAX_JSON_BYTES:,} bytes")]
    try:
        job_type.config.model_validate_json(data)
    except ValidationError as error:
        return field_errors(error, "/configuration", model=job_type.config)
    return []


def cursor_errors(job_type: JobType, cursor: Mapping[str, Any]) -> list[FieldError]:
    """Return the errors of an edited cursor."""
    if len(orjson.dumps(cursor)) > MAX_JSON_BYTES:
        return [FieldError("/cursor", "too_large", f"a cursor is limited to {MAX_JSON_BYTES:,} bytes")]
    return [
        field_error_of(f"/cursor{problem.field}", problem.code, problem.params)
        for problem in job_type.check_cursor(cursor)
    ]


def cadence_errors(cadence: Cadence, at: datetime) -> list[FieldError]:
    """Return the errors of a cadence. A cron expression and blackout windows must allow a run after `at`."""
    try:
        check_cadence(cadence, at)
    except InvalidCadenceError as error:
        return [field_error_of(f"/cadence{error.pointer}", error.code, error.params)]
    return []


def merge_patch(current: Any, patch: Any) -> Any:
    """Return a value after a merge patch (RFC 7396, section 2)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def policy_json(policy: Cadence | RetryPolicy) -> dict[str, Any]:
    """Return a policy as JSON values."""
    values: dict[str, Any] = orjson.loads(orjson.dumps(asdict(policy)))
    return values


def parse_model(model: type[BaseModel], value: Any, prefix: str) -> tuple[Any, list[FieldError]]:
    """Return a value as a model, and no errors; or None, and the errors. `prefix` precedes their JSON pointers."""
    try:
        return model.model_validate(value), []
    except ValidationError as error:
        return None, field_errors(error, prefix, model=model)

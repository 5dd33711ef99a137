"""Errors of configuration fields: our own codes for validators, and the known fields for one that doesn't exist."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, Final, LiteralString, get_args

from pydantic import BaseModel
from pydantic_core import PydanticCustomError

from schemas.coded import Params

UNKNOWN_FIELD: Final = "extra_forbidden"  # pydantic's type of the error


def field_error(code: LiteralString, params: Params) -> PydanticCustomError:
    """Return an error for a validator to raise. Its sentence is made at the edge, as for all codes."""
    return PydanticCustomError(code, code, dict(params))


def field_names(model: type[BaseModel] | None, location: Sequence[int | str]) -> tuple[str, ...]:
    """Return the fields that exist where pydantic found an unknown one, the most similar first."""
    *path, name = location
    for step in path:
        if model is not None and isinstance(step, str):
            model = next((nested for field, nested in _nested_models(model) if field == step), None)
    if model is None:
        return ()
    return tuple(
        sorted(_field_names(model), key=lambda known: -SequenceMatcher(None, str(name).lower(), known.lower()).ratio())
    )


def _field_names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _nested_models(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        for nested in _models_in(field.annotation):
            yield field.alias or name, nested


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models in an annotation such as `tuple[Inner, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)

"""Errors of configuration fields: codes for validators, and the expected names for an unknown field."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, Final, LiteralString, get_args

from pydantic import BaseModel
from pydantic_core import PydanticCustomError

from schemas.coded import Params

UNKNOWN_FIELD: Final = "extra_forbidden"  # pydantic's type of the error


def field_error(code: LiteralString, params: Params) -> PydanticCustomError:
    """Return an error for validators. The edge formats its sentence, as for all codes."""
    return PydanticCustomError(code, code, dict(params))


def field_names(model: type[BaseModel] | None, location: Sequence[int | str]) -> tuple[str, ...]:
    """Return the valid field names at the location of an unknown field, the most similar first."""
    *path, name = location
    for step in path:
        if model is not None and isinstance(step, str):
            model = next((nested for field, nested in _nested_models(model) if field == step), None)
    if model is None:
        return ()
    return tuple(sorted(_field_names(model), key=lambda field: -_similarity(field, str(name))))


def _similarity(field: str, name: str) -> float:
    return SequenceMatcher(None, name.lower(), field.lower()).ratio()


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

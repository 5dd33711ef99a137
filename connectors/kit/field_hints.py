"""The message for an unknown field of a pydantic model: lists the existing fields, the most similar first."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, Final, get_args

from pydantic import BaseModel

UNKNOWN_FIELD: Final = "extra_forbidden"  # pydantic's type of the error


def unknown_field_message(model: type[BaseModel] | None, location: Sequence[int | str]) -> str:
    """Return the message for an unknown field; `location` is the path that pydantic reports."""
    *path, name = location
    for step in path:
        if model is not None and isinstance(step, str):
            model = next((nested for field, nested in _nested_models(model) if field == step), None)
    if model is None:
        return "unknown field"
    fields = sorted(_field_names(model), key=lambda field: -_similarity(field, str(name)))
    return f"unknown field; expected one of: {', '.join(fields)}" if fields else "no fields are allowed here"


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

"""What to say to a field that a pydantic model doesn't have: the fields there are, the one that was meant first."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, Final, get_args

from pydantic import BaseModel

UNKNOWN: Final = "extra_forbidden"  # as pydantic calls the error


def no_such_field(model: type[BaseModel] | None, location: Sequence[int | str]) -> str:
    """Return the message for an unknown field at a location, as pydantic gives it, in a value of a model."""
    *path, name = location
    for step in path:
        if model is not None and isinstance(step, str):
            model = next((each for field, each in _inner(model) if field == step), None)
    if model is None:
        return "there is no such field"
    known = sorted(_names(model), key=lambda each: -SequenceMatcher(None, str(name).lower(), each.lower()).ratio())
    return f"there is no such field; there are: {', '.join(known)}" if known else "there are no fields here"


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _inner(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        for each in _models(field.annotation):
            yield field.alias or name, each


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models in an annotation such as `tuple[Inner, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _models(each)

"""Sentences for the errors of pydantic, whose own texts name Python's types and its internals."""

from collections.abc import Mapping
from typing import Any, Final

from app.sentences.sentence import fill

OBJECT: Final = "expected an object"
LIST: Final = "expected a list"
TEXT: Final = "expected text"
INTEGER: Final = "expected an integer"
NUMBER: Final = "expected a number"
BOOLEAN: Final = "expected true or false"
TIME: Final = "expected a time with its zone, for example 2026-11-03T14:03:00Z"
SENTENCES: Final = {
    "missing": "required",
    "extra_forbidden": "unknown field",
    "none_required": "expected null",
    "json_invalid": "invalid JSON",
    "json_type": "expected JSON",
    "model_type": OBJECT,
    "model_attributes_type": OBJECT,
    "dataclass_type": OBJECT,
    "dict_type": OBJECT,
    "mapping_type": OBJECT,
    "list_type": LIST,
    "tuple_type": LIST,
    "set_type": LIST,
    "iterable_type": LIST,
    "string_type": TEXT,
    "string_sub_type": TEXT,
    "string_unicode": "expected text in UTF-8",
    "string_too_short": "too short; minimum length: {min_length:,}",
    "string_too_long": "too long; maximum length: {max_length:,}",
    "string_pattern_mismatch": "invalid characters; expected the pattern {pattern}",
    "too_short": "too few items; minimum: {min_length:,}",
    "too_long": "too many items; maximum: {max_length:,}",
    "int_type": INTEGER,
    "int_parsing": INTEGER,
    "int_parsing_size": INTEGER,
    "int_from_float": INTEGER,
    "float_type": NUMBER,
    "float_parsing": NUMBER,
    "finite_number": NUMBER,
    "bool_type": BOOLEAN,
    "bool_parsing": BOOLEAN,
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected at least {ge}",
    "less_than": "expected less than {lt}",
    "less_than_equal": "expected at most {le}",
    "multiple_of": "expected a multiple of {multiple_of}",
    "literal_error": "expected one of: {expected}",
    "enum": "expected one of: {expected}",
    "union_tag_invalid": "expected one of: {expected_tags}",
    "union_tag_not_found": "a required field is missing: {discriminator}",
    "datetime_type": TIME,
    "datetime_parsing": TIME,
    "datetime_from_date_parsing": TIME,
    "datetime_object_invalid": TIME,
    "timezone_aware": TIME,
    "date_type": "expected a date, for example 2026-11-03",
    "date_parsing": "expected a date, for example 2026-11-03",
    "path_type": "expected a path",
    "url_type": "expected a URL",
    "url_parsing": "invalid URL",
    "url_scheme": "expected a URL with one of the schemes {expected_schemes}",
}
OTHER: Final = "invalid value"
OWN: Final = frozenset({"value_error", "assertion_error"})  # their texts are those of our validators


def validation_sentence(error: Mapping[str, Any]) -> str:
    """Return the sentence of an error of pydantic, as `ValidationError.errors()` describes it."""
    code, values = error["type"], error.get("ctx", {})
    if code in OWN:
        return str(values.get("error", error["msg"]))
    return fill(SENTENCES.get(code, OTHER), values)

"""Where sources name codes: each call of a known constructor with a literal code, and the parameters that it gives."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from schemas.coded import CAUSE

ROOT = Path(__file__).parents[1]
# Functions that take a code, and after it its parameters: the position of the code.
CODED = {
    "RefusedError": 0, "JobRefusedError": 0, "DefinitionRefusedError": 0, "InvalidJsonError": 0,
    "InvalidCadenceError": 1, "InvalidExpressionError": 1, "field_refused": 1, "refuse": 0, "UnreadableEventError": 0,
    "UnreadableCommandError": 0, "UnreadableRecordError": 0, "UnreadableMessageError": 0, "BadBatchError": 0,
    "CodedError": 0, "FixConfiguration": 0, "RenewAuthorization": 0, "RetryLater": 0, "RateLimited": 0,
    "ConnectorBug": 0, "MalformedBody": 0, "InvalidRecord": 0, "ConfigurationProblem": 1, "field_error": 0,
    "field_error_of": 1, "Reject": 1, "reject": 0, "because": 0, "caused_by": 0, "invalid_body": 0,
}  # fmt: skip
ADDED = {"InvalidExpressionError": {"position"}}  # parameters that a constructor adds by itself
WRAPPERS = {"because", "caused_by", "invalid_body"}  # their parameters are those of another error


def coded_sites(paths: Iterable[Path]) -> Iterator[tuple[str, str, set[str] | None]]:
    """Yield the place, the code, and the names of the parameters if a dict displays them all."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and (name := _name(node.func)) in CODED:
                yield from _site(f"{path.relative_to(ROOT)}:{node.lineno}", name, node.args[CODED[name] :])


def _name(function: ast.expr) -> str:
    return (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )


def _site(place: str, name: str, arguments: list[ast.expr]) -> Iterator[tuple[str, str, set[str] | None]]:
    match arguments:
        case [ast.Constant(value=str(code)), *rest]:
            names = set() if not rest else None if name in WRAPPERS else _keys(rest[0])
            yield place, code, None if names is None else names | ADDED.get(name, set())
        case [ast.IfExp(body=ast.Constant(value=str(one)), orelse=ast.Constant(value=str(other))), *_]:
            yield place, one, None
            yield place, other, None
        case _:
            pass


def _keys(params: ast.expr) -> set[str] | None:
    if not isinstance(params, ast.Dict):
        return None
    keys = {key.value for key in params.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    unpacked = [value for key, value in zip(params.keys, params.values, strict=True) if key is None]
    if all(isinstance(value, ast.Call) and _name(value.func) == "caused_by" for value in unpacked):
        return keys | ({CAUSE} if unpacked else set())
    return None

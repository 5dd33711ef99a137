"""A body of a megabyte with errors everywhere takes no seconds, and its response stays small."""

import gc
from collections.abc import Callable
from time import process_time
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from app.api.http.problems import ApiProblem, FieldError, field_errors, invalid
from app.api.jobs.bodies import CadenceBody, CreateBody, PatchBody, configuration_errors, cursor_errors, find_job_type
from app.api.routing.parsing import parse_json

JOB = {"name": "x", "provider": "file", "job_type": "import"}
MANY = {f"k{number}": 1 for number in range(100_000)}
JOB_TYPE = find_job_type("file", "import")


def refused_by(model: Any, value: Any) -> list[FieldError]:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(parse_json(orjson.dumps(value)))
    return field_errors(refused.value)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: refused_by(CreateBody, JOB | {"cadence": {"blackout_windows": [1] * 500_000}}),
        lambda: refused_by(
            CreateBody, JOB | {"cadence": {"blackout_windows": [{"start": "1", "end": "2", "days": [1] * 400_000}]}}
        ),
        lambda: refused_by(CreateBody, JOB | MANY),
        lambda: refused_by(CreateBody, JOB | {"retry": MANY}),
        lambda: refused_by(PatchBody, MANY),
        lambda: refused_by(CadenceBody, MANY),
        lambda: refused_by(CreateBody, JOB | {"k" * 900_000: 1}),
        lambda: configuration_errors(JOB_TYPE, {"source": "a", "stream": "b"} | MANY),
        lambda: configuration_errors(JOB_TYPE, {f"k{number}": 1 for number in range(20_000)}),
        lambda: cursor_errors(JOB_TYPE, MANY),
        lambda: cursor_errors(JOB_TYPE, {f"k{number}": 1 for number in range(20_000)}),
    ],
)
def test_a_flood_is_rejected_at_once_with_a_short_message(ask: Callable[[], list[FieldError]]) -> None:
    gc.freeze()  # what other tests left behind is none of its work
    started = process_time()
    answer = invalid(ask()).response("r").body
    spent = process_time() - started
    gc.unfreeze()
    assert spent < 1
    assert isinstance(answer, bytes)
    assert len(answer) < 50_000
    assert b'"errors":[{"pointer":' in answer


def test_omitted_errors_are_counted() -> None:
    problem: ApiProblem = invalid([FieldError(f"/{number}", "bad", "no") for number in range(250)])
    assert [error.message for error in problem.errors[-2:]] == ["no", "and 150 more"]
    assert problem.detail.endswith("/18, /19 and 230 more")
    assert invalid(problem.errors[:1]).errors == problem.errors[:1]

"""What every connector has to be. New ones are found by themselves, and there are no exceptions."""

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.catalog import catalog, connector, is_pushed
from connectors.contract import Connector, JobType

CONNECTORS = sorted(catalog().values(), key=lambda each: each.name)
JOB_TYPES = [(each, job_type) for each in CONNECTORS for job_type in each.job_types]
each_connector = pytest.mark.parametrize("each", CONNECTORS, ids=[each.name for each in CONNECTORS])
each_job_type = pytest.mark.parametrize(
    ("each", "job_type"), JOB_TYPES, ids=[f"{each.name}/{job_type.name}" for each, job_type in JOB_TYPES]
)
PARTS = ["Config", "_job_types", "check", "read", "CONNECTOR"]


def module_path(each: Connector) -> Path:
    return Path(inspect.getfile(each.job_types[0].check))


def test_the_catalogue_holds_them_by_name() -> None:
    assert "file" in catalog()
    assert connector("file") is catalog()["file"]
    assert connector("nobody") is None
    assert list(catalog()) == sorted(catalog())


@each_connector
def test_it_says_what_it_is_and_where_its_interface_is_documented(each: Connector) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]{1,30}", each.name)
    assert module_path(each).stem == each.name, "a connector is the file of its name"
    assert each.title
    assert each.description.endswith(".")
    assert each.documentation.startswith("https://")
    assert each.job_types


@each_connector
def test_its_file_has_the_parts_in_their_order(each: Connector) -> None:
    tree = ast.parse(module_path(each).read_text())
    assert len((ast.get_docstring(tree) or "").split(". ")) >= 2, (
        "say what it is, and where its interface is documented"
    )
    names: dict[str, int] = {}
    for at, node in enumerate(tree.body):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names[name] = at
            case ast.AnnAssign(target=ast.Name(id=name)):
                names[name] = at
    places = [names[part] for part in PARTS if part in names]
    assert places == sorted(places), f"the parts of a connector come in this order: {', '.join(PARTS)}"
    assert names["CONNECTOR"] == len(tree.body) - 1


@each_connector
def test_it_imports_no_other_connector(each: Connector) -> None:
    others = {f"connectors.{other.name}" for other in CONNECTORS if other != each}
    tree = ast.parse(module_path(each).read_text())
    assert not {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} & others


@each_job_type
def test_its_configuration_makes_a_form(each: Connector, job_type: JobType) -> None:
    schema = job_type.config.model_json_schema()
    json.dumps(schema)
    assert schema["additionalProperties"] is False, "an unknown field is an error, not silence"
    assert schema.get("description")
    for name, field in schema["properties"].items():
        assert field.get("title"), name
        assert len(field.get("description", "")) > 10, name
        assert field.get("examples"), name
    assert job_type.title
    assert job_type.description.endswith(".")


@each_job_type
def test_a_wrong_cursor_is_told_and_the_empty_one_is_right(each: Connector, job_type: JobType) -> None:
    assert job_type.check_cursor({}) == ()
    problems = job_type.check_cursor({"nothing_like_this": 1})
    assert [problem.field for problem in problems] == ["/nothing_like_this"]


@each_job_type
def test_its_data_is_fetched_or_comes_with_a_request(each: Connector, job_type: JobType) -> None:
    assert job_type.pushed == (job_type.read is None)
    assert is_pushed(each.name, job_type.name) == job_type.pushed


@each_connector
def test_redacting_keeps_what_is_harmless_and_takes_urls_their_credentials(each: Connector) -> None:
    assert each.redact({"stream": "s"}) == {"stream": "s"}
    shown = each.redact({"source": "https://user:hidden@example.com/a?key=hidden", "stream": "s"})
    assert "hidden" not in json.dumps(dict(shown))


def test_knowing_the_catalogue_costs_no_heavy_library() -> None:
    script = "import sys; from connectors.catalog import catalog; catalog(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pyarrow", "polars", "pandas"} & set(loaded)

"""The rules for connectors, checked for every module in the catalog and for the example of the documentation.

Each assertion explains what is missing.
"""

import ast
import inspect
import json
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from app.sentences.codes import SENTENCES
from app.sentences.sentence import fields_of, fill
from connectors.catalog import catalog, connector, is_pushed
from connectors.contract import Connector, Cursor, JobType, Limits
from tests.coded_sites import coded_sites

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "connectors" / "countdown.py"


def example() -> Connector:
    """Load the connector of the documentation as a module of `connectors.providers`."""
    spec = spec_from_file_location(f"connectors.providers.{EXAMPLE.stem}", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    declared: Connector = module.CONNECTOR
    return declared


CONNECTORS = [*sorted(catalog().values(), key=lambda provider: provider.name), example()]
JOB_TYPES = [(provider, job_type) for provider in CONNECTORS for job_type in provider.job_types]
all_connectors = pytest.mark.parametrize("provider", CONNECTORS, ids=[provider.name for provider in CONNECTORS])
all_job_types = pytest.mark.parametrize(
    ("provider", "job_type"), JOB_TYPES, ids=[f"{provider.name}/{job_type.name}" for provider, job_type in JOB_TYPES]
)
PARTS = ["Config", "_job_types", "check", "read", "CONNECTOR"]


def module_path(provider: Connector) -> Path:
    return Path(inspect.getfile(provider.job_types[0].check))


def test_the_catalog_is_sorted_by_name() -> None:
    assert "file" in catalog()
    assert connector("file") is catalog()["file"]
    assert connector("missing") is None
    assert list(catalog()) == sorted(catalog())


@all_connectors
def test_a_connector_has_a_name_a_title_a_description_and_a_link(provider: Connector) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]{1,30}", provider.name), "a name has 2 to 31 of a-z, 0-9 and _, a letter first"
    assert module_path(provider).stem == provider.name, "the module of a connector has its name"
    assert provider.title, "CONNECTOR needs a title"
    assert provider.description.endswith("."), "the description of CONNECTOR is a sentence with a full stop"
    assert provider.documentation.startswith("https://"), "CONNECTOR needs a `documentation` URL with https://"
    assert provider.job_types, "CONNECTOR needs a job type"


@all_connectors
def test_the_parts_of_a_module_have_a_fixed_order(provider: Connector) -> None:
    tree = ast.parse(module_path(provider).read_text())
    assert len((ast.get_docstring(tree) or "").split(". ")) >= 2, (
        "the docstring has two sentences: what it is, and where its interface is documented"
    )
    positions = {name: index for index, node in enumerate(tree.body) for name in defined_names(node)}
    actual = [positions[part] for part in PARTS if part in positions]
    assert actual == sorted(actual), f"the parts of a connector have this order: {', '.join(PARTS)}"
    assert positions.get("CONNECTOR") == len(tree.body) - 1, (
        "the last line of the file is `CONNECTOR: Final = Connector(…)`"
    )


def defined_names(node: ast.stmt) -> list[str]:
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return [name]
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return [name]
        case _:
            return []


@all_connectors
def test_a_connector_imports_no_other_connector(provider: Connector) -> None:
    others = {f"connectors.providers.{other.name}" for other in CONNECTORS if other != provider}
    tree = ast.parse(module_path(provider).read_text())
    assert not {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} & others, (
        "move code shared by connectors to connectors.kit"
    )


@all_connectors
def test_each_code_has_a_sentence_and_gets_its_parameters(provider: Connector) -> None:
    for place, code, names in coded_sites([module_path(provider)]):
        template = provider.sentences.get(code) or SENTENCES.get(code)
        assert template, f"{place}: add a sentence of {code!r} to `sentences` of CONNECTOR"
        needed, _ = fields_of(template)
        assert names is None or needed <= names, f"{place}: the sentence of {code!r} needs {sorted(needed - names)}"


@all_connectors
def test_sentences_are_valid_templates(provider: Connector) -> None:
    for code, template in provider.sentences.items():
        needed, optional = fields_of(template)
        assert fill(template, dict.fromkeys(needed | optional, "x")), f"{code}: the template is invalid"


@all_job_types
def test_a_configuration_can_be_shown_as_a_form(provider: Connector, job_type: JobType) -> None:
    schema = job_type.config.model_json_schema()
    json.dumps(schema)
    assert schema.get("additionalProperties") is False, (
        'unknown fields have to be errors: Config needs `model_config = ConfigDict(extra="forbid")`'
    )
    assert schema.get("description"), "Config needs a docstring: the form shows it as its heading"
    for name, field in schema.get("properties", {}).items():
        assert field.get("title"), f"{name}: needs a title, the label in the form"
        assert len(field.get("description", "")) > 10, f"{name}: needs a description"
        assert field.get("examples"), f"{name}: needs examples, such as examples=[…]"
    assert job_type.title, f"{job_type.name}: needs a title"
    assert job_type.description.endswith("."), f"{job_type.name}: its description is a sentence with a full stop"


@all_job_types
def test_an_invalid_cursor_is_reported_and_the_empty_one_is_valid(provider: Connector, job_type: JobType) -> None:
    assert job_type.check_cursor({}) == (), "{} is the start and always valid"
    problems = job_type.check_cursor({"unknown_name": 1})
    assert [problem.field for problem in problems] == ["/unknown_name"], (
        "check_cursor reports unknown names; the default check_cursor accepts {} only"
    )


@all_job_types
def test_a_job_type_without_read_is_pushed(provider: Connector, job_type: JobType) -> None:
    assert job_type.pushed == (job_type.read is None)
    assert is_pushed(provider.name, job_type.name) == job_type.pushed


@all_job_types
def test_redacting_keeps_values_that_are_no_secrets(provider: Connector, job_type: JobType) -> None:
    public = {name: examples[0] for name, examples in examples_of(job_type).items() if not is_url(examples[0])}
    assert provider.redact(public) == public, "redact hides only secrets"


@all_job_types
def test_redacting_removes_credentials_from_urls(provider: Connector, job_type: JobType) -> None:
    for name in (name for name, examples in examples_of(job_type).items() if any(map(is_url, examples))):
        redacted = provider.redact({name: "https://user:hidden@example.com/a?key=hidden"})
        assert "hidden" not in json.dumps(dict(redacted)), f"{name}: redact hides credentials and query of a URL"


@all_job_types
def test_redacting_hides_secrets(provider: Connector, job_type: JobType) -> None:
    for name, field in job_type.config.model_json_schema().get("properties", {}).items():
        if field.get("writeOnly"):
            redacted = provider.redact({name: "hidden"})
            assert "hidden" not in json.dumps(dict(redacted)), (
                f"{name} is a secret: CONNECTOR needs a `redact` that hides it"
            )


def examples_of(job_type: JobType) -> dict[str, list[Any]]:
    properties = job_type.config.model_json_schema().get("properties", {})
    return {name: field.get("examples") or [""] for name, field in properties.items() if not field.get("writeOnly")}


def is_url(value: object) -> bool:
    return "://" in str(value)


async def test_the_documented_example_resumes_after_every_batch() -> None:
    (job_type,) = example().job_types
    config = job_type.config.model_validate({"stream": "launch", "begin": 3})
    assert await job_type.check(config, Limits()) == ()

    async def read(cursor: Cursor) -> list[Any]:
        assert job_type.read is not None
        return [batch async for batch in job_type.read(config, cursor, Limits())]

    batches = await read({})
    assert b"".join(batch.payload for batch in batches) == b'{"number":3}\n{"number":2}\n{"number":1}\n{"number":0}\n'
    assert [batch.first_row for batch in batches] == [1, 2, 3, 4]
    for index, batch in enumerate(batches):
        assert await read(batch.cursor) == batches[index + 1 :]


def test_the_documented_example_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 40


def test_the_catalog_imports_no_heavy_library() -> None:
    script = "import sys; from connectors.catalog import catalog; catalog(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pyarrow", "polars", "pandas"} & set(loaded)

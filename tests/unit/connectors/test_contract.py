"""What every connector has to be. New ones are found by themselves, and there are no exceptions.

Each says in words what is missing. The example of the documentation has to be one as well.
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

from connectors.catalog import catalog, connector, is_pushed
from connectors.contract import Connector, Cursor, JobType, Limits

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "connectors" / "countdown.py"


def example() -> Connector:
    """Return the connector of the documentation, loaded as if it stood in `connectors`."""
    spec = spec_from_file_location(f"connectors.providers.{EXAMPLE.stem}", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Connector = module.CONNECTOR
    return found


CONNECTORS = [*sorted(catalog().values(), key=lambda each: each.name), example()]
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
    assert re.fullmatch(r"[a-z][a-z0-9_]{1,30}", each.name), "a name has 2 to 31 of a-z, 0-9 and _, a letter first"
    assert module_path(each).stem == each.name, "a connector is the file of its name"
    assert each.title, "CONNECTOR needs a title"
    assert each.description.endswith("."), "the description of CONNECTOR is a sentence, with its full stop"
    assert each.documentation.startswith("https://"), "CONNECTOR names where its interface is documented, by https://"
    assert each.job_types, "CONNECTOR needs a job type"


@each_connector
def test_its_file_has_the_parts_in_their_order(each: Connector) -> None:
    tree = ast.parse(module_path(each).read_text())
    assert len((ast.get_docstring(tree) or "").split(". ")) >= 2, (
        "the docstring has two sentences: what it is, and where its interface is documented"
    )
    names = {name: at for at, node in enumerate(tree.body) for name in named(node)}
    places = [names[part] for part in PARTS if part in names]
    assert places == sorted(places), f"the parts of a connector come in this order: {', '.join(PARTS)}"
    assert names.get("CONNECTOR") == len(tree.body) - 1, (
        "the last line of the file is `CONNECTOR: Final = Connector(…)`"
    )


def named(node: ast.stmt) -> list[str]:
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return [name]
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return [name]
        case _:
            return []


@each_connector
def test_it_imports_no_other_connector(each: Connector) -> None:
    others = {f"connectors.providers.{other.name}" for other in CONNECTORS if other != each}
    tree = ast.parse(module_path(each).read_text())
    assert not {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} & others, (
        "what two connectors share stands in a module of its own"
    )


@each_job_type
def test_its_configuration_makes_a_form(each: Connector, job_type: JobType) -> None:
    schema = job_type.config.model_json_schema()
    json.dumps(schema)
    assert schema.get("additionalProperties") is False, (
        'an unknown field is an error, not silence: Config needs `model_config = ConfigDict(extra="forbid")`'
    )
    assert schema.get("description"), "Config needs a docstring: it stands over the form"
    for name, field in schema.get("properties", {}).items():
        assert field.get("title"), f"{name}: needs a title, which stands beside it in the form"
        assert len(field.get("description", "")) > 10, f"{name}: needs a description of what it is"
        assert field.get("examples"), f"{name}: needs examples, such as examples=[…]"
    assert job_type.title, f"{job_type.name}: needs a title"
    assert job_type.description.endswith("."), f"{job_type.name}: its description is a sentence, with its full stop"


@each_job_type
def test_a_wrong_cursor_is_told_and_the_empty_one_is_right(each: Connector, job_type: JobType) -> None:
    assert job_type.check_cursor({}) == (), "{} is the start, and always right"
    problems = job_type.check_cursor({"nothing_like_this": 1})
    assert [problem.field for problem in problems] == ["/nothing_like_this"], (
        "check_cursor names what it doesn't know; without a check_cursor of its own, a connector takes {} only"
    )


@each_job_type
def test_its_data_is_fetched_or_comes_with_a_request(each: Connector, job_type: JobType) -> None:
    assert job_type.pushed == (job_type.read is None)
    assert is_pushed(each.name, job_type.name) == job_type.pushed


@each_job_type
def test_redacting_keeps_what_is_harmless(each: Connector, job_type: JobType) -> None:
    harmless = {name: examples[0] for name, examples in examples_of(job_type).items() if not is_url(examples[0])}
    assert each.redact(harmless) == harmless, "redact hides secrets, and nothing else"


@each_job_type
def test_redacting_takes_urls_their_credentials(each: Connector, job_type: JobType) -> None:
    for name in (name for name, examples in examples_of(job_type).items() if any(map(is_url, examples))):
        shown = each.redact({name: "https://user:hidden@example.com/a?key=hidden"})
        assert "hidden" not in json.dumps(dict(shown)), f"{name}: redact hides the credentials and the query of a URL"


@each_job_type
def test_redacting_hides_secrets(each: Connector, job_type: JobType) -> None:
    for name, field in job_type.config.model_json_schema().get("properties", {}).items():
        if field.get("writeOnly"):
            shown = each.redact({name: "hidden"})
            assert "hidden" not in json.dumps(dict(shown)), (
                f"{name} is a secret: CONNECTOR needs a `redact` that hides it"
            )


def examples_of(job_type: JobType) -> dict[str, list[Any]]:
    properties = job_type.config.model_json_schema().get("properties", {})
    return {name: field.get("examples") or [""] for name, field in properties.items() if not field.get("writeOnly")}


def is_url(value: object) -> bool:
    return "://" in str(value)


async def test_the_example_of_the_documentation_reads_and_goes_on_behind_every_batch() -> None:
    (kind,) = example().job_types
    config = kind.config.model_validate({"stream": "launch", "begin": 3})
    assert await kind.check(config, Limits()) == ()

    async def read(cursor: Cursor) -> list[Any]:
        assert kind.read is not None
        return [each async for each in kind.read(config, cursor, Limits())]

    batches = await read({})
    assert b"".join(each.payload for each in batches) == b'{"number":3}\n{"number":2}\n{"number":1}\n{"number":0}\n'
    assert [each.first_row for each in batches] == [1, 2, 3, 4]
    for at, each in enumerate(batches):
        assert await read(each.cursor) == batches[at + 1 :]


def test_the_example_of_the_documentation_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 40


def test_knowing_the_catalogue_costs_no_heavy_library() -> None:
    script = "import sys; from connectors.catalog import catalog; catalog(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pyarrow", "polars", "pandas"} & set(loaded)

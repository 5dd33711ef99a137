"""The rules of the house that no other tool checks: short modules, short functions, words at the door, real twins."""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FLOORS = ("app", "connectors", "projections", "schemas")
MODULES = [path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py"))]
MAX_MODULE_LINES, MAX_FUNCTION_LINES, MAX_FOLDER_MODULES = 500, 40, 12
CATALOGUE = ROOT / "connectors" / "providers"  # one module a provider, however many there are
UNFINISHED = re.compile(r"\b(?:TO[D]O|FIX[M]E|X[X]X)\b")  # spelled so that it doesn't find itself
HOMES = re.compile(rb"(?<![\w.])/(?:home|Users|wor[k])/[\w.-]+/")
MOCKS = {"unittest.mock", "mock"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / each for each in listed.stdout.decode().split("\0") if each]
    return [each for each in paths if each.is_file()]


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_fits_in_a_head(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= MAX_MODULE_LINES, f"{name(path)} has {lines} lines; cut it where two things meet"


def test_a_folder_fits_on_a_screen() -> None:
    modules = Counter(path.parent for path in MODULES if path.stem != "__init__")
    too_wide = {name(folder): count for folder, count in modules.items() if count > MAX_FOLDER_MODULES}
    too_wide.pop(name(CATALOGUE), None)
    assert too_wide == {}, f"more than {MAX_FOLDER_MODULES} modules in a folder; group them by what they are about"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    too_long = {
        f"{each.name} (line {each.lineno})": length
        for each in functions(path)
        if (length := (each.end_lineno or 0) - each.lineno + 1) > MAX_FUNCTION_LINES
    }
    assert not too_long, f"{name(path)}: longer than {MAX_FUNCTION_LINES} lines"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_and_what_it_offers_say_what_they_are_for(path: Path) -> None:
    module = tree(path)
    assert ast.get_docstring(module), f"{name(path)} opens without a sentence on what it is for"
    offered = [node for node in module.body if isinstance(node, Function | ast.ClassDef) and node.name[0] != "_"]
    for node in offered:
        assert ast.get_docstring(node), f"{name(path)}: {node.name} doesn't say what it is for"


@pytest.mark.parametrize("path", [*MODULES, *sorted((ROOT / "tests").rglob("*.py"))], ids=name)
def test_twins_are_real(path: Path) -> None:
    for node in ast.walk(tree(path)):
        imported = {node.module} if isinstance(node, ast.ImportFrom) else set()
        imported |= {each.name for each in node.names} if isinstance(node, ast.Import) else set()
        assert not imported & MOCKS, f"{name(path)} line {node.lineno}: use a real twin"  # type: ignore[attr-defined]


def test_nothing_unfinished_is_committed() -> None:
    unfinished = [name(path) for path in committed() if path.suffix == ".py" and UNFINISHED.search(path.read_text())]
    assert unfinished == []


def test_nothing_committed_knows_this_machine() -> None:
    found = {f"{name(path)}: {each.decode()}" for path in committed() for each in HOMES.findall(path.read_bytes())}
    assert found == set()


def test_the_root_is_a_table_of_contents() -> None:
    """No drawer for odds and ends: a module is named after what a newcomer would look for."""
    assert [name(path) for path in MODULES if path.stem in {"utils", "util", "helpers", "common", "misc"}] == []


def test_what_runs_is_pinned_as_it_is_tested() -> None:
    runtime, dev = (pins(ROOT / "requirements" / each) for each in ("runtime.txt", "dev.txt"))
    assert runtime <= dev, "run `make lock`"
    assert "setuptools" in {name for name, _ in dev}, "it builds the package, also for `make run`"


def pins(path: Path) -> set[tuple[str, str]]:
    return set(re.findall(r"^([\w.\[\],-]+)==([^\s;]+)", path.read_text(), re.MULTILINE))


KAFKA_CLIENTS = {"AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient"}


def test_kafka_clients_are_made_in_one_place() -> None:
    """Faust makes those of `safe_faust` itself."""
    makers = {
        name(path)
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Name | ast.Attribute | ast.alias)
        if KAFKA_CLIENTS & {getattr(node, field, None) for field in ("id", "attr", "name")}
    }
    assert makers == {"app/kafka/clients.py"}, "use `app.kafka.clients`"

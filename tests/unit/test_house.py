"""Project rules that no other tool checks, such as the length of modules and functions."""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LAYERS = ("app", "connectors", "projections", "schemas")
MODULES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]
MAX_MODULE_LINES, MAX_FUNCTION_LINES, MAX_FOLDER_MODULES = 500, 40, 12
CATALOGUE = ROOT / "connectors" / "providers"  # one module a provider, however many there are
EXCEPTION = re.compile(r"# (?:noqa|type: ignore)\b")
UNEXPLAINED = re.compile(r"(?:noqa: [A-Z0-9, ]+|type: ignore\[[a-z, -]+\]|noqa|type: ignore)\s*")
UNFINISHED = re.compile(r"\b(?:TO[D]O|FIX[M]E|X[X]X)\b")  # written so that it does not match itself
LOCAL_PATHS = re.compile(rb"(?<![\w.])/(?:home|Users|wor[k])/[\w.-]+/")

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
    paths = [ROOT / part for part in listed.stdout.decode().split("\0") if part]
    return [path for path in paths if path.is_file()]


def test_modules_are_short() -> None:
    lengths = {name(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    too_long = {module: lines for module, lines in lengths.items() if lines > MAX_MODULE_LINES}
    assert too_long == {}, f"longer than {MAX_MODULE_LINES} lines; split it by topic"


def test_a_folder_has_few_modules() -> None:
    modules = Counter(path.parent for path in MODULES if path.stem != "__init__")
    too_wide = {name(folder): count for folder, count in modules.items() if count > MAX_FOLDER_MODULES}
    too_wide.pop(name(CATALOGUE), None)
    assert too_wide == {}, f"more than {MAX_FOLDER_MODULES} modules in a folder; group them by topic"


def test_functions_are_short() -> None:
    too_long = {
        f"{name(path)}:{function.lineno} {function.name}": length
        for path in MODULES
        for function in functions(path)
        if (length := (function.end_lineno or 0) - function.lineno + 1) > MAX_FUNCTION_LINES
    }
    assert too_long == {}, f"longer than {MAX_FUNCTION_LINES} lines"


def test_nothing_unfinished_is_committed() -> None:
    unfinished = [name(path) for path in committed() if path.suffix == ".py" and UNFINISHED.search(path.read_text())]
    assert unfinished == []


def test_every_exception_from_a_check_has_its_reason() -> None:
    unexplained = [
        f"{name(path)}:{number}"
        for path in committed()
        if path.suffix == ".py"
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        for tag in EXCEPTION.finditer(line)
        if UNEXPLAINED.fullmatch(line[tag.start() + 2 :])
    ]
    assert unexplained == [], "say why, behind it on the same line"


def test_committed_files_name_no_local_paths() -> None:
    paths = {
        f"{name(path)}: {match.decode()}" for path in committed() for match in LOCAL_PATHS.findall(path.read_bytes())
    }
    assert paths == set()


def test_no_module_is_a_catch_all() -> None:
    """A module is named for its topic."""
    assert [name(path) for path in MODULES if path.stem in {"utils", "util", "helpers", "common", "misc"}] == []


def test_runtime_and_test_requirements_have_the_same_pins() -> None:
    runtime, dev = (pins(ROOT / "requirements" / file) for file in ("runtime.txt", "dev.txt"))
    assert runtime <= dev, "run `make lock`"
    assert "setuptools" in {name for name, _ in dev}, "it builds the package, also for `make run`"


def pins(path: Path) -> set[tuple[str, str]]:
    return set(re.findall(r"^([\w.\[\],-]+)==([^\s;]+)", path.read_text(), re.MULTILINE))


KAFKA_CLIENTS = {"AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient"}


def test_kafka_clients_are_constructed_in_one_module() -> None:
    """Faust constructs the clients of `safe_faust`."""
    constructors = {
        name(path)
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Name | ast.Attribute | ast.alias)
        if KAFKA_CLIENTS & {getattr(node, field, None) for field in ("id", "attr", "name")}
    }
    assert constructors == {"app/kafka/clients.py"}, "use `app.kafka.clients`"

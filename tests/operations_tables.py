"""The tables of docs/operations.md that are made from the code: settings, exit codes, topics, roles."""

from pathlib import Path
from typing import Any

from app.cli.exits import EXITS
from app.roles import ROLES
from app.settings import Settings
from schemas.topics import FOR_EVER, TOPICS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operations.md"


def tables() -> dict[str, str]:
    """Return the tables by the name that the page's markers have."""
    settings = [
        (f"`ENTREPOT_{name.upper()}`", _default(field), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    exits = [(str(code), meaning) for code, meaning in EXITS.items()]
    roles = [(f"`{each.name}`", each.does) for each in ROLES]
    topics = [
        (
            f"`{each.name}`",
            each.key,
            "for ever" if each.retention_ms == FOR_EVER else f"{each.retention_ms // 86_400_000} days",
            each.carries,
        )
        for each in TOPICS.values()
    ]
    return {
        "settings": _table(("setting", "default", "what it is"), settings),
        "exits": _table(("code", "meaning"), exits),
        "roles": _table(("role", "does"), roles),
        "topics": _table(("topic", "key", "kept", "carries"), topics),
    }


def filled(page: str) -> str:
    """Return the page with every table as it has to be."""
    for name, table in tables().items():
        begin, end = f"<!-- {name}: made by `make words` -->\n", f"<!-- end of {name} -->"
        head, found, rest = page.partition(begin)
        assert found, f"the marker of {name} is missing"
        page = f"{head}{begin}{table}\n{end}{rest.partition(end)[2]}"
    return page


def _default(field: Any) -> str:
    match field.default:
        case None | "" | ():
            return ""
        case bool():
            return f"`{str(field.default).lower()}`"
        case _:
            return f"`{field.default}`"


def _table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [titles, tuple("---" for _ in titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

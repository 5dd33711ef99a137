"""Write what is made from the code: new Avro versions with their ids, golden files, the page about a job's life.

Run by `make words`. Versions and golden files are never changed: a word that changed gets a new version, and only
when old readers and old records can live with it.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from projections.jobs.transitions import TRANSITIONS, mermaid  # noqa: E402  # the path comes first
from schemas.wire import catalog  # noqa: E402
from schemas.wire.codec import encode  # noqa: E402
from tests.avro_compatibility import problems  # noqa: E402
from tests.golden import histories, rulebooks, samples  # noqa: E402
from tests.operations_tables import PAGE, filled  # noqa: E402

AVRO = ROOT / "schemas" / "avro"
GOLDEN = ROOT / "tests" / "golden"
JOB_LIFE = ROOT / "docs" / "job-life.md"
WHAT_COMMANDS_DO = {
    "CreateJob": "create",
    "RenameJob": "rename",
    "ConfigureJob": "configure",
    "PauseJob": "pause",
    "ResumeJob": "resume",
    "RunJob": "run now",
    "KillJob": "kill",
    "RestoreJob": "restore",
    "EditCursor": "edit cursor",
    "WakeJob": "clock: wake",
    "PurgeJob": "clock: purge",
    "ReportProgress": "runner: progress",
    "ReportError": "runner: error",
    "ReportRateLimit": "runner: rate limit",
}


def words() -> None:
    lock = AVRO / "ids.json"
    ids: dict[str, dict[str, int]] = json.loads(lock.read_text()) if lock.exists() else {}
    for name in catalog.WORDS:
        schema = catalog.current_schema(name)
        known = ids.setdefault(name, {})
        stored = [json.loads((AVRO / catalog.file_name(name, int(version))).read_text()) for version in known]
        if stored and catalog.without_docs(stored[-1]) == catalog.without_docs(schema):
            continue
        for old in stored:
            refuse_breaking(name, old, schema)
        version = 1 + len(stored)
        write_once(AVRO / catalog.file_name(name, version), schema)
        known[str(version)] = 1 + max((each for of in ids.values() for each in of.values()), default=0)
    lock.write_text(json.dumps(ids, indent=2) + "\n")


def refuse_breaking(name: str, old: Any, new: Any) -> None:
    found = [f"a new reader, an old record: {each}" for each in problems(old, new)]
    found += [f"an old reader, a new record: {each}" for each in problems(new, old)]
    if found:
        sys.exit(f"{name} changed in a way that breaks; give the field a default instead:\n  " + "\n  ".join(found))


def golden_words() -> None:
    for version in catalog.newest().values():
        path = GOLDEN / "words" / f"{catalog.file_name(version.name, version.version).removesuffix('.avsc')}.json"
        made = {"full": samples.full(version.word), "bare": samples.bare(version.word)}
        content = {kind: {"hex": encode(word).hex(), "word": samples.shown(word)} for kind, word in made.items()}
        write_once(path, {"schema_id": version.id, **content})


def golden_histories() -> None:
    for folder, history in [
        *(("histories", each) for each in histories.HISTORIES),
        *(("rulebooks", each) for each in rulebooks.RULEBOOKS),
    ]:
        told: Any = history()
        content = {
            "what": history.__doc__,
            "commands": [f"{type(each).__name__} {encode(each).hex()}" for each in told.commands],
            "events": [f"{type(each).__name__} {encode(each).hex()}" for each in told.events],
        }
        write_once(GOLDEN / folder / f"{history.__name__}.json", content)


def write_once(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def job_life() -> str:
    """Return the page: the picture, and one row for each command."""
    phases = list(TRANSITIONS)
    rows = [[said, *(cell(phase, command) for phase in phases)] for command, said in WHAT_COMMANDS_DO.items()]
    lines = [["", *phases], ["---"] * (1 + len(phases)), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        "# A job's life\n\n"
        "Made from `projections/jobs/transitions.py` by `make words`; don't edit it here.\n\n"
        f"```mermaid\n{mermaid()}\n```\n\n"
        "What a command can lead to, by the phase that the job is in. `·` leaves it where it is; an empty cell is\n"
        "refused, and the refusal lists what would do.\n\n"
        f"{table}\n"
    )


def cell(phase: str, command: str) -> str:
    targets = TRANSITIONS[phase].get(command)
    return "" if targets is None else ", ".join(targets) or "·"


if __name__ == "__main__":
    words()
    golden_words()
    golden_histories()
    JOB_LIFE.write_text(job_life(), "utf-8")
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")

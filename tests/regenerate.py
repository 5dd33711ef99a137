"""Write the generated files: Avro schemas and ids, golden samples, and the diagrams and tables in `docs`.

Run by `make generate`. Golden files and existing schema versions are never changed, except for documentation: a
changed record gets a new version, and only if it is compatible with old readers and old records.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from projections.jobs.transitions import TRANSITIONS, mermaid  # noqa: E402  # needs the path above
from schemas.wire import catalog  # noqa: E402  # as above
from schemas.wire.codec import encode  # noqa: E402  # as above
from tests.avro_compatibility import problems  # noqa: E402  # as above
from tests.golden import definition_histories, job_histories, samples  # noqa: E402  # as above
from tests.operations_tables import PAGE, filled  # noqa: E402  # as above
from tests.phone_plans import PLANS, phone_plans  # noqa: E402  # as above

AVRO = ROOT / "schemas" / "avro"
GOLDEN = ROOT / "tests" / "golden"
JOB_LIFE = ROOT / "docs" / "job-life.md"
COMMAND_LABELS = {
    "CreateJob": "create",
    "RenameJob": "rename",
    "ConfigureJob": "configure",
    "PauseJob": "pause",
    "ResumeJob": "resume",
    "RunJob": "run now",
    "KillJob": "kill",
    "RestoreJob": "restore",
    "EditCursor": "edit cursor",
    "WakeJob": "scheduler: wake",
    "PurgeJob": "scheduler: purge",
    "ReportProgress": "runner: progress",
    "ReportError": "runner: error",
    "ReportRateLimit": "runner: rate limit",
    "ReportQueued": "runner: queued",
}


def write_schemas() -> None:
    lock = AVRO / "ids.json"
    ids: dict[str, dict[str, int]] = json.loads(lock.read_text()) if lock.exists() else {}
    for name in catalog.RECORD_TYPES:
        schema = catalog.current_schema(name)
        versions = ids.setdefault(name, {})
        stored = [json.loads((AVRO / catalog.file_name(name, int(version))).read_text()) for version in versions]
        if stored and catalog.without_docs(stored[-1]) == catalog.without_docs(schema):
            write(AVRO / catalog.file_name(name, len(stored)), schema)  # the documentation may have changed
            continue
        for old in stored:
            reject_incompatible(name, old, schema)
        version = 1 + len(stored)
        write_once(AVRO / catalog.file_name(name, version), schema)
        versions[str(version)] = 1 + max((id_ for by_version in ids.values() for id_ in by_version.values()), default=0)
    lock.write_text(json.dumps(ids, indent=2) + "\n")


def reject_incompatible(name: str, old: Any, new: Any) -> None:
    faults = [f"new reader, old record: {problem}" for problem in problems(old, new)]
    faults += [f"old reader, new record: {problem}" for problem in problems(new, old)]
    if faults:
        sys.exit(f"{name}: incompatible change; give the field a default instead:\n  " + "\n  ".join(faults))


def golden_records() -> None:
    for version in catalog.newest().values():
        path = GOLDEN / "records" / f"{catalog.file_name(version.name, version.version).removesuffix('.avsc')}.json"
        values = {"full": samples.full(version.record_type), "bare": samples.bare(version.record_type)}
        content = {
            kind: {"hex": encode(record).hex(), "value": samples.as_json(record)} for kind, record in values.items()
        }
        write_once(path, {"schema_id": version.id, **content})


def golden_histories() -> None:
    for folder, history in [
        *(("jobs", history) for history in job_histories.JOB_HISTORIES),
        *(("definitions", history) for history in definition_histories.DEFINITION_HISTORIES),
    ]:
        recorded: Any = history()
        content = {
            "description": history.__doc__,
            "commands": [f"{type(command).__name__} {encode(command).hex()}" for command in recorded.commands],
            "events": [f"{type(event).__name__} {encode(event).hex()}" for event in recorded.events],
        }
        write_once(GOLDEN / folder / f"{history.__name__}.json", content)


def write_once(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        write(path, content)


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def job_life() -> str:
    """Return the page: the diagram, and a table with one row per command."""
    phases = list(TRANSITIONS)
    rows = [[label, *(cell(phase, command) for phase in phases)] for command, label in COMMAND_LABELS.items()]
    lines = [["", *phases], ["---"] * (1 + len(phases)), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        "# Job life cycle\n\n"
        "Generated from `projections/jobs/transitions.py` by `make generate`; do not edit.\n\n"
        f"```mermaid\n{mermaid()}\n```\n\n"
        "Possible target phases of each command, by the current phase of the job. `·`: the phase does not change.\n"
        "Empty: the command is refused, and the refusal lists the allowed commands.\n\n"
        "`Absent`: there is no such job. `Killed`: archived, can be restored. Where a job can be purged, that happens "
        "after 90 days.\n"
        "The scheduler wakes a job when its next run is due, its pause ends, or a blackout window starts.\n\n"
        f"{table}\n"
    )


def cell(phase: str, command: str) -> str:
    targets = TRANSITIONS[phase].get(command)
    return "" if targets is None else ", ".join(targets) or "·"


if __name__ == "__main__":
    write_schemas()
    golden_records()
    golden_histories()
    PLANS.write_text(phone_plans(), "utf-8")
    JOB_LIFE.write_text(job_life(), "utf-8")
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")

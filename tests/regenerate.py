"""Write what is made from the code: new Avro versions with their ids, golden samples, the picture of a job's life.

Run by `make words`. Existing files are never changed: a word that changed gets a new version.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from schemas import catalog  # noqa: E402  # the path comes first
from tests.operations_tables import PAGE, filled  # noqa: E402  # the path comes first


def words() -> None:
    folder = ROOT / "schemas" / "avro"
    lock = folder / "ids.json"
    ids: dict[str, dict[str, int]] = json.loads(lock.read_text()) if lock.exists() else {}
    for name in catalog.WORDS:
        schema = catalog.current_schema(name)
        known = ids.setdefault(name, {})
        newest = max(map(int, known), default=0)
        stored = folder / catalog.file_name(name, newest)
        if newest and catalog.without_docs(json.loads(stored.read_text())) == catalog.without_docs(schema):
            continue
        (folder / catalog.file_name(name, newest + 1)).write_text(json.dumps(schema, indent=2) + "\n")
        known[str(newest + 1)] = 1 + max((each for of in ids.values() for each in of.values()), default=0)
    lock.write_text(json.dumps(ids, indent=2) + "\n")


if __name__ == "__main__":
    words()
    PAGE.write_text(filled(PAGE.read_text()))

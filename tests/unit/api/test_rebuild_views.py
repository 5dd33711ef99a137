"""The report of a rebuild omits samples of people who were forgotten since."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from app.api.definitions.rebuild_views import rebuild_view
from app.definitions.rebuild_catalog import RebuildRecord
from projections.definitions.rebuild import ProfileRebuild
from projections.definitions.rules import Forgotten, key_hash

AT = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
SAMPLES: dict[str, list[dict[str, Any]]] = {
    "changed": [
        {"profile": "email:ada", "before": {"attributes": {"city": "Graz"}}, "after": {"attributes": {"city": "Linz"}}},
        {"profile": "phone:7", "before": {"identities": ["email:ada"], "attributes": {}}, "after": {"attributes": {}}},
        {"profile": "email:bob", "before": {"attributes": {}}, "after": {"attributes": {}}},
    ],
    "added": [{"profile": "cookie:1", "identities": ["cookie:1", "email:ada"], "attributes": {}}],
    "split": [{"profile": "email:bob", "split_into": ["cookie:2", "cookie:3"]}],
    "merged": [{"profile": "phone:8", "merged_from": ["email:ada", "email:eve"]}],
}


def shown(forgotten: Forgotten) -> dict[str, list[str]]:
    """The profiles of the remaining samples."""
    rebuild = ProfileRebuild(
        definition_id="rebuild:1", seq=2, command_offset=3, updated_at=AT, status="ready", spec="", version=1
    )
    report = orjson.dumps({"compared_at": AT, "samples": SAMPLES}).decode()
    view = rebuild_view(RebuildRecord(rebuild, AT, "user:ada", 0, report=report), {}, 0, None, forgotten)
    assert view.report
    return {name: [str(item["profile"]) for item in those] for name, those in view.report.samples.items()}


def test_samples_omit_people_who_were_forgotten_since() -> None:
    every = {name: [item["profile"] for item in those] for name, those in SAMPLES.items()}
    assert shown(Forgotten()) == every
    assert shown(Forgotten().including([key_hash("email:ada")], AT - timedelta(days=1))) == every, (
        "a different person now"
    )
    left = shown(Forgotten().including([key_hash("email:ada")], AT + timedelta(days=1)))
    assert left == {"changed": ["email:bob"], "split": ["email:bob"]}

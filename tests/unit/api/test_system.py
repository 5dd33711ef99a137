"""The OpenAPI document, the schema registry, readiness and metrics."""

import json
import platform
import re
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.api.pages.reference import kind_of
from app.api.routing.openapi import document
from app.api.server import ALL
from app.kafka.memory.cluster import MemoryCluster
from app.store.tables import tables_of
from schemas.wire.catalog import versions
from tests.integration.api.rig import UNCHECKED, Client, as_caller, new_job
from tests.unit.api.conftest import Api, WallClock, serving

CREATED = "jobs.events-entrepot.jobs.events.JobCreated"


@pytest.mark.asyncio(loop_scope="session")
async def test_the_document_is_valid_and_has_every_route(unchanged: Api) -> None:
    served = (await unchanged.client.ask("GET", "/openapi.json")).body
    OpenAPIV31SpecValidator(served).validate()
    documented = {(method.upper(), path) for path, item in served["paths"].items() for method in item}
    assert documented == {(route.method, route.path) for route in ALL}


def test_every_parameter_is_described_and_every_operation_has_its_id() -> None:
    operations = [operation for item in document(ALL)["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == len(ALL)
    for operation in operations:
        for parameter in operation["parameters"]:
            assert parameter.get("description"), (operation["operationId"], parameter["name"])


@pytest.mark.asyncio(loop_scope="session")
async def test_the_reference_shows_every_operation_and_needs_no_token(unchanged: Api) -> None:
    async with as_caller(unchanged.client.url, None) as anonymous:
        answer = await anonymous.ask("GET", "/docs")
    page = answer.body.decode()
    assert (answer.status, answer.headers["Content-Encoding"]) == (200, "deflate")
    anchors = set(re.findall(r' id="([^"]+)"', page))
    described = document(ALL)
    assert {operation["operationId"] for item in described["paths"].values() for operation in item.values()} <= anchors
    assert {f"model-{name}" for name in described["components"]["schemas"]} <= anchors
    assert set(re.findall(r'href="#([^"]+)"', page)) <= anchors
    assert "https://" not in page


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"$ref": "#/components/schemas/Job<"}, '<a href="#model-Job&lt;">Job&lt;</a>'),
        ({"type": "array", "items": {"enum": ["a", 1]}}, "list of <code>a</code> or <code>1</code>"),
        ({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]}, "integer, from 0 or null"),
        ({"type": "object", "additionalProperties": {"type": ["string", "null"]}}, "object of string or null"),
        ({"const": 200}, "<code>200</code>"),
        (
            {"type": "string", "format": "date-time", "default": "<now>"},
            "string, date-time, default &#34;&lt;now&gt;&#34;",
        ),
        ({"type": "array"}, "list of any value"),
    ],
)
def test_the_reference_names_types_in_words(schema: dict[str, Any], text: str) -> None:
    assert kind_of(schema) == text


@pytest.mark.asyncio(loop_scope="session")
async def test_schemas_are_found_by_id_and_by_subject_without_a_token(unchanged: Api) -> None:
    async with as_caller(unchanged.client.url, None) as anonymous:
        assert CREATED in (await anonymous.ask("GET", "/registry/subjects")).body
        newest = (await anonymous.ask("GET", f"/registry/subjects/{CREATED}/versions")).body[-1]
        for version in ("latest", "-1", newest):
            shown = (await anonymous.ask("GET", f"/registry/subjects/{CREATED}/versions/{version}?deleted=true")).body
            assert (shown["subject"], shown["version"]) == (CREATED, newest)
        by_id = await anonymous.ask("GET", f"/registry/schemas/ids/{shown['id']}")
        assert by_id.body == {"schema": shown["schema"], "schemaType": "AVRO"}
        assert by_id.headers["Content-Type"] == "application/vnd.schemaregistry.v1+json"
        schema = json.loads(shown["schema"])
        for path in (f"schemas/ids/{shown['id']}", f"subjects/{CREATED}/versions/latest"):
            assert (await anonymous.ask("GET", f"/registry/{path}/schema")).body == schema
        uses = (await anonymous.ask("GET", f"/registry/schemas/ids/{shown['id']}/versions")).body
        assert uses == [{"subject": CREATED, "version": newest}]
        assert (await anonymous.ask("GET", f"/registry/schemas/ids/{shown['id']}/subjects")).body == [CREATED]
        for version_id in versions():
            assert (await anonymous.ask("GET", f"/registry/schemas/ids/{version_id}")).status == 200


@pytest.mark.asyncio(loop_scope="session")
async def test_tools_find_what_they_ask_for_beside_schemas(unchanged: Api) -> None:
    for path, body in (
        ("", {}),
        ("schemas/types", ["AVRO"]),
        ("contexts", ["."]),
        ("mode", {"mode": "READONLY"}),
        (f"mode/{CREATED}", {"mode": "READONLY"}),
        ("config", {"compatibilityLevel": "FULL_TRANSITIVE"}),
        (f"config/{CREATED}", {"compatibilityLevel": "FULL_TRANSITIVE"}),
        (f"config/{CREATED}?defaultToGlobal=true", {"compatibilityLevel": "FULL_TRANSITIVE"}),
        (f"subjects/{CREATED}/versions/latest/referencedby", []),
        (f"subjects?subjectPrefix={CREATED}", [CREATED]),
    ):
        assert (await unchanged.client.ask("GET", f"/registry/{path}")).body == body, path


@pytest.mark.asyncio(loop_scope="session")
async def test_schemas_are_listed_in_pages(unchanged: Api) -> None:
    async def listed(options: str) -> list[dict[str, Any]]:
        body: list[dict[str, Any]] = (await unchanged.client.ask("GET", f"/registry/schemas?{options}")).body
        return body

    everything = await listed("")
    assert {item["id"] for item in everything} == {*versions()}
    assert await listed("offset=2&limit=3&deleted=false") == everything[2:5]
    assert await listed("offset=1&limit=-1") == everything[1:]
    (created,) = await listed(f"latestOnly=true&subjectPrefix={CREATED}")
    assert created == (await unchanged.client.ask("GET", f"/registry/subjects/{CREATED}/versions/latest")).body


@pytest.mark.asyncio(loop_scope="session")
async def test_a_serializer_gets_the_id_of_a_known_schema_and_can_register_no_other(unchanged: Api) -> None:
    known = (await unchanged.client.ask("GET", f"/registry/subjects/{CREATED}/versions/latest")).body
    indented = json.dumps(json.loads(known["schema"]), indent=2)
    subject, with_type = f"/registry/subjects/{CREATED}", {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    for sent in ({"schema": known["schema"]}, {"schema": indented, "schemaType": "AVRO", "references": []}):
        assert (await unchanged.client.ask("POST", subject, sent)).body == known
        assert (await unchanged.client.ask("POST", f"{subject}/versions", sent, **with_type)).body == {
            "id": known["id"]
        }
    for path, sent, status, code in (
        (subject, {"schema": '"string"'}, 404, 40403),
        (f"{subject}/versions", {"schema": '"string"'}, 422, 42205),
        (f"{subject}/versions", {"schema": "{}", "schemaType": "JSON"}, 422, 42205),
        ("/registry/subjects/none", {"schema": '"string"'}, 404, 40401),
        (subject, {"schema": "no JSON"}, 400, 400),
        (subject, {"schema": "[" * 5000 + "]" * 5000}, 400, 400),
        (subject, {}, 422, 422),
    ):
        refused = await unchanged.client.ask("POST", path, sent)
        assert (refused.status, refused.body["error_code"]) == (status, code), sent


@pytest.mark.asyncio(loop_scope="session")
async def test_only_known_schemas_are_compatible(unchanged: Api) -> None:
    known = (await unchanged.client.ask("GET", f"/registry/subjects/{CREATED}/versions/latest")).body
    checks = f"/registry/compatibility/subjects/{CREATED}/versions"
    for path in (checks, f"{checks}/latest", f"{checks}/1?verbose=true"):
        checked = await unchanged.client.ask("POST", path, {"schema": known["schema"]})
        assert (checked.status, checked.body["is_compatible"]) == (200, True)
        other = (await unchanged.client.ask("POST", path, {"schema": '"string"'})).body
        assert (other["is_compatible"], "read-only" in other["messages"][0]) == (False, True)
    missing = await unchanged.client.ask("POST", f"{checks}/999", {"schema": known["schema"]})
    assert (missing.status, missing.body["error_code"]) == (404, 40402)


@pytest.mark.asyncio(loop_scope="session")
async def test_all_errors_of_the_registry_have_its_form(unchanged: Api) -> None:
    for method, path, status in (
        ("GET", "associations/resources/-/jobs.events", 404),
        ("GET", "schemas/ids/1/none", 404),
        ("PUT", "config", 405),
        ("GET", "schemas?limit=many", 422),
    ):
        answer = await unchanged.client.ask(method, f"/registry/{path}")
        assert (answer.status, answer.body["error_code"]) == (status, status), path
        assert answer.body["message"]
        assert answer.headers["Content-Type"] == "application/vnd.schemaregistry.v1+json"


@pytest.mark.asyncio(loop_scope="session")
async def test_unknown_schemas_have_the_codes_of_the_registry(unchanged: Api) -> None:
    for path, status, code in (
        ("schemas/ids/9999", 404, 40403),
        ("schemas/ids/x", 404, 40403),
        ("schemas/ids/9999/versions", 404, 40403),
        ("subjects/none/versions", 404, 40401),
        ("subjects/none/versions/1", 404, 40401),
        (f"subjects/{CREATED}/versions/0", 422, 42202),
        (f"subjects/{CREATED}/versions/first", 422, 42202),
        (f"subjects/{CREATED}/versions/999", 404, 40402),
    ):
        answer = await unchanged.client.ask("GET", f"/registry/{path}")
        assert (answer.status, answer.body["error_code"]) == (status, code), path


async def test_readiness_names_what_is_missing(
    client: Client, cluster: MemoryCluster, data_dir: Path, clock: WallClock
) -> None:
    connected = await client.ask("GET", "/readyz")
    assert (connected.status, connected.body["code"]) == (503, "not_ready"), "an admin client has no twin"
    assert {name for name, state in connected.body["parts"].items() if state == "ok"} == {
        "events", "definitions", "access", "commands", "store",
    }  # fmt: skip
    cluster.set_available(available=False)
    async with serving(cluster, data_dir, clock) as api:
        parts = (await api.client.ask("GET", "/readyz")).body["parts"]
    assert [name for name, state in parts.items() if state == "ok"] == ["store"]


async def test_metrics_count_jobs_requests_and_commands(client: Client) -> None:
    await client.post(UNCHECKED, new_job())
    await client.draft()
    async with as_caller(client.url, None) as scraper:
        text = (await scraper.ask("GET", "/metrics")).body.decode()
    assert 'entrepot_jobs{status="Running"} 1.0' in text
    assert 'entrepot_jobs{status="Paused"} 1.0' in text
    assert 'entrepot_jobs{status="Failed"} 0.0' in text
    assert 'entrepot_http_requests_total{method="POST",route="/v2/job",status="201"} 2.0' in text
    assert 'entrepot_api_commands_total{command="CreateJob",outcome="done"} 2.0' in text
    assert 'entrepot_runs_total{job_type="import",outcome="started",provider="file"} 1.0' in text
    assert f'entrepot_build_info{{python="{platform.python_version()}",version=' in text


async def test_an_unreadable_store_is_not_ready(client: Client, api: Api) -> None:
    async with api.services.store.database.writing() as connection:
        await connection.run_sync(tables_of(1).metadata.drop_all)
    parts = (await client.ask("GET", "/readyz")).body["parts"]
    assert parts["store"].startswith("unreachable")

"""Requests of schemathesis that no schema makes valid: bodies of rules and configurations, and unfiltered lists."""

from typing import Any
from uuid import uuid4

import schemathesis

KINDS = {"kinds": [{"kind": "email", "rank": 0, "title": "E-mail"}, {"kind": "cookie", "rank": 5, "title": "Cookie"}]}
MAPPING = {"identities": [{"field": "email", "kind": "email"}]}


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Send a valid body, and no filter."""
    if case.method == "GET":
        case.query = {}
    match case.operation.label:
        case "POST /v2/job":
            configuration = {"source": "/nowhere/people.csv", "stream": "people"}
            case.query = {"run_job": "false"}
            case.body = {"name": f"people {uuid4()}", "provider": "file", "job_type": "import"}
            case.body["configuration"] = configuration
        case "PATCH /v2/job/{job_id}":
            case.body = {"description": "edited"}
        case "PUT /v2/definition/{definition_id}/draft":
            case.body = KINDS if case.path_parameters["definition_id"] == "identity" else MAPPING
        case "POST /v2/rebuild":
            case.body = {}

"""The example job: imports sample flights once, through the API."""

from pathlib import Path
from typing import Any, Final

from app.cli.client import ApiClient

FOLDER: Final = Path(__file__).resolve().parents[3] / "examples"
KEY: Final = "entrepot-example-flights-2013-01"
JOB: Final[dict[str, Any]] = {
    "provider": "file",
    "job_type": "import",
    "name": "Flights of New York",
    "description": "Flights that departed from New York on the first three days of 2013: sample data.",
    "configuration": {"source": "flights-2013-01.csv.gz", "stream": "flights", "timestamp_field": "time_hour"},
}


async def create_example(api: ApiClient) -> str:
    """Create the example job, unless it exists, and return its id."""
    job = await api.send("POST", "/v2/job", JOB, headers={"Idempotency-Key": KEY})
    return str(job["id"])

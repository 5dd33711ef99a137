"""The example job: some flights, imported once, so that there is something to look at. It only asks the API."""

from pathlib import Path
from typing import Any, Final

from app.cli.client import Api

FOLDER: Final = Path(__file__).resolve().parents[3] / "examples"
KEY: Final = "entrepot-example-flights-2013-01"
JOB: Final[dict[str, Any]] = {
    "provider": "file",
    "job_type": "import",
    "name": "Flights of New York",
    "description": "Flights that left New York on the first three days of 2013: an example that came with Entrepot.",
    "configuration": {"source": "flights-2013-01.csv.gz", "stream": "flights", "timestamp_field": "time_hour"},
}


async def create_example(api: Api) -> str:
    """Make the example job, unless it was made before, and return its id."""
    made = await api.send("POST", "/v2/job", JOB, headers={"Idempotency-Key": KEY})
    return str(made["id"])

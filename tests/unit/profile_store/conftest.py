"""Snapshot stores for tests: a directory, and S3 by moto, which serves the API on loopback."""

import logging
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
from moto.server import ThreadedMotoServer


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each request otherwise
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(params=["directory", pytest.param("s3", marks=pytest.mark.slow)])
def snapshot_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A snapshot store that has nothing yet."""
    if request.param == "directory":
        return f"file://{tmp_path}/kept%20here"
    endpoint, bucket = request.getfixturevalue("s3"), f"bucket-{uuid4().hex}"
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with urlopen(Request(f"{endpoint}/{bucket}", method="PUT")):  # moto's
        return f"s3://{bucket}/deep/prefix"

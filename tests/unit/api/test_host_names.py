"""The names by which clients may reach the API."""

import pytest

from app.api.http.auth import check_host
from app.api.http.problems import ApiProblem
from app.settings import Settings


@pytest.mark.parametrize("bound_to", ["127.0.0.1", "0.0.0.0", "::", "api.internal"])
def test_only_the_names_of_the_api_are_accepted_at_any_address(bound_to: str) -> None:
    settings = Settings(api_host=bound_to, api_names="entrepot.example,Other.example")
    for host in ("entrepot.example", "ENTREPOT.example:8443", "other.example", "localhost:1234", "[::1]:8470"):
        check_host(host, settings)
    for host in ("evil.example", "entrepot.example.evil", "", "[bad", "entrepot.example,other.example"):
        with pytest.raises(ApiProblem) as refused:
            check_host(host, settings)
        assert refused.value.code == "wrong_host"


def test_without_names_any_host_is_accepted_only_beyond_loopback() -> None:
    check_host("any.example", Settings(api_host="0.0.0.0"))  # not bound to
    with pytest.raises(ApiProblem):
        check_host("any.example", Settings())

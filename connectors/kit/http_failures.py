"""Name the failures of HTTP requests: what failed, and whether a retry can help."""

import os
import re
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import aiohttp

from connectors.contract import ConnectorError, FixConfiguration, RateLimited, RestoreSource, RetryLater
from schemas.coded import Params

DEFAULT_RATE_LIMIT_SECONDS: Final = 60.0
WORTH_RETRYING: Final = frozenset({408, 421, 423, 425})
MAX_REASON_CHARACTERS: Final = 80
PERMANENT: Final[dict[int, str]] = {
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: "proxy_refused",
}
AWAY: Final[dict[int, str]] = {
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.GONE: "not_found",
    HTTPStatus.UNAUTHORIZED: "forbidden",
    HTTPStatus.FORBIDDEN: "forbidden",
}
BEFORE_CONNECTION: Final = frozenset({"dns_failure", "connection_refused", "connection_timed_out", "unreachable"})
UNTRUSTED: Final = frozenset({2, 18, 19, 20, 21})  # X509_V_ERR_… of OpenSSL: the authority is unknown here
TRUST_STORE: Final = "SSL_CERT_FILE"
PROXY_VARIABLES: Final = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


def request_error(name: str, error: Exception) -> ConnectorError:
    """Return the error for a request without a complete response. Retries don't help against a bad certificate."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return FixConfiguration("bad_certificate", {"url": name, **_certificate_problem(error)})
    code, reason = _failure(error)
    params: Params = {"url": name, "reason": _plain(reason)}
    if code in BEFORE_CONNECTION and (
        proxies := [variable for variable in PROXY_VARIABLES if os.environ.get(variable)]
    ):
        params = {**params, "proxy": proxies[0]}
    return RetryLater(code, params, detail=type(error).__name__)


def _certificate_problem(error: aiohttp.ClientConnectorCertificateError) -> Params:
    """Return the reason, and the variable that names a trust store if the authority is the problem."""
    cause = error.certificate_error
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return {"reason": _plain(cause)}
    reason: Params = {"reason": _plain(cause.verify_message).removesuffix(".")}
    return {**reason, "trust_store": TRUST_STORE} if cause.verify_code in UNTRUSTED else reason


def _failure(error: Exception) -> tuple[str, object]:
    """Return the code of a failure, and its cause in the words of a library."""
    failure: tuple[str, object]
    match error:
        case aiohttp.ClientConnectorSSLError(os_error=ssl.SSLError() as cause):
            failure = "tls_failure", cause.reason
        case aiohttp.ClientConnectorDNSError():
            failure = "dns_failure", error.strerror
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            failure = "connection_refused", ""
        case aiohttp.ClientConnectorError(os_error=cause) if not isinstance(cause, ConnectionError):
            failure = "unreachable", error.strerror
        case aiohttp.ConnectionTimeoutError():
            failure = "connection_timed_out", ""
        case TimeoutError():
            failure = "timed_out", ""
        case aiohttp.ClientResponseError():
            failure = "malformed_response", error.message
        case _:
            failure = "disconnected", ""
    return failure


def response_error(name: str, response: aiohttp.ClientResponse) -> ConnectorError:
    """Return the error for a response other than success."""
    status = response.status
    answer: Params = {"url": name, "status": status, "reason": _plain(response.reason)}
    wait = retry_after(response.headers.get("Retry-After"))
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited("rate_limited", answer, retry_after=DEFAULT_RATE_LIMIT_SECONDS if wait is None else wait)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in WORTH_RETRYING:
        return RetryLater("server_error", answer, retry_after=wait)
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # only a request behind a cursor has a range
        return FixConfiguration("source_changed")
    if status in AWAY:
        return RestoreSource(AWAY[status], answer)
    return FixConfiguration(PERMANENT.get(status, "unexpected_response"), answer)


def retry_after(header: str | None) -> float | None:
    """Return the seconds of a `Retry-After` header, a number or a date (RFC 9110, section 10.2.3); None if invalid."""
    if header is None:
        return None
    if re.fullmatch(r"\d{1,15}", header.strip(), re.ASCII):
        return float(header)
    try:
        at = parsedate_to_datetime(header)
        return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None


def _plain(text: object) -> str:
    """Return the words of a server or a library, to be shown to users."""
    printable = (character for character in str(text or "") if character.isascii() and character.isprintable())
    return "".join(printable)[:MAX_REASON_CHARACTERS]

"""Mask the secret parts of URLs: user and password, query and fragment. What is masked in a configuration is sealed.

The path is shown: a secret in it can't be distinguished from a file name.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

MASK: Final = "•••"
URL_START: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
MIN_SECRET_CHARACTERS: Final = 6  # to mask shorter ones wherever they occur would garble a text

MAX_TEXT_CHARACTERS: Final = 64 * 1024

_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.%]*\]|[^:@\[\]]*)(?::\d*)?")
_ENCODED: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_SECRET_NAMES: Final = re.compile(
    r".*(token|secret|passw|signature|credential|apikey).*|(.*[-_.])?(sig|key|pass|pwd|auth|code)", re.IGNORECASE
)
_START: Final = r"(https?:/{1,3}|[a-z][a-z0-9+.-]{0,30}://)"  # bounded, so that the time is linear


def _url_pattern(end: str) -> re.Pattern[str]:
    """Match scheme, user, host, path, query and fragment of a URL. It stops at the characters `end`."""
    line_end = r"\n" if end else ""
    parts = (
        rf"(?:([^/?#{line_end}]*)@)?",
        rf"([^/?#{end}]*)",
        rf"([^?#{end}]*)",
        rf"(\?[^#{end}]*)?",
        rf"(#(?:[^#{end}]|#)*)?",
    )
    return re.compile(_START + "".join(parts), re.IGNORECASE)


_IN_TEXT: Final = _url_pattern(r"\s\"'`<>")
_WHOLE: Final = _url_pattern("")  # reaches to the end


def redact_text(text: str) -> str:
    """Return a text with the secret parts of its URLs masked."""
    return text if ":/" not in text else _mask_urls(_IN_TEXT, text)


def redact_value(value: str) -> str:
    """Return a value of a configuration with the secret parts of its URL masked.

    What follows the URL is masked as well: a parameter may have blanks and quotes.
    """
    return _mask_urls(_WHOLE, value)


def redact_credentials(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configuration with the secret parts of every URL masked and everything else unchanged."""
    return {name: _redact(value) for name, value in configuration.items()}


def has_credentials(text: str) -> bool:
    """Whether a text has a URL with a user, or with a parameter whose name is that of a secret."""
    return any(
        user or not _is_valid(host, path) or any(_SECRET_NAMES.fullmatch(name) for name, _ in _parameters(query))
        for _, user, host, path, query, _ in (url.groups("") for url in _IN_TEXT.finditer(text))
    )


class Redactor:
    """Masks secrets in what a source caused: those of URLs, and those of a configuration wherever they occur."""

    def __init__(self, configuration: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
        """Know the secrets of a configuration: what differs in its masked form `shown`."""
        secrets = (secret for value in masked_texts(configuration, shown) for secret in _secrets_in(value))
        decoded = {_decoded(secret)[0] for secret in secrets}
        self._secrets = tuple(secret for secret in decoded if len(secret) >= MIN_SECRET_CHARACTERS)

    def text(self, text: str) -> str:
        """Return a text without secrets; of a very long one the start."""
        masked = redact_text(text[:MAX_TEXT_CHARACTERS])
        if not self._secrets or not masked:
            return masked
        decoded, starts = _decoded(masked)
        spans = sorted(span for secret in self._secrets for span in _occurrences(secret, decoded, starts))
        parts: list[str] = []
        end = 0
        for start, stop in spans:
            if start >= end:
                parts += (masked[end:start], MASK)
            end = max(end, stop)
        return "".join((*parts, masked[end:]))

    def value(self, value: Any) -> Any:
        """Return a value, such as the parameters of a code, without secrets."""
        match value:
            case None | bool() | int() | float():
                return value
            case Mapping():
                return {name: self.value(item) for name, item in value.items()}
            case tuple() | list():
                return tuple(map(self.value, value))
            case _:
                return self.text(str(value))


def _redact(value: Any) -> Any:
    match value:
        case str():
            return redact_value(value)
        case dict():
            return redact_credentials(value)
        case list():
            return [_redact(item) for item in value]
        case _:
            return value


def _is_valid(host: str, path: str) -> bool:
    """Whether the parts of a URL are what they seem: not if a user or password has an unescaped `/`, for example."""
    return _HOST.fullmatch(host) is not None and "@" not in path


def _mask_urls(pattern: re.Pattern[str], text: str) -> str:
    masked: list[str] = []
    end = 0
    for url in pattern.finditer(text):
        if url.start() < end:
            continue
        _, user, host, path, query, fragment = url.groups("")
        masked.append(text[end : url.end(1)])
        if _is_valid(host, path):
            masked += (f"{MASK}@" if user else "", host, path, _mask_after_sign(query), _mask_after_sign(fragment))
            end = url.end()
        else:  # it is unknown where its secrets end
            masked.append(MASK)
            line_end = text.find("\n", url.end(1)) if pattern is _IN_TEXT else -1
            end = len(text) if line_end < 0 else line_end
    return "".join((*masked, text[end:]))


def _mask_after_sign(part: str) -> str:
    return part[0] + MASK if len(part) > 1 else part


def masked_texts(value: Any, shown: Any) -> Iterator[str]:
    """Yield the texts in a JSON value that differ in its masked form."""
    match value:
        case str() if value != shown:
            yield value
        case dict():
            for name, item in value.items():
                yield from masked_texts(item, shown.get(name) if isinstance(shown, Mapping) else None)
        case list():
            for index, item in enumerate(value):
                is_shown = isinstance(shown, list) and index < len(shown)
                yield from masked_texts(item, shown[index] if is_shown else None)
        case _:
            pass


def _secrets_in(value: str) -> Iterator[str]:
    """Yield what `redact_value` masks in a value, whole and in parts; all of a value without a URL."""
    urls = list(_WHOLE.finditer(value))
    for url in urls:
        _, user, host, path, query, fragment = url.groups("")
        if not _is_valid(host, path):
            user = value[url.end(1) :].rpartition("@")[0]
        name, colon, password = user.partition(":")
        yield from (user, password if colon else name, query[1:], fragment[1:])
        yield from (secret for _, secret in _parameters(query))
    if not urls:
        yield value


def _decoded(text: str) -> tuple[str, list[int]]:
    """Return a text without percent-encoding, and where each of its characters starts in the text.

    Libraries and servers encode a secret as they like. `+` is a blank, as in forms.
    """
    parts: list[str] = []
    starts: list[int] = []
    end = 0
    for run in _ENCODED.finditer(text):
        characters = unquote(run[0])
        parts += (text[end : run.start()], characters)
        starts += (*range(end, run.start()), *[run.start()] * len(characters))
        end = run.end()
    return "".join((*parts, text[end:])).replace("+", " "), [*starts, *range(end, len(text) + 1)]


def _occurrences(secret: str, decoded: str, starts: list[int]) -> Iterator[tuple[int, int]]:
    """Yield start and end in the text of each occurrence of a secret in its decoded form."""
    at = decoded.find(secret)
    while at >= 0:
        stop = at + len(secret)
        while starts[stop] == starts[stop - 1]:  # within an encoded run: mask all of it
            stop += 1
        yield starts[at], starts[stop]
        at = decoded.find(secret, at + 1)


def _parameters(query: str) -> Iterator[tuple[str, str]]:
    """Yield name and value of the parameters of a query."""
    for parameter in query.removeprefix("?").split("&"):
        name, _, value = parameter.partition("=")
        yield name, value

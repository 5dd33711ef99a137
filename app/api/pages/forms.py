"""Parse form submissions of the pages."""

from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from app.api.http.problems import ApiProblem
from app.api.http.request_body import plain_body, wrong_content_type

FORM: Final = "application/x-www-form-urlencoded"
MAX_FORM_BYTES: Final = 64 * 1024
MAX_FORM_FIELDS: Final = 20


async def read_form(request: web.Request) -> dict[str, str]:
    """Return the fields of a form; of a repeated field, the last value.

    Raises:
        ApiProblem: 400, malformed or incomplete; 408, too slow; 413, too large; 415, not a form or compressed.

    """
    data = await plain_body(request, MAX_FORM_BYTES)
    if data and request.content_type != FORM:
        raise wrong_content_type(request, FORM)
    try:
        return dict(parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS, errors="strict"))
    except ValueError as error:
        raise ApiProblem(400, "malformed_form", "the form cannot be parsed") from error

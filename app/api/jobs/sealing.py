"""Seal the secrets in configurations to the public key of the runner, which alone opens them."""

from collections.abc import Iterator
from typing import Any, Final

from app.api.http.problems import ApiProblem, FieldError, field_error_of, invalid, pointer
from app.api.routing.routes import RequestContext
from app.vault.cipher import SealingKey
from app.vault.sealed_json import SEALED, SHOWN, is_sealed, job_owner, seal_secrets, shown_form
from connectors.catalog import connector
from connectors.redaction import MASK, masked_texts
from projections.json_object import MAX_JSON_BYTES
from schemas.json_values import canonical_json

MAX_SECRETS: Final = 64  # of a configuration; sealing each, and masking it in texts, takes time
NO_KEY: Final = "secrets can't be encrypted: there is no master key; `entrepot doctor` names the cause"


async def sealed_configuration(
    call: RequestContext[Any, Any], job_id: str, provider: str, configuration: dict[str, Any]
) -> str:
    """Return the JSON of a configuration with its secrets sealed: what its connector masks.

    Raises:
        ApiProblem: 503, there is no key to seal to; or 422, the configuration is too large.

    """
    plugin = connector(provider)
    assert plugin is not None, "the job type has been found"
    plain = shown_form(configuration)
    shown = dict(plugin.redact(plain))
    if sum(1 for _ in masked_texts(plain, shown)) > MAX_SECRETS:
        message = f"a configuration is limited to {MAX_SECRETS} values with secrets"
        raise invalid([FieldError("/configuration", "too_many_secrets", message)])
    if shown != plain:
        key = await call.api.store.sealing_key.announced()
        if key is None:
            raise ApiProblem(503, "no_master_key", NO_KEY)
        sealing_key = SealingKey(key)
        configuration = seal_secrets(configuration, shown, sealing_key, job_owner(job_id))
    text = canonical_json(configuration)
    if len(text.encode()) > MAX_JSON_BYTES:
        message = f"a configuration is limited to {MAX_JSON_BYTES:,} bytes"
        raise invalid([FieldError("/configuration", "too_large", message)])
    return text


def keep_sealed(given: Any, stored: Any) -> Any:
    """Return a JSON value with each masked value in it replaced by the sealed value that it stands for.

    Responses show secrets masked, so a client that sends them back as shown keeps them.
    """
    if is_sealed(stored):
        return stored if given == stored[SHOWN] else given
    if isinstance(given, dict) and isinstance(stored, dict):
        return {name: keep_sealed(item, stored.get(name)) for name, item in given.items()}
    if isinstance(given, list) and isinstance(stored, list):
        padded = [*stored, *[None] * len(given)]
        return [keep_sealed(item, before) for item, before in zip(given, padded, strict=False)]
    return given


def masked_errors(given: Any, kept: Any, path: tuple[str | int, ...] = ()) -> Iterator[FieldError]:
    """Yield an error for each masked value that stands for no sealed one: its secret has to be sent again."""
    if is_sealed(kept) and given != kept:
        return
    match given:
        case str() if MASK in given:
            yield field_error_of(f"/configuration{pointer(path)}", "masked_value", {"mask": MASK})
        case dict():
            if SEALED in given:
                yield field_error_of(f"/configuration{pointer(path)}", "masked_value", {"mask": MASK})
            for name, item in given.items():
                yield from masked_errors(item, kept[name], (*path, name))
        case list():
            for index, item in enumerate(given):
                yield from masked_errors(item, kept[index], (*path, index))
        case _:
            pass

"""Open the secrets of a configuration for one run, and keep them out of what the run writes."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from app.vault.cipher import MasterKeyMissing, UnreadableSecret
from app.vault.master_key import KeyRing, MasterKeyFileError
from app.vault.sealed_json import job_owner, open_secrets, shown_form
from connectors.contract import Batch, FixConfiguration, RetryLater
from connectors.redaction import Redactor
from projections.jobs.state import Job

_log = logging.getLogger(__name__)


class VaultUnavailable(RetryLater):
    """The master key is not available. The job resumes when the operator has restored it."""


class ConnectorFailure(Exception):
    """The traceback of a connector, without secrets."""


def open_configuration(job: Job, read_keys: Callable[[], KeyRing]) -> dict[str, Any]:
    """Return the configuration of a job with its secrets. They exist only in the memory of the run.

    Raises:
        VaultUnavailable: the master key is missing or can't be read.
        FixConfiguration: a secret is damaged.

    """
    configuration: dict[str, Any] = orjson.loads(job.configuration)
    if configuration == shown_form(configuration):
        return configuration
    try:
        opened: dict[str, Any] = open_secrets(configuration, read_keys().open, job_owner(job.job_id))
    except MasterKeyFileError as error:
        _log.error("%s", error)
        raise VaultUnavailable("master_key_unreadable") from error
    except MasterKeyMissing as error:
        raise VaultUnavailable(error.code, error.params) from error
    except UnreadableSecret as error:
        raise FixConfiguration(error.code, error.params) from error
    return opened


def redacted_batch(batch: Batch, redactor: Redactor) -> Batch:
    """Return a batch whose source and rejects have no secrets. The records are data of the customer."""
    rejects = tuple(
        replace(reject, params=redactor.value(reject.params), detail=redactor.text(str(reject.detail)))
        for reject in batch.rejects
    )
    return replace(batch, source=redactor.text(str(batch.source)), rejects=rejects)

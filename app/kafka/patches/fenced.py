"""Patch aiokafka so that a fenced producer leaves no traceback in the log.

Besides the acks of the caller, a fatal error fails internal futures of the client: the end of the transaction, and the
drain of each batch. When nothing awaits them any more, asyncio logs 'Future exception was never retrieved'.
"""

from typing import Any, Final

from aiokafka.producer.message_accumulator import MessageBatch
from aiokafka.producer.transaction_manager import TransactionManager

from app.kafka.producer_record import retrieve_exception

_FAILURE: Final = MessageBatch.failure
_ERROR_TRANSACTION: Final = TransactionManager.error_transaction
_FATAL_ERROR: Final = TransactionManager.fatal_error


def apply() -> None:
    """Apply the patch to this process. Idempotent."""
    MessageBatch.failure = _failure
    TransactionManager.error_transaction = _error_transaction
    TransactionManager.fatal_error = _fatal_error


def _failure(self: Any, exception: BaseException) -> None:
    _FAILURE(self, exception)
    retrieve_exception(self._drain_waiter)


def _error_transaction(self: Any, exception: BaseException) -> None:
    _ERROR_TRANSACTION(self, exception)
    retrieve_exception(self._transaction_waiter)


def _fatal_error(self: Any, exception: BaseException) -> None:
    _FATAL_ERROR(self, exception)
    retrieve_exception(self._transaction_waiter)

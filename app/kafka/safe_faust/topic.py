"""Faust's own way of writing (`table[key] = …`, `topic.send`), counted and latched like ours."""

from typing import Any

import faust

from app.kafka.producer_record import check_size


class SafeTopic(faust.Topic):
    """Counts every message from the moment it is made, long before Faust's buffer hands it to the producer."""

    def as_future_message(self, *args: Any, **kwargs: Any) -> Any:
        """Make the promise of a message; raise `RecordTooLarge` while the caller can still refuse it."""
        promise = super().as_future_message(*args, **kwargs)
        message = promise.message
        check_size(self.get_topic_name(), message.key, message.value, self.app.conf.producer_max_request_size)
        self.app.writes.track(promise)
        return promise

    async def publish_message(self, fut: Any, wait: bool = False) -> Any:  # noqa: FBT001, FBT002 - Faust's signature
        """Send it; Faust would crash its buffer here and then commit on the way out."""
        try:
            return await super().publish_message(fut, wait=wait)
        except Exception as failure:
            self.app.latch.trip(f"a write to {self} couldn't be sent: {failure}", failure)
            raise

"""Track and latch writes through the Faust API (`table[key] = …`, `topic.send`)."""

from typing import Any

import faust

from app.kafka.producer_record import check_size


class SafeTopic(faust.Topic):
    """A topic that tracks messages from creation, before Faust's buffer passes them to the producer."""

    def as_future_message(self, *args: Any, **kwargs: Any) -> Any:
        """Create a message. Raise `RecordTooLarge` while the caller can still handle it."""
        future = super().as_future_message(*args, **kwargs)
        message = future.message
        check_size(self.get_topic_name(), message.key, message.value, self.app.conf.producer_max_request_size)
        self.app.writes.track(future)
        return future

    async def publish_message(self, fut: Any, wait: bool = False) -> Any:  # noqa: FBT001, FBT002 - Faust's signature
        """Send a message. On failure trip the latch: Faust would crash its buffer and then commit."""
        try:
            return await super().publish_message(fut, wait=wait)
        except Exception as failure:
            self.app.latch.trip(f"failed to send a record to {self}: {failure}", failure)
            raise

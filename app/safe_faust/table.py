"""State by key, as raw bytes: in memory here, and in a compacted changelog topic that a new owner reads first."""

from collections.abc import Container, Iterable, Mapping, MutableMapping
from dataclasses import dataclass

import faust

from app.safe_faust.publishing import Outgoing, send


@dataclass(frozen=True, slots=True)
class Change:
    """The new value of a key, None to remove it. `partition` is that of the event that caused it."""

    partition: int
    key: bytes
    value: bytes | None


class StateTable(faust.Table):
    """A Faust table that is written per batch. Faust's own `table[key] = value` works too, at a fifth of the speed."""

    @property
    def state(self) -> Mapping[bytes, bytes]:
        """What is known of the owned partitions, to be read at no cost."""
        known: Mapping[bytes, bytes] = self.data.data
        return known

    async def write(self, changes: Iterable[Change]) -> None:
        """Take over the changes and send them to the changelog; the commit that follows waits for the broker's acks.

        Of several changes of one key the last is kept. Raises `RecordTooLarge` before anything is changed.
        """
        last = {change.key: change for change in changes}
        topic = self.changelog_topic_name
        outgoing = [Outgoing(topic, each.value, key=each.key, partition=each.partition) for each in last.values()]
        await send(self.app, outgoing)
        for change in last.values():
            self._keep(change)

    def keep_only(self, partitions: Container[int]) -> None:
        """Forget the keys of all other partitions; they have another owner now, or none."""
        for key in [key for key, partition in self._origins.items() if partition not in partitions]:
            self._origins.pop(key)
            self.data.data.pop(key, None)

    @property
    def _origins(self) -> MutableMapping[bytes, int]:
        """The partition of each key. Faust notes it while recovering only, and keeps for ever what came later."""
        origins: MutableMapping[bytes, int] = self.data._key_partition  # noqa: SLF001 - it is our store's own
        return origins

    def _keep(self, change: Change) -> None:
        if change.value is None:
            self.data.data.pop(change.key, None)
            self._origins.pop(change.key, None)
        else:
            self.data.data[change.key] = change.value
            self._origins[change.key] = change.partition

"""A consumer group: members, eager rebalances by the range assignor, and committed offsets."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from aiokafka import TopicPartition


class Member(Protocol):
    """The part of a consumer that its group uses."""

    member_id: str
    is_static: bool
    is_stopped: bool
    topics: frozenset[str]

    async def revoke(self) -> None:
        """Begin a rebalance: stop reading and give up all partitions."""

    async def accept(self, partitions: Iterable[TopicPartition]) -> None:
        """End a rebalance: read these partitions."""

    def fence(self) -> None:
        """Lose the membership to another consumer with the same id."""


class MemoryGroup:
    """One group. `partitions_of` returns the partitions of a topic, `notify` wakes waiting clients."""

    def __init__(self, partitions_of: Callable[[str], list[TopicPartition]], notify: Callable[[], None]) -> None:
        self.offsets: dict[TopicPartition, int] = {}
        self._partitions_of = partitions_of
        self._notify = notify
        self._members: dict[str, Member] = {}
        self._assignments: dict[str, list[TopicPartition]] = {}
        self._is_unbalanced = False
        self._membership_changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def join(self, member: Member) -> None:
        """Add a member. A static member that comes back gets its partitions without a rebalance of the others."""
        former = self._members.get(member.member_id)
        self._members[member.member_id] = member
        self._membership_changed.set()
        if former is not None:
            former.fence()
        is_stable = self._task is None or self._task.done()
        if former is not None and is_stable:
            self._task = asyncio.create_task(self._rejoin(member), name="static rejoin")
        else:
            self._rebalance_soon()

    def leave(self, member: Member) -> None:
        """Remove a member at once; a static one keeps its partitions until its session expires."""
        if not member.is_static and self._members.get(member.member_id) is member:
            del self._members[member.member_id]
            self._rebalance_soon()

    def expire_sessions(self) -> None:
        """Remove the static members that are stopped."""
        stopped = [member_id for member_id, member in self._members.items() if member.is_stopped]
        for member_id in stopped:
            del self._members[member_id]
        if stopped:
            self._membership_changed.set()
            self._rebalance_soon()

    def _rebalance_soon(self) -> None:
        self._is_unbalanced = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._rebalance(), name="rebalance")

    async def _rejoin(self, member: Member) -> None:
        await member.revoke()
        await member.accept(self._assignments[member.member_id])
        await self._rebalance()  # if one was asked for meanwhile

    async def _rebalance(self) -> None:
        while self._is_unbalanced:
            self._is_unbalanced = False
            await asyncio.gather(*(member.revoke() for member in self._members.values() if not member.is_stopped))
            while any(member.is_stopped for member in self._members.values()):
                self._membership_changed.clear()
                await self._membership_changed.wait()  # until their sessions expire, or they come back
            members = dict(self._members)
            self._assignments = self._assign(members)
            await asyncio.gather(*(member.accept(self._assignments[name]) for name, member in members.items()))
            self._notify()

    def _assign(self, members: dict[str, Member]) -> dict[str, list[TopicPartition]]:
        """Share the partitions of each topic in ranges, in the order of member ids."""
        assignments: dict[str, list[TopicPartition]] = {name: [] for name in members}
        for topic in sorted({topic for member in members.values() for topic in member.topics}):
            names = sorted(name for name, member in members.items() if topic in member.topics)
            partitions = self._partitions_of(topic)
            size, rest = divmod(len(partitions), len(names))
            start = 0
            for index, name in enumerate(names):
                end = start + size + (index < rest)
                assignments[name] += partitions[start:end]
                start = end
        return assignments

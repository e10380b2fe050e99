"""What waits to be written: whoever waits has one mutation in each round, in its own order.

Invariants:

- What an owner has submitted is taken in the order in which it was.
- Before an owner's second is taken, each that waits has had its first: one's mutation waits for no
  other's thousands.
- What is put back is as if it had not been taken; but what was withdrawn meanwhile is gone.

Thread: any, within one lock, which is the writer's.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, NamedTuple

from .mutations import Mutation, Outcome  # noqa: TC001 - a NamedTuple's annotations are looked at

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable


class Request(NamedTuple):
    """A mutation, who is told of its outcome, and whose it is."""

    mutation: Mutation
    callback: Callable[[Outcome], object]
    owner: Hashable


class Turns:
    """A queue for each owner that has something in it, that whose turn it is first."""

    def __init__(self) -> None:
        self._queues: OrderedDict[Hashable, deque[Request]] = OrderedDict()
        self._count = 0
        self._withdrawn: set[Hashable] = set()  # since the last were taken

    def __len__(self) -> int:
        return self._count

    def add(self, request: Request) -> None:
        """Have it wait."""
        self._queues.setdefault(request.owner, deque()).append(request)
        self._count += 1

    def take(self, at_most: int) -> list[Request]:
        """Those whose turn it is."""
        self._withdrawn.clear()
        taken: list[Request] = []
        while self._queues and len(taken) < at_most:
            owner, queue = self._queues.popitem(last=False)
            taken.append(queue.popleft())
            if queue:
                self._queues[owner] = queue
        self._count -= len(taken)
        return taken

    def put_back(self, requests: Iterable[Request]) -> None:
        """The last of those that were taken last: nothing was done of them."""
        for request in reversed(list(requests)):
            if request.owner not in self._withdrawn:
                self._queues.setdefault(request.owner, deque()).appendleft(request)
                self._queues.move_to_end(request.owner, last=False)
                self._count += 1

    def withdraw(self, owner: Hashable) -> None:
        """What it has is not to be taken any more."""
        self._count -= len(self._queues.pop(owner, ()))
        self._withdrawn.add(owner)

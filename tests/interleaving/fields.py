"""What the fields of ewb's shared objects are guarded by, and what watches that it is so.

Each field of these classes is in the tables, so a new one has to be thought about
(`tests/test_shared_fields.py`). `watching` puts a descriptor in the place of each that is not
constant, and so sees each reading and each writing, in the unchanged code: the scheduler makes these
its steps, the tests of real threads compare them with the tables.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from enum import Enum, auto
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from unittest.mock import patch

from ewb._bell import Bell
from ewb._budget import Budget
from ewb._buffer import Buffer
from ewb._call import Call
from ewb._channel import ChunkSender, _Shared
from ewb._courtesy import Courtesy
from ewb._doorbell import Doorbell
from ewb._from_thread import Portal
from ewb._handoff import Handoff
from ewb._ledger import Ledger
from ewb._producer import Producer
from ewb._receiver import ChunkReceiver
from ewb._threads import Threads, Worker
from ewb._waker import Waker
from ewb._workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Rule(Enum):
    """Who may touch a field."""

    CONSTANT = auto()
    """Nobody changes it once its object is made."""
    GUARDED = auto()
    """Whoever holds the lock."""
    HINT = auto()
    """Written by whoever holds the lock; who reads it without knows what was so a moment ago."""
    ONE_WRITER = auto()
    """Written by one thread at a time, without a lock; anybody may read it."""
    FRONT_END = auto()
    """Trio's thread."""
    LATEST = auto()
    """Anybody, as any of the latest values will do."""
    ALIKE = auto()
    """All who write it write the same, before a step under the lock that is waited for."""


C, G, H = Rule.CONSTANT, Rule.GUARDED, Rule.HINT
ONE, FRONT = Rule.ONE_WRITER, Rule.FRONT_END


def _all(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


TABLES: Final[dict[type, dict[str, Rule]]] = {
    Handoff: {
        **_all(C, "_post _resume_early lock buffer _bell _resume_at"),
        **_all(H, "ring_from suspended closed cut end _suspensions _on_room _turn"),
        **_all(G, "_waits _suspended_at _seconds_suspended"),
        **_all(Rule.ALIKE, "dropped"),
    },
    Buffer: {
        # Two threads change the lists `chunks` and `_sizes` without a lock: see its module. `held` is
        # changed with the lock, and looked at without it too.
        **_all(C, "size_of plain ledger chunks _sizes held"),
        **_all(G, "_held_sizes _batches _received _peak_chunks _peak_bytes"),
    },
    Ledger: {
        **_all(C, "bounds half_high_water _half_chunks _most_at_once _budget"),
        **_all(ONE, "produced"),
        **_all(H, "limit"),
        **_all(G, "drained held dropped lent _reserved"),
    },
    Bell: {
        **_all(C, "_moderation"),
        **_all(H, "rings"),
        **_all(G, "_last_wake _parked_at _rung _waker parked"),
    },
    Budget: {**_all(C, "limit _lock"), **_all(H, "used")},
    Doorbell: {**_all(C, "_token _lock"), **_all(G, "_calls _out _over"), **_all(FRONT, "_channels")},
    _Shared: {**_all(C, "handoff room"), **_all(G, "open"), **_all(Rule.LATEST, "broken")},
    ChunkSender: {**_all(C, "_shared"), **_all(H, "_closed")},
    Threads: {
        **_all(C, "workers _time_slice _lock"),
        **_all(G, "_shared _owner _idle _stopping _any_dead"),
    },
    Worker: {**_all(C, "number wake"), **_all(G, "ready bound running since shared_next dead")},
    Producer: {
        **_all(C, "name same_thread handoff portal _context _courtesy _schedule _on_finished"),
        **_all(ONE, "begun ended closing_error _iterator _start"),
        **_all(FRONT, "over when_finished _finished"),
        **_all(H, "lost"),
    },
    Call: {
        **_all(C, "name finished _context _workers portal"),
        **_all(ONE, "begun ended _outcome"),
        **_all(H, "lost"),
        **_all(FRONT, "end"),
        **_all(ONE, "_fn _on_ready"),  # read by a worker, dropped by the front end once it has `ended`
    },
    Courtesy: {
        **_all(C, "_wanted _when_lowered _lock"),
        **_all(H, "_wish"),
        **_all(Rule.LATEST, "_until"),
    },
    Portal: {
        **_all(C, "_doorbell _nursery"),
        **_all(FRONT, "_scope _started _task"),
        **_all(ONE, "_leaving _over"),
    },
    ChunkReceiver: {**_all(C, "_handoff _leave _backstop"), **_all(FRONT, "_busy _end_seen")},
    Waker: _all(FRONT, "_task _woken"),
    Workers: {
        **_all(C, "_settings _nursery _doorbell _budget _courtesy _threads"),
        **_all(C, "_schedule _forget _leave _channel"),
        **_all(FRONT, "_jobs _closed"),
    },
}


class Access(NamedTuple):
    """Somebody is about to read or write a field."""

    thing: object
    name: str
    rule: Rule
    writes: bool


class Watched:
    """In the place of an attribute: tells of each access before it happens."""

    def __init__(self, owner: type, name: str, rule: Rule, watch: Callable[[Access], None]) -> None:
        self._name = name
        self._rule = rule
        self._watch = watch
        self._slot: Any = owner.__dict__.get(name)

    def __get__(self, thing: Any, owner: type) -> Any:
        if thing is None:
            return self
        self._watch(Access(thing, self._name, self._rule, writes=False))
        if self._slot is not None:
            return self._slot.__get__(thing, owner)
        try:
            return thing.__dict__[self._name]
        except KeyError:
            raise AttributeError(self._name) from None

    def __set__(self, thing: Any, value: object) -> None:
        self._watch(Access(thing, self._name, self._rule, writes=True))
        if self._slot is not None:
            self._slot.__set__(thing, value)
        else:
            thing.__dict__[self._name] = value

    def __delete__(self, thing: Any) -> None:
        self._watch(Access(thing, self._name, self._rule, writes=True))
        if self._slot is not None:
            self._slot.__delete__(thing)
        else:
            del thing.__dict__[self._name]


class Locks:
    """Which lock guards an object that has none of its own."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[object, Any]] = {}
        self._of_jobs: Any = None

    def made(self, thing: Any) -> None:
        """An object is made, and nobody else has it yet."""
        if isinstance(thing, Handoff):
            for part in (thing.buffer, thing.buffer.ledger, thing._bell):
                self._of[id(part)] = (part, thing.lock)
        elif isinstance(thing, Threads):
            self._of_jobs = thing._lock
            for worker in thing.workers:
                self._of[id(worker)] = (worker, thing._lock)

    def of(self, thing: Any) -> Any:
        """Its lock."""
        match thing:
            case Handoff():
                return thing.lock
            case Budget() | Doorbell() | Threads() | Courtesy():
                return thing._lock
            case ChunkSender():
                return thing._shared.handoff.lock
            case _Shared():
                return thing.handoff.lock
            case Producer() | Call():
                return self._of_jobs
            case _:
                return self._of[id(thing)][1]

    def clear(self) -> None:
        """Forget all of them."""
        self._of.clear()


def is_held(lock: Any) -> bool:
    """Does this thread hold it? Of one that is not reentrant, it is only known that somebody does."""
    return bool(lock._is_owned() if hasattr(lock, "_is_owned") else lock.locked())


@contextmanager
def watching(
    watch: Callable[[Access], None],
    locks: Locks,
    *,
    constants: bool = False,
    made: Callable[[object], None] = lambda _: None,
) -> Iterator[None]:
    """Have `watch` told of each access to a field, but for those of an object that is being made."""
    making: set[int] = set()

    def unless_making(access: Access) -> None:
        if id(access.thing) not in making:
            watch(access)

    with ExitStack() as stack:
        for owner, rules in TABLES.items():
            stack.enter_context(patch.object(owner, "__init__", _noting(owner, making, locks, made)))
            for name, rule in rules.items():
                if rule is not Rule.CONSTANT or constants:
                    watched = Watched(owner, name, rule, unless_making)
                    create = name not in owner.__dict__
                    stack.enter_context(patch.object(owner, name, watched, create=create))
        yield


def _noting(
    owner: type, making: set[int], locks: Locks, made: Callable[[object], None]
) -> Callable[..., None]:
    real: Callable[..., None] = owner.__init__  # type: ignore[misc]  # its own, as it is called

    @wraps(real)
    def init(self: object, *args: Any, **kwargs: Any) -> None:
        making.add(id(self))
        try:
            real(self, *args, **kwargs)
            locks.made(self)
            made(self)
        finally:
            making.discard(id(self))

    return init

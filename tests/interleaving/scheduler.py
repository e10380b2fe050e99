"""Runs threads one at a time, and lets them take turns in every way that makes a difference.

Real threads run the real code, but only one of them at any moment: a thread that is about to touch
something shared says so (`step`), and goes on when it is chosen. `Explorer` chooses, run after run,
depth first, until no order is left that could come to anything else. Everything is deterministic, so
a run can be had again from its schedule.

What is left out is only what cannot differ: two orders of steps that do not touch the same thing, or
only read it. (Dynamic partial-order reduction with source sets, after Abdulla, Aronis, Jonsson and
Sagonas, POPL 2014, with sleep sets after Godefroid, 1996.) `reduce=False` leaves nothing out, and
serves to test the reduction.

Invariants:

- One actor runs at a time, or the explorer does. So nothing in here needs a lock.
- `Actor.pending` is what it does next, known before it is done. `clock[q]` is the number of the last
  step of actor q that is known to have come before, as seen through what was shared.
- A lock's release is no step of its own: nobody can tell when exactly it came. It is part of the step
  before.
"""

from __future__ import annotations

import gc
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from random import Random
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Kind = Literal["begin", "read", "write", "acquire", "wait"]

MOST_STEPS: Final = 5_000
"""Steps of a run, after which it is taken for one that never ends."""
COLLECTED_AFTER: Final = 500
"""Runs, whose garbage is left for so long."""
GUARD: Final = 60.0
"""Seconds for a run: only a bug of the scheduler takes so long."""


class Op(NamedTuple):
    """What an actor is about to do, and to what."""

    place: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.kind} {self.place}"


def conflict(one: Op, other: Op) -> bool:
    """Does it matter which of both comes first?"""
    if one.place != other.place or "wait" in (one.kind, other.kind):
        return False
    return not one.kind == other.kind == "read"


class Abort(BaseException):
    """Raised in the actors of a run that is over."""


class Stuck(AssertionError):  # noqa: N818 - that is what it is
    """Nobody can go on, though somebody waits: a lost wake-up, or a deadlock."""


class Changed(Exception):  # noqa: N818 - as above
    """The same schedule came to something else: the case is not deterministic."""


@dataclass
class Place:
    """What is known of something shared: its steps, and what a step there knows by then."""

    steps: dict[int, list[tuple[int, Op]]] = field(default_factory=dict)
    """Each actor's."""
    clocks: dict[int, list[int]] = field(default_factory=dict)
    """What each of these steps knew."""
    reads: list[int] = field(default_factory=list)
    writes: list[int] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    """What who released a lock, or made it worth to wait no longer, knew."""


@dataclass
class Node:
    """A point of a run at which somebody was chosen."""

    enabled: dict[int, Op]
    sleep: dict[int, Op]
    """Who need not be chosen here: what comes of it was seen before."""
    chosen: int = -1
    todo: set[int] = field(default_factory=set)
    done: set[int] = field(default_factory=set)


class Actor:
    """One of the threads of a case, in one run."""

    def __init__(self, number: int, name: str, count: int) -> None:
        self.number = number
        self.name = name
        self.pending = Op(name, "begin")
        self.can: Callable[[], bool] | None = None
        self.clock = [-1] * count
        self.done = False
        self.gate = threading.Lock()
        self.gate.acquire()

    @property
    def enabled(self) -> bool:
        """Could it go on?"""
        return not self.done and (self.can is None or self.can())


class _Thread(threading.Thread):
    """A thread that plays one actor after another, as starting one for each would cost the most."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="interleaving")
        self._begin = threading.Lock()
        self._begin.acquire()
        self._job: Callable[[], None] | None = None
        self.start()

    def play(self, job: Callable[[], None] | None) -> None:
        """Do this; None: end."""
        self._job = job
        self._begin.release()

    def run(self) -> None:
        """Play until there is no more."""
        while True:
            self._begin.acquire()
            job = self._job  # the next one may be given as soon as this one is over
            if job is None:
                return
            job()


class Run:
    """One run of a case: who is at what, and whose turn it is."""

    def __init__(self, names: Sequence[str], choose: Callable[[Run], int | None]) -> None:
        self.actors = [Actor(number, name, len(names)) for number, name in enumerate(names)]
        self.current: Actor | None = None
        self.failure: BaseException | None = None
        self.trace: list[tuple[int, Op]] = []
        self.clocks: list[list[int]] = []
        """For each step of the trace what it knew: see `Actor.clock`."""
        self.pruned = False
        self.places: dict[str, Place] = {}
        self.labels: dict[int, tuple[object, str]] = {}
        self.on_step: Callable[[Actor, Op], None] = lambda *_: None
        self._counts: dict[str, int] = {}
        self._bodies: list[Callable[[], object]] = []
        self._choose = choose
        self._over = False
        self._main = threading.Lock()
        self._main.acquire()

    def place(self, name: str) -> Place:
        """What is known of this one."""
        found = self.places.get(name)
        if found is None:
            found = self.places[name] = Place(
                {}, {}, *([-1] * len(self.actors) for _ in ("reads", "writes", "released"))
            )
        return found

    def label(self, thing: object, kind: str = "") -> str:
        """A name for an object: the same in each run."""
        known = self.labels.get(id(thing))
        if known is None:
            kind = kind or type(thing).__name__
            number = self._counts[kind] = self._counts.get(kind, 0) + 1
            known = self.labels[id(thing)] = (thing, kind if number == 1 else f"{kind}{number}")
        return known[1]

    def fail(self, why: str) -> None:
        """Something is wrong: the run ends at the next step."""
        if self.failure is None:
            self.failure = AssertionError(why)

    # -- in the actors' threads -----------------------------------------------------------------

    def step(self, op: Op, can: Callable[[], bool] | None = None) -> None:
        """About to do this: go on when chosen, which is not before `can` says True."""
        me = self.current
        if me is None or self._over:
            self._step_in_vain(can)
            return
        me.pending, me.can = op, can
        if not self._give_turn():
            me.gate.acquire()
        if self._over:
            raise Abort
        self.trace.append((me.number, op))
        self.on_step(me, op)

    def _step_in_vain(self, can: Callable[[], bool] | None) -> None:
        """The run is over, or has not begun: nothing is decided any more, but nobody may block."""
        if can is not None and not can():
            raise Abort

    def _give_turn(self) -> bool:
        """Choose who goes on; True: who does so already. From here on another one may be running."""
        if len(self.trace) >= MOST_STEPS:
            self.fail("it goes on for ever")
        chosen = self._choose(self) if self.failure is None else None
        if chosen is None:
            self._over = True
            self.current = None
            self._main.release()
            return False
        actor = self.actors[chosen]
        if actor is self.current:
            return True
        self.current = actor
        actor.gate.release()
        return False

    def _play(self, actor: Actor) -> None:
        actor.gate.acquire()
        try:
            if not self._over:
                self.trace.append((actor.number, actor.pending))
                self.on_step(actor, actor.pending)
                self._bodies[actor.number]()
        except Abort:
            pass
        except BaseException as error:  # noqa: BLE001 - it is the run's
            if not self._over:
                self.failure = self.failure or error
        actor.done = True
        if self._over:
            self._main.release()
        else:
            self._give_turn()

    # -- in the explorer's thread ---------------------------------------------------------------

    def go(self, threads: Sequence[_Thread], bodies: Sequence[Callable[[], object]]) -> None:
        """Run to the end."""
        self._bodies = list(bodies)
        for actor, thread in zip(self.actors, threads, strict=True):
            thread.play(lambda actor=actor: self._play(actor))  # type: ignore[misc]
        self._give_turn()
        self._wait()
        for actor in self.actors:
            if not actor.done:
                actor.gate.release()
                self._wait()
        self._bodies.clear()  # what they hold is dropped here, not by a thread in the midst of a run

    def _wait(self) -> None:
        assert self._main.acquire(timeout=GUARD), "the scheduler is stuck"


_run: Run | None = None


def current_run() -> Run | None:
    """The run that is under way, if one is."""
    return _run


def step(place: str, kind: Kind, can: Callable[[], bool] | None = None) -> None:
    """About to touch something shared. Without a run, or in none of its actors: nothing happens."""
    if _run is not None:
        _run.step(Op(place, kind), can)


class Result(NamedTuple):
    """What came of exploring a case."""

    runs: int
    """Runs to the end."""
    pruned: int
    """Runs that were given up, as all that could come of them was seen before."""
    steps: int
    """Steps of the longest run."""
    complete: bool
    """Was every order tried that makes a difference?"""
    failure: BaseException | None = None
    schedule: str = ""
    story: str = ""


class Case:
    """What to explore. `set_up` makes everything anew for each run; the actors run; then `check`."""

    def set_up(self) -> dict[str, Callable[[], object]]:
        """The actors, by name."""
        raise NotImplementedError

    def check(self) -> None:
        """All have ended: is everything as it must be?"""

    def tear_down(self) -> None:
        """The run is over, however it went."""

    def idle(self) -> bool:
        """Nobody can go on: has something come of that, as when time passes?"""
        return False

    def waiting_is_fine(self, names: set[str]) -> bool:
        """Only these have not ended, and nobody can go on: is that right?"""
        del names
        return False


class Explorer:
    """Tries the orders in which a case's actors can take their steps."""

    def __init__(self, case: Case, *, reduce: bool = True) -> None:
        self._case = case
        self._reduce = reduce
        self._stack: list[Node] = []
        self._depth = 0
        self._threads: list[_Thread] = []
        self._names: list[str] = []
        self._made = 0
        self._pick: Callable[[list[int]], int] = lambda ways: ways[0]
        """Of those that can go on, the one before first, who does so."""

    def explore(self, *, most: int) -> Result:
        """Run until something fails, or no order is left, or `most` runs were made."""
        runs = pruned = longest = 0
        with self._undisturbed():
            while runs + pruned < most:
                run = self._once()
                longest = max(longest, len(run.trace))
                runs += not run.pruned
                pruned += run.pruned
                if run.failure is not None:
                    return self._failed(run, runs, pruned, longest)
                if not self._back_up():
                    return Result(runs, pruned, longest, complete=True)
            return Result(runs, pruned, longest, complete=False)

    def sample(self, *, runs: int, seed: int) -> Result:
        """Run so many times, in orders by chance: where there are too many for all."""
        chance, longest = Random(seed), 0  # noqa: S311 - it has to be repeatable
        self._reduce = False
        with self._undisturbed():
            for number in range(1, runs + 1):
                self._stack.clear()
                stays = chance.choice((0.5, 0.8, 0.9, 0.95))
                self._pick = lambda ways, stays=stays: _one_of(ways, stays, chance)  # type: ignore[misc]
                run = self._once()
                longest = max(longest, len(run.trace))
                if run.failure is not None:
                    return self._failed(run, number, 0, longest)
            return Result(runs, 0, longest, complete=False)

    def _failed(self, run: Run, runs: int, pruned: int, longest: int) -> Result:
        return Result(
            runs,
            pruned,
            longest,
            complete=False,
            failure=run.failure,
            schedule=schedule_of(run),
            story=story_of(run),
        )

    def replay(self, schedule: str) -> Run:
        """Run once, in this order; what is left open goes on with whoever can."""
        self._names = list(self._case.set_up())
        self._case.tear_down()
        numbers = [self._names.index(name) for name in parse(schedule)]
        self._stack = [Node({}, {}, chosen=number) for number in numbers]
        with self._undisturbed():
            return self._once(check=False)

    def _once(self, *, check: bool = True) -> Run:
        global _run  # noqa: PLW0603 - what is instrumented has to find it
        self._made += 1
        if self._made % COLLECTED_AFTER == 0:
            gc.collect()
        bodies = self._case.set_up()
        self._names = list(bodies)
        while len(self._threads) < len(bodies):
            self._threads.append(_Thread())
        self._depth = 0
        run = Run(self._names, lambda run: self._choose(run, check=check))
        run.on_step = lambda actor, op: self._note(run, actor, op)
        _run = run
        try:
            run.go(self._threads[: len(bodies)], list(bodies.values()))
            if isinstance(run.failure, Changed):
                raise run.failure
            if run.failure is None and not run.pruned:
                try:
                    self._case.check()
                except AssertionError as error:
                    run.failure = error
        finally:
            _run = None
            self._case.tear_down()
        return run

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """What the collector drops, and when, is not the same in each run: it waits its turn."""
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if was_enabled:
                gc.enable()
            self._end_threads()

    def _end_threads(self) -> None:
        for thread in self._threads:
            thread.play(None)
        for thread in self._threads:
            thread.join(GUARD)
        self._threads.clear()

    # -- choosing ---------------------------------------------------------------------------------

    def _choose(self, run: Run, *, check: bool) -> int | None:
        enabled = {actor.number: actor.pending for actor in run.actors if actor.enabled}
        if not enabled and self._case.idle():
            enabled = {actor.number: actor.pending for actor in run.actors if actor.enabled}
        if not enabled:
            self._nobody_can(run)
            return None
        depth, self._depth = self._depth, self._depth + 1
        if depth < len(self._stack):
            node = self._stack[depth]
            if check and node.enabled != enabled:
                run.failure = Changed(f"{node.enabled} became {enabled}")
                return None
            node.enabled = enabled
        else:
            node = Node(enabled, self._asleep(depth, enabled) if self._reduce and check else {})
            awake = [number for number in enabled if number not in node.sleep]
            if not awake:
                run.pruned = True
                self._depth -= 1
                return None
            before = run.current.number if run.current is not None else -1
            node.chosen = self._pick([before, *awake] if before in awake else awake)
            node.todo = {node.chosen} if self._reduce else set(awake)
            self._stack.append(node)
        return node.chosen if node.chosen in enabled else next(iter(enabled))

    def _asleep(self, depth: int, enabled: dict[int, Op]) -> dict[int, Op]:
        """Who was chosen at the point before, or slept there, and does not mind what was done since."""
        if depth == 0:
            return {}
        parent = self._stack[depth - 1]
        did = parent.enabled[parent.chosen]
        candidates = parent.sleep | {number: parent.enabled[number] for number in parent.done}
        return {
            number: op
            for number, op in candidates.items()
            if number != parent.chosen and number in enabled and not conflict(op, did)
        }

    def _nobody_can(self, run: Run) -> None:
        waiting = [actor for actor in run.actors if not actor.done]
        if self._reduce:
            for actor in waiting:
                self._note_in_vain(run, actor)
        if waiting and not self._case.waiting_is_fine({actor.name for actor in waiting}):
            what = ", ".join(f"{actor.name} is at {actor.pending}" for actor in waiting)
            run.failure = Stuck(f"nobody can go on: {what}")

    def _back_up(self) -> bool:
        """Go back to the last point at which there is another one to choose; False if there is none."""
        del self._stack[self._depth :]
        while self._stack:
            node = self._stack[-1]
            node.done.add(node.chosen)
            left = node.todo - node.done - node.sleep.keys()
            if left:
                node.chosen = min(left)
                return True
            self._stack.pop()
        return False

    # -- what came before what ----------------------------------------------------------------------

    def _note(self, run: Run, actor: Actor, op: Op) -> None:
        """A step is made."""
        depth = len(run.trace) - 1
        place, clock = run.place(op.place), actor.clock
        races = list(_races(place, actor, op)) if self._reduce else []
        clock[actor.number] = depth
        if op.kind in ("acquire", "wait"):
            _join(clock, place.released)
        if op.kind in ("read", "write"):
            _join(clock, place.writes)
        if op.kind == "write":
            _join(clock, place.reads)
            place.writes = clock.copy()
        elif op.kind == "read":
            _join(place.reads, clock)
        run.clocks.append(clock.copy())
        place.steps.setdefault(actor.number, []).append((depth, op))
        place.clocks[depth] = run.clocks[depth]
        for earlier in races:
            self._reverse(run, earlier, depth)

    def _note_in_vain(self, run: Run, actor: Actor) -> None:
        """A step will not be made in this run: had it come earlier, it would have been."""
        run.trace.append((actor.number, actor.pending))
        run.clocks.append(actor.clock)
        for earlier in _races(run.place(actor.pending.place), actor, actor.pending):
            self._reverse(run, earlier, len(run.trace) - 1)
        run.trace.pop()
        run.clocks.pop()

    def _reverse(self, run: Run, earlier: int, later: int) -> None:
        """See to it that the later step is tried before the earlier one."""
        # What came between, and would have come without the earlier one: who could begin with that?
        first: dict[int, int] = {}
        by = run.trace[earlier][0]
        for depth in range(earlier + 1, later + 1):
            number = run.trace[depth][0]
            if number not in first and (depth == later or run.clocks[depth][by] < earlier):
                first[number] = depth
        node = self._stack[earlier]
        ways = {
            number
            for number, depth in first.items()
            if all(run.clocks[depth][other] < first[other] for other in first if other != number)
        }
        if not ways <= node.enabled.keys():
            node.todo |= node.enabled.keys()
        elif not ways & node.todo:
            node.todo.add(min(ways))


def _races(place: Place, actor: Actor, op: Op) -> Iterator[int]:
    """The steps after which `op` comes only by chance, and directly."""
    found: list[tuple[int, int]] = []
    for number, steps in place.steps.items():
        if number != actor.number:
            for depth, other in reversed(steps):
                if actor.clock[number] >= depth:
                    break  # this one has to come before, and so have all that this actor did earlier
                if conflict(other, op):
                    found.append((depth, number))
    found.sort(reverse=True)
    for position, (depth, number) in enumerate(found):
        if not any(place.clocks[later][number] >= depth for later, _ in found[:position]):
            yield depth


def _one_of(ways: list[int], stays: float, chance: Random) -> int:
    return ways[0] if chance.random() < stays else chance.choice(ways)


def _join(clock: list[int], other: list[int]) -> None:
    for number, depth in enumerate(other):
        clock[number] = max(clock[number], depth)


# -- schedules, to be read and to be had again -------------------------------------------------------


def schedule_of(run: Run) -> str:
    """Who made how many steps in turn: `worker*12 front_end*3 worker`."""
    turns: Iterator[tuple[int, int]] = (
        (number, len(list(steps))) for number, steps in groupby(run.trace, key=lambda one: one[0])
    )
    names = [actor.name for actor in run.actors]
    return " ".join(f"{names[number]}*{count}" for number, count in turns)


def parse(schedule: str) -> list[str]:
    """The names, one for each step."""
    turns = (turn.partition("*") for turn in schedule.split())
    return [name for name, _, count in turns for _ in range(int(count or 1))]


def story_of(run: Run) -> str:
    """The turns of a run, and what was touched in each."""
    names = [actor.name for actor in run.actors]
    lines: list[str] = []
    for number, steps in groupby(run.trace, key=lambda one: one[0]):
        what = [str(op) for _, op in steps]
        lines.append(f"  {names[number]:>10}: {', '.join(what)}")
    return "\n".join(lines)

"""Hooks: what they are told of each command, that they cost nothing unused, and the ready-made one."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import trio

import ewb
from ewb import Hook, SlowCommands, Status
from ewb._hooks import Hooks

from .helpers import fail
from .test_pipeline import Script, Words, calls, letters, open_bench, streams, waits

if TYPE_CHECKING:
    from collections.abc import Callable

    from .test_pipeline import Cookie

EVENTS = ("received", "executed", "parked", "notified", "first_chunk", "done", "dropped")


class Recording(Hook[str, Any]):
    """Writes all of it down."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.times: list[float] = []

    def _note(self, event: str, cookie: Cookie, at: float) -> None:
        self.events.append(f"{event} {cookie.request}")
        self.times.append(at)


def noting(event: str) -> Callable[[Recording, Any, float], None]:
    """A method for one event."""
    return lambda self, cookie, at: self._note(event, cookie, at)


class Full(Recording):
    """Is told of everything."""


for _event in EVENTS:
    setattr(Full, _event, noting(_event))


async def test_a_hook_is_told_of_each_step_with_its_time() -> None:
    """In the order in which it happens, by the clock that `time.perf_counter` reads."""
    hook = Full()
    before = time.perf_counter()
    async with open_bench({"s1": streams(letters, "ab")}, hooks=[hook]) as bench:
        bench.feed("s1")
        await bench.until_idle()
    steps = ["received", "executed", "parked", "first_chunk", "notified", "executed", "done"]
    assert hook.events == [f"{step} s1" for step in steps]
    assert hook.times == sorted(hook.times)
    assert before <= hook.times[0]
    assert hook.times[-1] <= time.perf_counter()


async def test_a_hook_is_told_of_each_wait() -> None:
    """`parked` and `notified` come once for each time that the command would block."""
    hook = Full()

    def twice(cookie: Cookie) -> Any:
        cookie.stash = (cookie.stash or 0) + 1  # type: ignore[operator]
        return cookie.run(len, "") if cookie.stash < 3 else Status.OK

    async with open_bench({"s1": twice}, hooks=[hook]) as bench:
        bench.feed("s1")
        await bench.until_idle()
    waits_told = [event for event in hook.events if event in {"parked s1", "notified s1"}]
    assert waits_told == ["parked s1", "notified s1"] * 2


async def test_a_wait_that_was_over_before_it_began_is_told_of_in_order() -> None:
    """A notify from within `execute`: first parked, then notified."""
    hook = Full()

    def eager(cookie: Cookie) -> Any:
        cookie.notify()
        return Status.OK if cookie.resumed else Status.WOULD_BLOCK

    async with open_bench({"s1": eager}, hooks=[hook]) as bench:
        bench.feed("s1")
        await bench.until_idle()
    steps = ["received", "executed", "parked", "notified", "executed", "done"]
    assert hook.events == [f"{step} s1" for step in steps]


async def test_a_command_whose_connection_goes_is_dropped_and_not_done() -> None:
    """Each command that was received is told of once more: as done, or as dropped."""
    hook = Full()
    async with open_bench({"r1": waits, "o2": waits}, hooks=[hook]) as bench:
        bench.feed("r1 o2 r3 s4")
    assert sorted(event for event in hook.events if event.split()[0] in {"done", "dropped"}) == [
        "done r3",
        "dropped o2",
        "dropped r1",
        "dropped s4",
    ]


async def test_a_command_that_is_refused_was_received_and_done() -> None:
    """It is not executed."""
    hook = Full()
    async with open_bench({"r1": waits}, hooks=[hook], max_in_flight=1) as bench:
        bench.feed("r1 r2")
        assert [event for event in hook.events if event.endswith("r2")] == ["received r2", "done r2"]


async def test_a_hook_knows_the_status_and_what_it_was_about() -> None:
    """When a command is done its cookie has its status; when it is notified, what was said."""
    seen: list[Any] = []

    class Statuses(Hook[str, Any]):
        def notified(self, cookie: Cookie, at: float) -> None:
            seen.append(cookie.status)

        def done(self, cookie: Cookie, at: float) -> None:
            seen.append(cookie.status)

    async with open_bench({"s1": calls(fail, KeyError())}, hooks=[Statuses()]) as bench:
        bench.feed("s1 s2")
        await bench.until_idle()
    assert seen == [Status.FAILED, Status.FAILED, Status.OK]


async def test_a_hook_may_act_on_the_cookie() -> None:
    """One that notifies from `parked` has it executed again at once."""

    class Impatient(Hook[str, Any]):
        def parked(self, cookie: Cookie, at: float) -> None:
            cookie.notify()

    async with open_bench({"s1": waits}, hooks=[Impatient()]) as bench:
        bench.feed("s1")
        await bench.until_idle()
        assert bench.sent == ["s1=OK"]


@pytest.mark.parametrize("event", EVENTS)
async def test_a_hook_that_raises_is_logged_and_not_called_again(
    event: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the command nor other hooks suffer; and nothing more is told to this one, of anything."""
    other = Full()

    def broken(*_: object) -> NoReturn:
        hook.events.append("broken")
        fail(KeyError("a slip"))

    kind = type("Broken", (Full,), {event: broken})
    hook = kind()
    commands = {"s1": streams(letters, "ab"), "s2": streams(letters, "ab"), "s3": waits}
    async with open_bench(commands, hooks=[hook, other]) as bench:
        bench.feed("s1 s2 s3")
        await bench.until(lambda: "parked s3" in other.events)
        assert bench.answers == ["s1=OK", "s2=OK"]
    assert hook.events.count("broken") == 1
    assert hook.events[-1] == "broken"
    assert len(caplog.records) == 1
    assert "a hook failed, and is not called any more" in caplog.text
    assert "a slip" in caplog.text
    assert hook.events[:-1] == other.events[: len(hook.events) - 1]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, pytest.fail.Exception])
async def test_a_hook_that_raises_what_is_no_exception_is_no_other(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """Raised where a worker rings, it would end the whole run, and not say why."""
    hook = type("Broken", (Full,), {"notified": lambda *_: fail(error("a slip"))})()
    async with open_bench({"s1": calls(len, "")}, hooks=[hook]) as bench:
        bench.feed("s1 s2")
        await bench.until_idle()
        assert bench.sent == ["s1=OK 0", "s2=OK"]
    assert hook.events == ["received s1", "executed s1", "parked s1"]
    assert "a hook failed" in caplog.text
    assert "a slip" in caplog.text


async def test_a_hook_that_fails_within_its_turn_is_passed_over() -> None:
    """What another hook does makes an event, at which it raises: it is not told of the one around."""
    other = Full()

    class Notifying(Hook[str, Any]):
        def executed(self, cookie: Cookie, at: float) -> None:
            if cookie.request == "r2":
                bench.cookie("r1").notify()

    broken = type("Broken", (Full,), {"notified": lambda *_: fail(KeyError())})()
    async with open_bench({"r1": waits}, hooks=[Notifying(), broken, other]) as bench:
        bench.feed("r1 r2")
        await bench.until_idle()
    assert "executed r2" in other.events
    assert broken.events == ["received r1", "executed r1", "parked r1", "received r2"]


async def test_slow_commands_keeps_nothing_once_it_has_failed() -> None:
    """Else it would keep every later cookie, as nobody tells it of its end."""

    class Broken(SlowCommands[str, Any]):
        def done(self, cookie: Cookie, at: float) -> None:
            super().done(cookie, at)
            fail(KeyError())

    hook = Broken(3600)
    async with open_bench(hooks=[hook]) as bench:
        bench.feed("s1 s2 s3")
    assert not hook._lives


async def test_hooks_that_raise_within_each_other_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A hook whose action makes another event, and which raises in both, is taken off once."""
    cookies: list[Cookie] = []

    class Broken(Hook[str, Any]):
        def notified(self, cookie: Cookie, at: float) -> None:
            for other in cookies:
                other.notify()
            fail(KeyError(cookie.request))

    def kept(cookie: Cookie) -> Any:
        cookies.append(cookie)
        return waits(cookie)

    async with open_bench({"r1": kept, "r2": kept}, hooks=[Broken()]) as bench:
        bench.feed("r1 r2")
        bench.cookie("r1").notify()
        await bench.until_idle()
        assert sorted(bench.sent) == ["r1=OK", "r2=OK"]
    assert len(caplog.records) == 2


def test_what_is_not_overridden_is_not_called() -> None:
    """So it costs nothing: not even a call that does nothing."""

    class Some(Hook[str, Any]):
        def done(self, cookie: Cookie, at: float) -> None:
            """It is overridden."""

    hooks = Hooks([Some(), Hook(), Some()])
    assert len(hooks.done) == 2
    assert not any(getattr(hooks, event) for event in EVENTS if event != "done")


@pytest.mark.parametrize("wrong", [SlowCommands, object(), None])
def test_a_hook_must_be_one(wrong: Any) -> None:
    """A class instead of an object, or something else, is refused when the front end is made."""
    with pytest.raises(TypeError, match=r"a hook must be an ewb\.Hook, not"):
        Hooks([wrong])


@pytest.mark.parametrize("threshold", [-1, "soon"])
def test_a_threshold_is_a_number_of_seconds(threshold: Any) -> None:
    """Anything else is refused where it is given."""
    with pytest.raises((ValueError, TypeError), match=r"^threshold must be .* seconds, not "):
        SlowCommands(threshold)


async def test_slow_commands_are_logged_with_where_the_time_went(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line: what was asked by whom, how it ended, how long it was parked, its first chunk."""
    hook: SlowCommands[str, Any] = SlowCommands(0)
    async with open_bench({"s1": streams(letters, "ab")}, hooks=[hook]) as bench:
        bench.feed("s1")
        await bench.until_idle()
    [record] = caplog.records
    assert (record.name, record.levelno) == ("ewb.slow", logging.WARNING)
    said = record.getMessage()
    assert said.startswith("'s1' from a test took 0.")
    assert "Status.OK; 0." in said
    assert "parked in 1 would-blocks; first chunk: after 0." in said


async def test_a_command_without_chunks_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """It has no first chunk."""
    hook: SlowCommands[str, Any] = SlowCommands(0)
    async with open_bench(hooks=[hook]) as bench:
        bench.feed("s1")
    assert caplog.messages[0].endswith("0.000 s parked in 0 would-blocks; first chunk: none")


async def test_quick_commands_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Below the threshold nothing is said."""
    hook: SlowCommands[str, Any] = SlowCommands(3600)
    async with open_bench({"s1": calls(len, "")}, hooks=[hook]) as bench:
        bench.feed("s1 s2")
        await bench.until_idle()
    assert not caplog.records


async def test_a_slow_command_that_was_dropped_is_not_called_ok(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It says that it was dropped, and counts the wait that it was dropped in."""
    hook: SlowCommands[str, Any] = SlowCommands(0)
    async with open_bench({"s1": waits}, hooks=[hook]) as bench:
        bench.feed("s1")
        await trio.sleep(0.01)
    [said] = caplog.messages
    assert "dropped" in said
    assert "OK" not in said
    assert " 0.000 s parked" not in said


async def test_slow_commands_may_go_to_a_log_of_ones_own(caplog: pytest.LogCaptureFixture) -> None:
    """Any logger will do."""
    hook: SlowCommands[str, Any] = SlowCommands(0, logging.getLogger("mine"))
    async with open_bench(hooks=[hook]) as bench:
        bench.feed("s1")
    assert [record.name for record in caplog.records] == ["mine"]


async def test_nothing_is_kept_of_commands_that_are_over() -> None:
    """A hook that lives as long as the server forgets each command, however it ended."""
    hook: SlowCommands[str, Any] = SlowCommands(3600)
    async with open_bench({"r1": waits}, hooks=[hook]) as bench:
        bench.feed("r1 r2 r3")
        assert len(hook._lives) == 1
    assert not hook._lives


async def test_hooks_of_a_front_end_are_told() -> None:
    """`FrontEnd(…, hooks=…)` refuses what is none, too."""
    async with ewb.open_workers(1) as workers:
        with pytest.raises(TypeError, match="a hook must be"):
            ewb.FrontEnd(Words, Script({}), workers, hooks=[object()])  # type: ignore[list-item]  # a mistake

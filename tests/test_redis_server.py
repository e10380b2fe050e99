"""The Redis example, as Redis's own clients see it: redis-py, redis-cli, redis-benchmark."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import threading
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import redis
import trio
from hypothesis import example, given
from hypothesis import strategies as st

import ewb
from ewb.testing import Gate, MemoryClient, connect
from examples.redis_server import engine as engine_module
from examples.redis_server.commands import matcher
from examples.redis_server.engine import AT_ONCE, RedisEngine, matching_keys
from examples.redis_server.outcome import Outcome
from examples.redis_server.resp import MAX_ARGS, MAX_BULK, MAX_LINE, RespProtocol, bulk

from .helpers import GUARD, run_example, until, until_refused

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncGenerator, Callable, Generator

pytestmark = pytest.mark.tree

ROOT = Path(__file__).resolve().parent.parent
COUNT = 100_000


@attrs.frozen
class Server:
    """The example, in this process."""

    port: int
    front_end: ewb.FrontEnd[list[bytes], Outcome]
    engine: RedisEngine

    async def use(self, do: Callable[[Any], Any], protocol: int = 2) -> Any:
        """Be a client of redis-py, in a thread."""

        def in_thread() -> Any:
            with self.client(protocol) as client:
                return do(client)

        with trio.fail_after(GUARD):
            return await trio.to_thread.run_sync(in_thread)

    def client(self, protocol: int = 2) -> Any:
        """A client of redis-py: its methods block."""
        return redis.Redis(port=self.port, protocol=protocol, socket_timeout=GUARD)

    async def parked(self, count: int) -> None:
        """Wait until so many commands are."""
        await until(lambda: self.front_end.statistics().parked == count)


@asynccontextmanager
async def serving(**settings: Any) -> AsyncGenerator[Server]:
    """A server on a port of the system's choice."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with (
        ewb.open_workers(threads=2) as workers,
        trio.open_nursery() as timers,
        trio.open_nursery() as nursery,
    ):
        engine = RedisEngine(timers)
        front_end = ewb.FrontEnd(RespProtocol, engine, workers, **settings)
        nursery.start_soon(partial(front_end.serve_listeners, [listener], grace=GUARD))
        yield Server(listener.socket.getsockname()[1], front_end, engine)
        front_end.shutdown()
        engine.close()  # and so no timer is left, which this block would wait for


def packed(*words: bytes) -> bytes:
    """A command, as clients send it."""
    return b"*%d\r\n" % len(words) + b"".join(map(bulk, words))


async def ask(client: MemoryClient, *words: bytes) -> None:
    """Send a command."""
    await client.send(packed(*words))


# -- commands that are answered at once ------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3])
async def test_strings_and_lists_are_kept(protocol: int) -> None:
    """What redis-py stores it gets back, in both versions of the protocol."""

    def talk(r: Any) -> None:
        assert r.ping() is True
        assert r.echo("x\r\ny") == b"x\r\ny"
        assert r.set("a", b"\x00\xff") is True
        assert r.get("a") == b"\x00\xff"
        assert r.get("none") is None
        assert r.mset({"x": 1, "y": ""})
        assert r.rpush("list", "b", "c") == 2
        assert r.lpush("list", "a", "z") == 4
        assert r.mget("x", "none", "y", "list") == [b"1", None, b"", None]
        assert (r.incr("x"), r.decr("x"), r.incrby("x", -5)) == (2, 1, -4)
        assert (r.type("a"), r.type("list"), r.type("none")) == (b"string", b"list", b"none")
        assert r.exists("a", "a", "none") == 2
        assert (r.lpop("list"), r.rpop("list"), r.llen("list")) == (b"z", b"c", 2)
        assert r.dbsize() == 4
        assert r.delete("a", "list", "none") == 2
        assert sorted(r.keys()) == [b"x", b"y"]
        assert r.flushall() is True
        assert r.keys() == []

    async with serving() as server:
        await server.use(talk, protocol)


async def test_a_list_whose_last_element_was_taken_is_gone() -> None:
    """As in Redis, no key has an empty list."""

    def talk(r: Any) -> None:
        r.rpush("list", "only")
        assert r.lpop("list") == b"only"
        assert r.lpop("list") is None
        assert r.exists("list") == 0
        assert list(r.scan_iter()) == []

    async with serving() as server:
        await server.use(talk)


@pytest.mark.parametrize("size", [5, 2000])
async def test_lrange_counts_as_redis_does(size: int) -> None:
    """From either end, and out of range; a short one at once, a long one as a stream."""
    expected = [b"%d" % number for number in range(size)]

    def talk(r: Any) -> None:
        r.rpush("list", *expected)
        assert r.lrange("list", 0, -1) == expected
        assert r.lrange("list", 1, 2) == expected[1:3]
        assert r.lrange("list", -2, -1) == expected[-2:]
        assert r.lrange("list", -(2**63), 2**63 - 1) == expected
        assert r.lrange("list", 0, -size - 1) == []
        assert r.lrange("list", size, size + 5) == []
        assert r.lrange("list", 3, 2) == []
        assert r.lrange("none", 0, -1) == []

    async with serving() as server:
        await server.use(talk)
        assert bool(server.front_end.statistics().would_blocks) == (size > AT_ONCE)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("NOPE", "a", "b\r\nc"), "unknown command 'NOPE', with args beginning with: 'a' 'b  c'"),
        (("GET",), "wrong number of arguments for 'get' command"),
        (("GET", "a", "b"), "wrong number of arguments for 'get' command"),
        (("MSET", "a", "b", "c"), "wrong number of arguments for 'mset' command"),
        (("BLPOP", "a"), "wrong number of arguments for 'blpop' command"),
        (("SET", "a", "b", "KEEPTTL"), "syntax error"),
        (("INCR", "string"), "value is not an integer or out of range"),
        (("INCRBY", "n", " 1"), "value is not an integer or out of range"),
        (("INCRBY", "n", "1_0"), "value is not an integer or out of range"),
        (("INCRBY", "n", str(2**63)), "value is not an integer or out of range"),
        (("INCR", "most"), "increment or decrement would overflow"),
        (("GET", "list"), "WRONGTYPE Operation against a key holding the wrong kind of value"),
        (("LPUSH", "string", "x"), "WRONGTYPE Operation against a key holding the wrong kind of value"),
        (("BLPOP", "string", "0"), "WRONGTYPE Operation against a key holding the wrong kind of value"),
        (("BLPOP", "none", "-1"), "timeout is negative"),
        (("BLPOP", "none", "soon"), "timeout is not a float or out of range"),
        (("BLPOP", "none", "inf"), "timeout is not a float or out of range"),
        (("SCAN", "x"), "invalid cursor"),
        (("SCAN", "0", "MATCH"), "syntax error"),
        (("SCAN", "0", "COUNT", "0"), "syntax error"),
        (("SELECT", "1"), "DB index is out of range"),
        (("HELLO", "4"), "NOPROTO unsupported protocol version"),
        (("HELLO", "3", "AUTH", "a", "b"), "HELLO takes no option here: there is no password"),
        (("CLIENT", "KILL"), "unknown subcommand 'KILL'. Try CLIENT HELP."),
        (("CONFIG", "SET", "save", ""), "unknown subcommand 'SET'. Try CONFIG HELP."),
    ],
)
async def test_a_wrong_command_is_refused_as_redis_words_it(
    words: tuple[str, ...], complaint: str
) -> None:
    """And the connection goes on."""

    def talk(r: Any) -> None:
        r.mset({"string": "s", "most": 2**63 - 1})
        r.rpush("list", "x")
        with pytest.raises(redis.ResponseError) as refused:
            r.execute_command(*words)
        assert str(refused.value).strip() == complaint
        assert r.ping() is True

    async with serving() as server:
        await server.use(talk)


async def test_pipelined_commands_are_answered_in_order() -> None:
    """A thousand of them, each of which sees what the one before has done."""

    def talk(r: Any) -> None:
        with r.pipeline(transaction=False) as pipeline:
            for number in range(1000):
                pipeline.set("k", number).get("k").keys("k").blpop(
                    "none", 0.001 if number == 500 else 0
                )
                pipeline.command_stack.pop() if number != 500 else None
            answers = pipeline.execute()
        values = [answer for answer in answers if isinstance(answer, bytes)]
        assert values == [b"%d" % number for number in range(1000)]
        assert len(answers) == 3001
        assert answers.count([b"k"]) == 1000
        assert answers.count(None) == 1

    async with serving() as server:
        await server.use(talk)


async def test_quit_answers_what_came_before_and_closes() -> None:
    async with serving() as server, connect(server.front_end) as client:
        await client.send(packed(b"ECHO", b"x") + packed(b"QUIT") + packed(b"ECHO", b"y"))
        assert await client.finish() == b"$1\r\nx\r\n+OK\r\n"


async def test_hello_changes_the_version_from_its_own_answer_on() -> None:
    """Also for commands that were sent along with it."""
    async with serving() as server, connect(server.front_end) as client:
        await client.send(packed(b"GET", b"a") + packed(b"HELLO", b"3") + packed(b"GET", b"a"))
        said = await client.finish()
    assert said.startswith(b"$-1\r\n%6\r\n$6\r\nserver\r\n$5\r\nredis\r\n")
    assert said.endswith(b"\r\n_\r\n")


# -- keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (b"*", [b"", b"a", b"\xff\n"], []),
        (b"h?llo", [b"hello", b"h\nllo"], [b"hllo", b"heello"]),
        (b"h[ae]llo", [b"hallo"], [b"hillo"]),
        (b"h[^e]llo", [b"hallo", b"h^llo"], [b"hello"]),
        (b"h[a-c]llo", [b"hbllo"], [b"hdllo"]),
        (rb"a\*b", [b"a*b"], [b"axb", rb"a\*b"]),
        (rb"a\?\[\b", [b"a?[b"], [b"ax[b"]),
        (b"\xff*", [b"\xff\xfe"], [b"\xfe"]),
        (b"a.c", [b"a.c"], [b"abc"]),
        (b"a*" * 30, [b"a" * 30], [b"a" * 29, b"b" * 5000]),
    ],
)
def test_patterns_are_those_of_redis(pattern: bytes, yes: list[bytes], no: list[bytes]) -> None:
    """For any bytes, and in no time."""
    match = matcher(pattern)
    assert [key for key in yes + no if match(key)] == yes


async def test_keys_are_streamed_while_others_are_served() -> None:
    """A client does not read its hundred thousand keys yet; another one PINGs."""
    async with (
        serving() as server,
        connect(server.front_end, lockstep=True) as slow,
    ):
        await server.use(partial(fill, count=COUNT))
        await ask(slow, b"KEYS", b"key:*")
        assert await slow.receive_until(b"\r\n") == b"*%d\r\n" % COUNT

        assert all(await server.use(lambda r: [r.ping() for _ in range(100)]))
        assert server.front_end.statistics().executing + server.front_end.statistics().parked == 1
        await server.use(lambda r: r.set("key:new", "comes too late"))

        keys = set()
        for _ in range(COUNT):
            await slow.receive_until(b"\r\n")
            keys.add(await slow.receive_until(b"\r\n"))
        assert keys == {b"key:%d\r\n" % number for number in range(COUNT)}
        await ask(slow, b"PING")
        assert await slow.receive_until(b"\r\n") == b"+PONG\r\n"


def fill(r: Any, count: int) -> None:
    """Set so many keys."""
    for first in range(0, count, 10_000):
        r.mset({f"key:{number}": number for number in range(first, min(count, first + 10_000))})


async def test_keys_are_those_of_the_moment_it_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is set and deleted before a worker comes to look at them."""
    gate = Gate()

    def late(keys: list[bytes], pattern: bytes) -> Generator[bytes, None, Outcome]:
        gate.wait()
        return matching_keys(keys, pattern)

    monkeypatch.setattr(engine_module, "matching_keys", late)
    async with serving() as server, connect(server.front_end) as client:
        await server.use(lambda r: r.mset({"a": 1, "b": 2}))
        await ask(client, b"KEYS", b"*")
        await gate.reached()
        await server.use(lambda r: (r.delete("a"), r.mset({"c": 3, "d": 4})))
        gate.open()
        assert await client.finish() == b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"


async def test_redis_py_lists_all_keys_while_another_one_pings() -> None:
    """On sockets: both are answered."""

    def ping_until_listed(r: Any) -> tuple[int, int]:
        listed: list[bytes] = []

        def list_keys() -> None:
            with server.client() as other:
                listed.extend(other.keys("key:*[0-9]"))

        thread = threading.Thread(target=list_keys)
        thread.start()
        pings = int(r.ping())
        while thread.is_alive():
            pings += r.ping()
        thread.join()
        return len(set(listed)), pings

    async with serving() as server:
        await server.use(partial(fill, count=COUNT))
        count, pings = await server.use(ping_until_listed)
    assert count == COUNT
    assert pings > 0


async def test_scan_finds_all_that_was_there_all_the_time() -> None:
    """Whatever else comes and goes between two steps; and each of them once."""

    def talk(r: Any) -> list[bytes]:
        fill(r, 5000)
        found: list[bytes] = []
        cursor, step = -1, 0
        while cursor:
            cursor, keys = r.scan(max(cursor, 0), count=100)
            found += keys
            step += 1
            r.mset({f"key:{5000 + step}": 1, f"other:{step}": 1})
            r.delete(f"other:{step - 1}")
        return found

    async with serving() as server:
        found = await server.use(talk)
    assert len(found) == len(set(found))
    assert {b"key:%d" % number for number in range(5000)} <= set(found)


async def test_scan_gives_only_what_matches() -> None:
    def talk(r: Any) -> None:
        fill(r, 1000)
        assert sorted(r.scan_iter(match="key:99?")) == [
            b"key:%d" % number for number in range(990, 1000)
        ]
        assert r.scan(2**62) == (0, [])

    async with serving() as server:
        await server.use(talk)


async def test_half_an_array_is_never_followed_by_another_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If a stream breaks, its client is cut off: it would take what follows for an element."""

    def breaks(keys: list[bytes], pattern: bytes) -> Generator[bytes]:
        yield b"*2\r\n"
        msg = f"{pattern!r} of {len(keys)}"
        raise OSError(msg)

    monkeypatch.setattr(engine_module, "matching_keys", breaks)
    async with serving() as server, connect(server.front_end) as client:
        await client.send(packed(b"KEYS", b"*") + packed(b"PING"))
        said = await client.finish()
        assert b"+PONG" not in said
        assert b"*2\r\n".startswith(said)
    assert "b'*' of 0" in caplog.text


# -- BLPOP -----------------------------------------------------------------------------------------


async def test_blpop_takes_what_is_there_already() -> None:
    """From the first of its keys that has something."""

    def talk(r: Any) -> None:
        r.rpush("b", "b1", "b2")
        r.rpush("c", "c1")
        assert r.blpop(["a", "c", "b"], 0) == (b"c", b"c1")
        assert r.blpop(["a", "c", "b"], 0) == (b"b", b"b1")
        assert r.lrange("b", 0, -1) == [b"b2"]

    async with serving() as server:
        await server.use(talk)


async def test_blpop_waits_for_what_is_pushed() -> None:
    """By redis-py in one thread, for redis-py in another; the push counts what it has pushed."""
    async with serving() as server, trio.open_nursery() as nursery:
        taken: list[object] = []

        async def wait() -> None:
            taken.append(await server.use(lambda r: r.blpop(["a", "b"], 1000)))

        nursery.start_soon(wait)
        await server.parked(1)
        assert await server.use(lambda r: (r.lpush("b", "1", "2", "3"), r.lrange("b", 0, -1))) == (
            3,
            [b"2", b"1"],
        )
        await until(lambda: taken == [(b"b", b"3")])


async def test_who_waits_first_is_served_first() -> None:
    """Each of three gets one element, in the order of their coming; the rest stays."""
    async with serving() as server, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(server.front_end)) for _ in range(3)]
        for number, client in enumerate(clients, 1):
            await ask(client, b"BLPOP", b"x", b"list", b"0")
            await server.parked(number)
        await server.use(lambda r: r.rpush("list", "1", "2", "3", "4"))
        for number, client in enumerate(clients, 1):
            answer = b"*2\r\n$4\r\nlist\r\n$1\r\n%d\r\n" % number
            assert await client.receive_exactly(len(answer)) == answer
        assert await server.use(lambda r: r.lrange("list", 0, -1)) == [b"4"]


async def test_commands_behind_a_blpop_wait_for_it() -> None:
    """Those of the same connection, as in Redis."""
    async with serving() as server, connect(server.front_end) as client:
        await client.send(packed(b"BLPOP", b"list", b"0") + packed(b"LPUSH", b"other", b"x"))
        await server.parked(1)
        assert await server.use(lambda r: r.exists("other")) == 0
        await server.use(lambda r: r.lpush("list", "v"))
        assert await client.finish() == b"*2\r\n$4\r\nlist\r\n$1\r\nv\r\n:1\r\n"


@pytest.mark.parametrize("protocol", [2, 3])
async def test_blpop_answers_nothing_when_its_time_is_up(protocol: int) -> None:
    """And what is pushed later stays, for it waits no more."""

    def talk(r: Any) -> None:
        assert r.blpop(["a", "b"], 0.01) is None
        assert r.rpush("b", "later") == 1
        assert r.lrange("b", 0, -1) == [b"later"]

    async with serving() as server:
        await server.use(talk, protocol)


async def test_a_client_that_left_takes_nothing() -> None:
    """It waited first; the second one gets the element."""
    async with serving() as server, connect(server.front_end) as second:
        async with connect(server.front_end) as first:
            await ask(first, b"BLPOP", b"list", b"1000")
            await server.parked(1)
            await ask(second, b"BLPOP", b"list", b"0")
            await server.parked(2)
        await until(lambda: server.front_end.statistics().parked == 1)
        await server.use(lambda r: r.rpush("list", "v"))
        answer = b"*2\r\n$4\r\nlist\r\n$1\r\nv\r\n"
        assert await second.receive_exactly(len(answer)) == answer


async def test_a_client_that_sends_no_more_takes_nothing() -> None:
    """It may read on, for all one knows; but most have closed their end for good. So it is in Redis."""
    async with serving(half_close_timeout=0) as server, connect(server.front_end) as client:
        await ask(client, b"BLPOP", b"list", b"0")
        await server.parked(1)
        await client.stream.send_eof()
        await until(lambda: server.front_end.statistics().dropped)
        assert await server.use(lambda r: (r.rpush("list", "v"), r.lrange("list", 0, -1))) == (
            1,
            [b"v"],
        )
        assert await client.stream.receive_some() == b""


class CutOff(ewb.Hook[list[bytes], Outcome]):
    """The first BLPOP that is notified loses its client at that very moment."""

    def __init__(self) -> None:
        self.done_so = False

    def notified(self, cookie: ewb.Cookie[list[bytes], Outcome], at: float) -> None:
        """See `Hook`."""
        del at
        if not self.done_so:
            self.done_so = True
            cookie.connection.abort()


async def test_what_a_vanished_client_was_given_goes_back_to_its_place() -> None:
    async with serving(hooks=[CutOff()]) as server, connect(server.front_end) as vanishes:
        await ask(vanishes, b"BLPOP", b"list", b"1000")
        await server.parked(1)
        assert await server.use(lambda r: r.rpush("list", "1", "2", "3")) == 3
        assert await vanishes.finish() == b""
        assert await server.use(lambda r: r.lrange("list", 0, -1)) == [b"1", b"2", b"3"]


async def test_what_a_vanished_client_was_given_goes_to_the_next_one() -> None:
    async with (
        serving(hooks=[CutOff()]) as server,
        connect(server.front_end) as vanishes,
        connect(server.front_end) as stays,
    ):
        for number, client in enumerate([vanishes, stays], 1):
            await ask(client, b"BLPOP", b"list", b"0")
            await server.parked(number)
        assert await server.use(lambda r: r.rpush("list", "only")) == 1
        assert await vanishes.finish() == b""
        assert await stays.finish() == b"*2\r\n$4\r\nlist\r\n$4\r\nonly\r\n"


async def test_what_is_pushed_when_the_time_is_up_is_not_lost() -> None:
    """Even at the very moment, between the end of its time and its answer."""

    class Push(ewb.Hook[list[bytes], Outcome]):
        def notified(self, cookie: ewb.Cookie[list[bytes], Outcome], at: float) -> None:
            del cookie, at
            store = server.engine._store
            store.push(b"list", [b"v"], left=True)
            for key in store.take_pushed():
                server.engine._waiters.serve(key)

    async with serving(hooks=[Push()]) as server:
        assert await server.use(lambda r: r.blpop("list", 0.01)) is None
        assert await server.use(lambda r: r.lrange("list", 0, -1)) == [b"v"]


async def test_whoever_waits_is_answered_when_the_server_ends() -> None:
    """So that it ends at once, and not after its time of grace."""
    async with serving() as server, connect(server.front_end) as client:
        await ask(client, b"BLPOP", b"list", b"0")
        await server.parked(1)
        server.front_end.shutdown()
        server.engine.close()
        assert await client.finish() == b"-ERR the command ended as CANCELLED\r\n"


# -- the protocol ----------------------------------------------------------------------------------


def parse(data: bytes, cuts: list[int]) -> tuple[list[list[bytes]], str]:
    """All requests of this data, cut at these places, and the complaint at the end."""
    protocol = RespProtocol()
    requests: list[list[bytes]] = []
    try:
        for begin, end in pairwise([0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]):
            protocol.receive_data(data[begin:end])
            while (request := protocol.next_request()) is not None:
                requests.append(request)
    except ewb.ProtocolError as error:
        return requests, str(error)
    return requests, ""


COMMANDS = st.lists(st.lists(st.binary(max_size=20), min_size=1, max_size=5), max_size=6)
CUTS = st.lists(st.integers(0, 500), max_size=30)
LINES = [b"*1", b"*2", b"*0", b"*-1", b"$0", b"$3", b"$-1", b"$x", b"abc", b"PING", b"99999999", b""]
BITS = [b"\n", b"\r", b" ", b"*", b"$", b"1", b"\x00", b"\xff", b"abc"]
SCRAPS = st.sampled_from([*(line + b"\r\n" for line in LINES), *BITS])


@given(COMMANDS, CUTS)
def test_commands_are_what_was_sent_however_it_is_split(
    commands: list[list[bytes]], cuts: list[int]
) -> None:
    data = b"".join(packed(*words) for words in commands)
    assert parse(data, cuts) == (commands, "")


@given(st.lists(SCRAPS, max_size=20).map(b"".join), CUTS)
@example(b"*1\r\n$3\r\nabcd\r\n", [9])
def test_any_bytes_mean_the_same_however_they_are_split(data: bytes, cuts: list[int]) -> None:
    """Requests, and a complaint if they are no RESP; never another error."""
    assert parse(data, cuts) == parse(data, list(range(len(data)))) == parse(data, [])


def test_inline_commands_are_lines_of_words() -> None:
    assert parse(b"PING\r\n\r\n  set  a b \n*0\r\nGET a\r\n", []) == (
        [[b"PING"], [b"set", b"a", b"b"], [b"GET", b"a"]],
        "",
    )


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"*x\r\n", b"invalid multibulk length"),
        (b"*%d\r\n" % (MAX_ARGS + 1), b"invalid multibulk length"),
        (b"*1\r\n:5\r\n", b"expected '$', got ':'"),
        (b"*1\r\n\xff5\r\n", b"expected '$', got '\\xff'"),
        (b"*1\r\n$-5\r\n", b"invalid bulk length"),
        (b"*1\r\n$%d\r\n" % (MAX_BULK + 1), b"invalid bulk length"),
        (b"*1\r\n$3\r\nabcd\r\n", b"a bulk string is longer than announced"),
        (b"x" * MAX_LINE, b"too big inline request"),
        (b"*" + b"1" * MAX_LINE, b"too big inline request"),
    ],
)
async def test_wrong_bytes_are_answered_and_the_connection_is_closed(
    data: bytes, complaint: bytes
) -> None:
    """After the answers of the commands before, also of one that takes a while."""
    async with serving() as server, connect(server.front_end) as client:
        await client.send(packed(b"KEYS", b"*") + packed(b"PING") + data)
        said = b"*0\r\n+PONG\r\n-ERR Protocol error: " + complaint + b"\r\n"
        assert await client.receive_exactly(len(said)) == said
        with pytest.raises(EOFError):
            await client.receive_exactly(1)
        assert await server.use(lambda r: r.ping())


def test_the_bounds_are_bounds() -> None:
    """What is just within them passes."""
    assert parse(b"x" * (MAX_LINE - 1) + b"\n", []) == ([[b"x" * (MAX_LINE - 1)]], "")
    assert parse(packed(b"x" * MAX_BULK), []) == ([[b"x" * MAX_BULK]], "")
    assert parse(b"*%d\r\n" % MAX_ARGS + b"$0\r\n\r\n" * MAX_ARGS, [])[1] == ""


def test_a_frame_that_is_not_whole_is_known_to_the_front_end() -> None:
    """All of its bytes count, also those of words that are whole; what was answered does not."""
    protocol = RespProtocol()
    protocol.receive_data(packed(b"PING") + b"*2\r\n$1\r\na\r\n$5\r\nab")
    assert protocol.next_request() == [b"PING"]
    assert protocol.next_request() is None
    assert protocol.unparsed == len(b"*2\r\n$1\r\na\r\n$5\r\nab")
    protocol.receive_data(b"cde\r\n")
    assert protocol.next_request() == [b"a", b"abcde"]
    assert protocol.unparsed == 0


# -- Redis's own tools -----------------------------------------------------------------------------


def needs(name: str) -> pytest.MarkDecorator:
    """Skips a test whose tool is not installed."""
    why = f"{name} is not installed: it comes with Debian's redis-tools"
    return pytest.mark.skipif(shutil.which(name) is None, reason=why)


async def run_tool(name: str, server: Server, *arguments: str, stdin: bytes = b"") -> str:
    """What it prints."""
    command = [name, "-p", str(server.port), *arguments]
    with trio.fail_after(3 * GUARD):
        done = await trio.run_process(command, stdin=stdin, capture_stdout=True, capture_stderr=True)
    assert done.stderr == b""
    return done.stdout.decode().replace("\r", "\n")


@needs("redis-cli")
async def test_redis_cli_is_served() -> None:
    """Commands of its command line, of its standard input, and its SCAN."""
    async with serving() as server:
        assert await run_tool("redis-cli", server, "SET", "a", "b c") == "OK\n"
        assert await run_tool("redis-cli", server, "-3", "GET", "a") == "b c\n"
        said = await run_tool(
            "redis-cli", server, stdin=b'rpush l 1 2 "x y"\nlrange l 0 -1\nblpop n l 1\nnope\n'
        )
        assert said.split("\n") == [
            *("3", "1", "2", "x y", "l", "1"),
            *("ERR unknown command 'nope', with args beginning with: ", "", ""),
        ]
        assert sorted((await run_tool("redis-cli", server, "--scan")).split()) == ["a", "l"]


@pytest.mark.slow
@needs("redis-benchmark")
@pytest.mark.parametrize("pipelining", ["1", "16"])
async def test_redis_benchmark_measures_it(pipelining: str) -> None:
    """Each of its tests that this server has the commands for comes to its end."""
    tests = ["ping", "set", "get", "incr", "lpush", "rpush", "lpop", "rpop", "lrange_100", "mset"]
    async with serving() as server:
        said = await run_tool(
            *("redis-benchmark", server, "-q", "-n", "1000", "-P", pipelining, "-t", ",".join(tests))
        )
    ended = set(re.findall(r"^(\w+).*: [\d.]+ requests per second", said, re.MULTILINE))
    assert {name.split("_")[0].lower() for name in ended} == {name.split("_")[0] for name in tests}
    assert "rror" not in said


# -- the program -----------------------------------------------------------------------------------


program = partial(run_example, "redis_server")
"""The example as its reader runs it."""


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout
    said = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", process.stdout.readline())
    assert said
    return int(said[1])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_program_serves_until_it_is_told_to_end(how: signal.Signals) -> None:
    """A client that waits is answered then, and the exit code is 0."""
    with (
        program("--port", "0") as process,
        socket.create_connection(("127.0.0.1", port_of(process)), timeout=GUARD) as client,
    ):
        client.sendall(packed(b"PING") + packed(b"BLPOP", b"list", b"1000"))
        assert client.recv(7, socket.MSG_WAITALL) == b"+PONG\r\n"
        process.send_signal(how)
        rest = b"".join(iter(partial(client.recv, 4096), b""))
        assert rest == b"-ERR the command ended as CANCELLED\r\n"
        client.close()
        out, err = process.communicate(timeout=GUARD)
    assert (process.returncode, out, err) == (0, "", "")


def test_program_that_is_told_twice_ends_at_once() -> None:
    """Though a client does not read what it asked for: quietly, with what a shell expects."""
    with program("--port", "0") as process:
        port = port_of(process)
        with socket.create_connection(("127.0.0.1", port), timeout=GUARD) as client:
            for number in range(200):  # more than the system buffers
                client.sendall(packed(b"SET", b"%050000d" % number, b""))
                assert client.recv(5, socket.MSG_WAITALL) == b"+OK\r\n"
            client.sendall(packed(b"KEYS", b"*"))
            assert client.recv(1) == b"*"
            process.send_signal(signal.SIGINT)
            until_refused(port)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=GUARD)
    assert (process.returncode, out, err) == (130, "", "")


def test_program_says_if_its_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with program("--port", port) as process:
            out, err = process.communicate(timeout=GUARD)
    assert process.returncode == 1
    assert (out, err) == ("", f"cannot listen on 127.0.0.1:{port}: Address already in use\n")


def test_program_does_not_take_another_port_than_it_was_given() -> None:
    """Beyond the last one, the system would take the rest of a division."""
    with program("--port", "99999") as process:
        out, err = process.communicate(timeout=GUARD)
    assert (process.returncode, out) == (2, "")
    assert "--port: give a number up to 65535, or 0 for any that is free, not '99999'" in err

"""Many clients at once that ask for all kinds of things, and leave when they like.

Each answer is verified against what was asked; afterwards nothing is left of anybody.
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from ewb import Status

from .helpers import until
from .test_session import Engine, KnownLines, Lines, Server, serving

if TYPE_CHECKING:
    from collections.abc import Generator

    from .test_session import Cookie


def tagged(tag: str, number: int) -> Generator[bytes]:
    """A producer of so many lines that say whose they are."""
    for one in range(number):
        yield f"{tag}:{one}\n".encode()


class MixedEngine(Engine):
    """All ways to answer, and to would-block, one after the other in one command too."""

    def execute(self, cookie: Cookie) -> Status:
        """See `Engine`."""
        if not cookie.resumed:
            return super().execute(cookie)
        steps: list[str] = cookie.stash or []  # type: ignore[assignment]
        if not steps or cookie.status is not Status.OK:
            return cookie.status
        return self.step(cookie, steps)

    def do_mix(self, cookie: Cookie, text: str) -> Status:
        """`mix TAG STEP STEP …`: one step after the other."""
        _, *steps = text.split()
        cookie.stash = steps
        return self.step(cookie, steps)

    def step(self, cookie: Cookie, steps: list[str]) -> Status:
        """The next step."""
        kind, _, number = steps.pop(0).partition("=")
        if kind == "stream":
            return cookie.produce(tagged, cookie.request.split()[1], int(number), high_water=1000)
        if kind == "call":
            return cookie.run(sum, range(int(number)))
        if kind == "early":
            cookie.notify()
            return Status.WOULD_BLOCK
        if kind == "thread":  # notified from a worker, perhaps before `execute` has returned
            self.later.append(cookie)
            return Status.WOULD_BLOCK
        cookie.reply = b"x" * int(number)
        return Status.OK

    @property
    def later(self) -> list[Cookie]:
        """Those to be notified from a thread."""
        return self.__dict__.setdefault("_later", [])  # type: ignore[no-any-return]


def notify_all(cookies: list[Cookie]) -> None:
    """Thread: any."""
    while cookies:
        cookies.pop().notify()


@attrs.frozen
class Request:
    """What one client asks for, and what it is to get."""

    mark: str
    tag: str
    steps: tuple[str, ...]

    @property
    def line(self) -> str:
        """As it is sent."""
        return f"{self.mark}mix {self.tag} {' '.join(self.steps)}"

    @property
    def chunks(self) -> int:
        """Lines of streams."""
        return sum(int(step[7:]) for step in self.steps if step.startswith("stream="))

    @property
    def parts(self) -> list[str]:
        """All lines of the answer."""
        streams = [int(step[7:]) for step in self.steps if step.startswith("stream=")]
        reply = next((int(step[6:]) for step in self.steps if step.startswith("reply=")), 0)
        chunks = [f"{self.tag}:{one}" for stream in streams for one in range(stream)]
        return [*chunks, f"{self.line} OK {'x' * reply}"]


def some_request(chance: random.Random, tag: str) -> Request:
    steps = [
        chance.choice(
            [
                f"stream={chance.choice([0, 1, 5, 3000])}",
                f"call={chance.choice([1, 1000])}",
                "early",
                "thread",
            ]
        )
        for _ in range(chance.choice([0, 1, 1, 3]))
    ]
    end = f"reply={chance.choice([0, 10, 10, 50_000])}"
    return Request(chance.choice(["", "+", "+", "~", "~"]), tag, (*steps, end))


def verify(requests: list[Request], answer: bytes, *, whole: bool) -> None:
    """Is this what was asked for? If not whole: as far as it goes."""
    text = answer.decode()
    got = text.split("\n")
    last = got.pop()
    assert not (whole and last)
    by_tag = {request.tag: request for request in requests}
    parts: dict[str, list[str]] = {tag: [] for tag in by_tag}
    finished: list[Request] = []
    open_in_order: str | None = None
    for line in got:
        is_end = "mix " in line
        tag = line.split()[1] if is_end else line.split(":")[0]
        request = by_tag[tag]
        parts[tag].append(line)
        if request.mark != "~":  # of those in order, one at a time
            assert open_in_order in {None, tag}, (open_in_order, line)
            open_in_order = None if is_end else tag
        if is_end:
            finished.append(request)
    for tag, lines in parts.items():
        assert lines == by_tag[tag].parts[: len(lines)], tag
    in_order = [request for request in requests if request.mark != "~"]
    ended_in_order = [request for request in finished if request.mark != "~"]
    assert ended_in_order == in_order[: len(ended_in_order)]
    for index, request in enumerate(requests):  # a serial one holds all later ones, and waits for all
        if request.mark == "" and request in finished:
            place = finished.index(request)
            assert set(map(id, finished[:place])) == set(map(id, requests[:index]))
    if whole:
        assert len(finished) == len(requests)


@attrs.define
class Crowd:
    """All clients of a test."""

    server: Server
    chance: random.Random
    ends: Counter[str] = attrs.Factory(Counter)

    async def client(self, number: int) -> None:
        """One client's life."""
        chance = random.Random(self.chance.random())  # noqa: S311 - not a secret
        requests = [some_request(chance, f"{number}.{one}") for one in range(chance.choice([1, 5, 40]))]
        end = chance.choice(["all", "all", "half", "quit", "bad", "close", "reset", "vanish"])
        self.ends[end] += 1
        sent = "".join(f"{request.line}\n" for request in requests).encode()
        sent += {"quit": b"quit\necho no\n", "bad": b"bad\necho no\n"}.get(end, b"")
        client = await self.server.connect()
        answer = bytearray()
        leaves_at = chance.choice([0, 1, 100, 10_000]) if end in {"close", "reset", "vanish"} else None
        async with client:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.send, client, sent, end, chance, nursery.cancel_scope)
                    await self.read(client, answer, requests, end, leaves_at)
                    nursery.cancel_scope.cancel()
            except* trio.BrokenResourceError:
                assert end in {"close", "reset", "vanish"}, end
            if end == "reset" and isinstance(client, trio.SocketStream):
                linger = struct.pack("ii", 1, 0)
                client.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger)
        if end == "quit":
            assert answer.endswith(b"quit OK \n")
            del answer[-len(b"quit OK \n") :]
        if end == "bad":
            assert answer.endswith(b"bad!\n")
            del answer[-len(b"bad!\n") :]
        verify(requests, bytes(answer), whole=leaves_at is None)

    async def send(
        self,
        client: trio.abc.HalfCloseableStream,
        data: bytes,
        end: str,
        chance: random.Random,
        scope: trio.CancelScope,
    ) -> None:
        """Send all, in pieces; one that vanishes does so in the middle."""
        if end == "vanish":
            data = data[: chance.randrange(len(data))]
        while data:
            size = chance.choice([3, 200, 100_000])
            await client.send_all(data[:size])
            data = data[size:]
            if chance.random() < 0.2:
                await trio.sleep(chance.random() / 1000)
        if end == "half":
            await client.send_eof()
        if end == "vanish":
            scope.cancel()

    async def read(
        self,
        client: trio.abc.Stream,
        answer: bytearray,
        requests: list[Request],
        end: str,
        leaves_at: int | None,
    ) -> None:
        """Read until all is there, or it has enough."""
        size = sum(len(part) + 1 for request in requests for part in request.parts)
        if leaves_at is not None:
            size = min(size, leaves_at)
        while end in {"half", "quit", "bad"} or len(answer) < size:
            data = await client.receive_some([10, 1000, 65_536][len(answer) % 3])
            if not data:
                assert end in {"half", "quit", "bad"}, (end, answer[-100:])
                return
            answer += data


async def notify_from_threads(engine: MixedEngine) -> None:
    """What waits for a notification gets it from a thread."""
    while True:
        if engine.later:
            await trio.to_thread.run_sync(notify_all, engine.later)
        await trio.sleep(0.0005)


@pytest.mark.parametrize("kind", ["tcp", "memory"])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "bounds",
    [{}, {"max_commands": 3, "max_unsent": 1000, "commands_per_turn": 2}],
    ids=["usual", "tight"],
)
async def test_a_crowd(kind: str, seed: int, bounds: dict[str, int]) -> None:
    """All who stay get all of what they asked for, in order; of those who leave nothing is left."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    engine = MixedEngine()
    protocol = chance.choice([Lines, KnownLines])
    async with serving(kind, protocol, engine, 3, half_close_timeout=15, **bounds) as server:
        async with trio.open_nursery() as helpers:
            helpers.start_soon(notify_from_threads, engine)
            crowd = Crowd(server, chance)
            async with trio.open_nursery() as clients:
                for number in range(25):
                    clients.start_soon(crowd.client, number)
                    if chance.random() < 0.3:
                        await trio.sleep(chance.random() / 200)
            server.abort_all()  # of memory streams a client that leaves half-closes only
            await server.is_at_rest()
            await until(lambda: server.workers.statistics().idle == 3)
            helpers.cancel_scope.cancel()
        now = server.front_end.statistics()
        assert now.accepted == 25
        assert now.commands <= now.completed + now.dropped
        assert now.failed == now.busy == now.timed_out == 0
        assert now.protocol_errors == crowd.ends["bad"]

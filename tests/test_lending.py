"""What a front end took of streams and has yet to send counts as memory, and always comes back."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import attrs
import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import ewb
from ewb import Status
from ewb._budget import Budget
from ewb._handoff import Handoff
from ewb._settings import Bounds

from .helpers import GUARD, until
from .test_session import Engine, Lines, everything_or_reset, exactly

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence

    from ewb._protocol import Buffer

    from .test_session import Cookie

ALL: Final = 64
"""Chunks of a stream, each of `SIZE` bytes: many times what the workers' memory holds."""
SIZE: Final = 100


def chunks() -> Generator[bytes]:
    """A producer of many times what the workers' memory holds."""
    for _ in range(ALL):
        yield b"." * (SIZE - 1) + b"\n"


class Encodings(Lines):
    """Lines, whose streams are encoded as the request says."""

    def encode_batch(self, request: str, batch: list[bytes]) -> Sequence[Buffer]:
        """As they are; or as nothing, or as what has no bytes."""
        if "wrong" in request:
            msg = "this cannot be encoded"
            raise ValueError(msg)
        return [] if "nothing" in request else [b""] if "empty" in request else batch


class Streams(Engine):
    """Streams that may be followed by others, within one command."""

    def __init__(self) -> None:
        super().__init__()
        self.parked: list[Cookie] = []

    def execute(self, cookie: Cookie) -> Status:
        """A cookie's stash is how many more streams there are to be."""
        if cookie.resumed and cookie.status is Status.OK and cookie.stash:
            assert isinstance(cookie.stash, int)
            cookie.stash -= 1
            return cookie.produce(chunks)
        return super().execute(cookie)

    def do_stream(self, cookie: Cookie, what: str) -> Status:
        """One stream, or `twice`."""
        self.parked.append(cookie)
        cookie.stash = int("twice" in what)
        return cookie.produce(chunks)

    def do_cancel(self, cookie: Cookie, _: str) -> Status:
        """Cancel all that stream."""
        for parked in self.parked:
            parked.cancel()
        return Status.OK


@attrs.define
class Lender:
    """A front end whose workers have next to no memory."""

    front_end: ewb.FrontEnd[str, Status]
    workers: ewb.Workers
    nursery: trio.Nursery
    engine: Streams

    def connect(self) -> trio.StapledStream[Any, Any]:
        """A new client. Its end holds back what is sent to it until it reads."""
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self.front_end.serve, theirs)
        return ours

    async def stalled(self) -> tuple[trio.StapledStream[Any, Any], trio.Event]:
        """A client that does not read, and what has it read."""
        ours, theirs = memory_stream_pair()
        reads = trio.Event()
        send_all = theirs.send_stream.send_all

        async def send_when_it_reads(data: Buffer) -> None:
            await reads.wait()
            await send_all(data)

        theirs.send_stream.send_all = send_when_it_reads  # type: ignore[method-assign]
        self.nursery.start_soon(self.front_end.serve, theirs)
        return ours, reads

    async def is_starved(self) -> None:
        """Wait until a producer is suspended because what it has made is being sent."""
        await until(
            lambda: (
                self.workers.statistics().suspended == 1
                and self.front_end.statistics().unsent_bytes == SIZE
            )
        )
        assert self.workers.statistics().buffered_bytes == SIZE


@asynccontextmanager
async def lending(memory: int = 1, **bounds: Any) -> AsyncGenerator[Lender]:
    """A front end. When its clients are gone nothing is on account any more."""
    with trio.fail_after(GUARD):
        async with ewb.open_workers(2, memory=memory) as workers, trio.open_nursery() as nursery:
            engine = Streams()
            front_end = ewb.FrontEnd(Encodings, engine, workers, **bounds)
            yield Lender(front_end, workers, nursery, engine)
            await until(lambda: not front_end.statistics().connections)
            await until(lambda: not workers.statistics().producers)
            assert workers.statistics().buffered_bytes == 0


@pytest.mark.parametrize("mark", ["", "+", "~"])
@pytest.mark.parametrize("what", ["once", "nothing", "empty", "twice", "nothing twice", "empty twice"])
async def test_a_stream_goes_on_whatever_becomes_of_its_chunks(mark: str, what: str) -> None:
    """With no memory to be had it still ends, though all is encoded as nothing."""
    async with lending() as lender, lender.connect() as client:
        request = f"{mark}stream {what}".encode()
        await client.send_all(request + b"\n")
        times = 0 if "nothing" in what or "empty" in what else 2 if "twice" in what else 1
        end = request + b" OK \n"
        got = await exactly(client, times * ALL * SIZE + len(end))
        assert got.endswith(end)


async def test_streams_of_one_connection_wait_for_each_other_in_vain_never() -> None:
    """Some are sent, some are encoded as nothing; all have lent, and none is left without."""
    async with lending() as lender, lender.connect() as client:
        requests = [b"~stream once", b"~stream nothing", b"+stream empty", b"+stream once"] * 4
        await client.send_all(b"\n".join(requests) + b"\n")
        ends = sum(len(request + b" OK \n") for request in requests)
        got = await exactly(client, 8 * ALL * SIZE + ends)
        assert got.count(b" OK \n") == len(requests)


def test_an_empty_channel_waits_for_what_it_lent() -> None:
    """With no memory left it is not resumed, nor given a chunk, before that is back."""
    resumed: list[bool] = []
    handoff: Handoff[bytes] = Handoff(
        Bounds(),
        size=None,
        moderation=0,
        post=lambda _: True,
        on_room=lambda: resumed.append(True),
        budget=Budget(1),
    )
    assert handoff.offer(b"ab", 2)
    assert not handoff.offer(b"cd", 2)
    assert handoff.drain(lend=True) == [b"ab"]
    assert not resumed
    assert not handoff.offer(b"cd", 2)
    handoff.returned()
    assert resumed
    assert handoff.offer(b"cd", 2)


async def test_what_is_being_sent_is_on_account() -> None:
    """Its producer makes no more before it is sent; then it goes on."""
    async with lending() as lender:
        client, reads = await lender.stalled()
        await client.send_all(b"stream\n")
        await lender.is_starved()
        await wait_all_tasks_blocked()
        assert lender.workers.statistics().suspended == 1
        assert lender.workers.statistics().buffered_bytes == SIZE
        reads.set()
        await exactly(client, ALL * SIZE)
        await client.aclose()


async def test_a_stalled_client_starves_nobody() -> None:
    """The others have their streams, though it has used up all memory."""
    async with lending() as lender:
        stalled, reads = await lender.stalled()
        await stalled.send_all(b"stream\n")
        await lender.is_starved()
        async with lender.connect() as client:
            await client.send_all(b"stream\n")
            await exactly(client, ALL * SIZE)
        reads.set()
        await stalled.aclose()


@pytest.mark.parametrize("how", ["leaves", "aborted", "cancelled", "timed out", "write timeout"])
async def test_a_starved_stream_ends(how: str) -> None:
    """However it ends, nothing of it is on account afterwards, and its memory serves others."""
    bounds: dict[str, Any] = {
        "write timeout": {"write_timeout": 0.05},
        "leaves": {"half_close_timeout": 0},
    }
    limits = bounds.get(how, {})
    async with lending(**limits) as lender:
        client, reads = await lender.stalled()
        await client.send_all(b"~stream\n")
        await lender.is_starved()
        if how == "leaves":
            await client.aclose()
        elif how == "aborted":
            lender.engine.connected[0].abort()
        elif how == "cancelled":
            lender.engine.parked[0].cancel()
            await until(lambda: not lender.workers.statistics().producers)
            assert lender.workers.statistics().buffered_bytes == SIZE  # it is still being sent
            reads.set()
            await client.send_all(b"~quit\n")
            got = await everything_or_reset(client)
            assert b"~stream CANCELLED \n" in got
        elif how == "timed out":
            [command] = lender.engine.parked
            command.interrupt(Status.TIMED_OUT)  # type: ignore[attr-defined]
            reads.set()
            await client.send_all(b"~quit\n")
            assert b"~stream TIMED_OUT \n" in await everything_or_reset(client)
        await until(lambda: lender.workers.statistics().buffered_bytes == 0)
        await client.aclose()


async def test_chunks_that_cannot_be_encoded_are_given_back() -> None:
    """Their connection is closed, and they are on account no more."""
    async with lending() as lender, lender.connect() as client:
        await client.send_all(b"stream wrong\n")
        assert await everything_or_reset(client) == b""
        await until(lambda: lender.workers.statistics().buffered_bytes == 0)


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_left_on_account(seed: int) -> None:
    """Whatever many clients ask for, and however they leave."""
    dice = random.Random(seed)  # noqa: S311 - a test's
    bounds = {"max_unsent": dice.choice([1, 1000]), "commands_per_turn": dice.choice([1, 64])}

    async def client_of(lender: Lender, luck: random.Random) -> None:
        client = lender.connect()
        words = ["stream once", "stream nothing", "stream empty", "stream twice", "cancel", "echo a"]
        requests = [luck.choice(["", "+", "~"]) + luck.choice(words) for _ in range(6)]
        with suppress(trio.BrokenResourceError):
            await client.send_all("".join(f"{request}\n" for request in requests).encode())
            if luck.random() < 0.5:
                await exactly(client, 20)
            else:
                await client.send_all(b"quit\n")
                assert (await everything_or_reset(client)).endswith(b"quit OK \n")
        await client.aclose()

    async with (
        lending(dice.choice([1, SIZE, 10 * SIZE]), **bounds) as lender,
        trio.open_nursery() as clients,
    ):
        for _ in range(12):
            luck = random.Random(dice.random())  # noqa: S311 - a test's
            clients.start_soon(client_of, lender, luck)

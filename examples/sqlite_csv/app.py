"""The application: one query, streamed by ewb and by Starlette's own response."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import attrs
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

import ewb

from .response import ProducedResponse
from .rows import csv_lines, in_blocks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

CSV = "text/csv; charset=utf-8"


def create_app(database: Path, query: str, threads: int = 2) -> FastAPI:
    """An application that answers with the rows of a query. Thread: any."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[dict[str, object]]:
        async with ewb.open_workers(threads=threads) as workers:
            yield {"workers": workers}  # Starlette copies this to `request.state`

    app = FastAPI(lifespan=lifespan)

    @app.get("/ewb.csv")
    async def by_ewb(request: Request) -> Response:
        return ProducedResponse(workers_of(request), csv_lines, database, query, media_type=CSV)

    @app.get("/starlette.csv")
    async def by_starlette() -> Response:
        # Each row is fetched by whichever thread is free: sqlite3 must be told not to mind.
        return StreamingResponse(csv_lines(database, query, check_same_thread=False), media_type=CSV)

    @app.get("/starlette-blocks.csv")
    async def by_starlette_in_blocks() -> Response:
        lines = csv_lines(database, query, check_same_thread=False)
        return StreamingResponse(in_blocks(lines), media_type=CSV)

    @app.get("/status")
    async def status(request: Request) -> Response:
        return JSONResponse(attrs.asdict(workers_of(request).statistics()))

    return app


def workers_of(request: Request) -> ewb.Workers:
    """The workers that the lifespan has opened. Thread: front end."""
    return cast("ewb.Workers", request.state.workers)

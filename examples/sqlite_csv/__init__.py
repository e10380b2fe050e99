"""A database query as CSV over HTTP, from FastAPI on Hypercorn: see docs/howto/sqlite-csv-over-http.md.

- `rows`: the query, as a blocking generator of lines.
- `response`: an HTTP response that streams what a producer yields.
- `app`: the application; the same lines by ewb, and by Starlette's own response.
- `server`: Hypercorn, the port, and what to do about clients that do not read.
- `measure`, `fetch`: what each way is worth, seen by curl, by httpx and by a neighbour.
"""

"""Measures the three ways to send what a thread reads: a round trip a write, one buffer, reading ahead.

All of them scan the same real store, that of the range-scan server, cut to chunks of the same size, and
send to another process over loopback. Each measurement is a process of its own: a scan beside a
neighbour, another process, that has a byte echoed each millisecond; and a scan alone. Wake-ups are
those of the front end's thread, system calls those of all of the process.

Give it a machine that has nothing else to do: on a busy one the spread will be wide.
"""

from __future__ import annotations

import signal
from functools import partial
from typing import TYPE_CHECKING

from benchmarks._designs.designs import DESIGNS
from benchmarks._designs.probe import Setting, can_count, probe, system_calls
from benchmarks._measuring.harness import figure, ratio
from benchmarks._measuring.program import Budget, Program, Question, run
from benchmarks._measuring.table import KIB, MIB, size_of
from benchmarks._range_scan.data import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks._designs.probe import Seen
    from benchmarks._measuring.harness import Figure, Run

CHUNKS, QUICK_CHUNKS = (64, KIB, 16 * KIB, 128 * KIB, MIB), (64, 128 * KIB)
BUFFERS, QUICK_BUFFERS = (8 * KIB, 64 * KIB, 512 * KIB, 4 * MIB), (64 * KIB,)
USUAL_BUFFER = {"round trip": 0, "one buffer": 8 * KIB, "ewb": MIB}
"""As kv_engine has it, and ewb's own default."""
BUFFERED = ("one buffer", "ewb")
"""The designs that have a buffer."""
USUAL_CHUNK = KIB
DOCUMENTS, QUICK_DOCUMENTS = 200_000, 20_000

EXAMPLES = """
examples:
  python -m benchmarks.designs --quick                 a few of the sizes
  python -m benchmarks.designs --only buffers          one question

System calls are counted by strace, if it is installed, in a run apart.
The exit code is 0 whether or not the targets were reached: read the table.
"""


def measure_chunks(workspace: Workspace, run: Run) -> list[Figure]:
    """A table for each size of chunk, at the usual buffers."""
    sizes = run.pick(CHUNKS, QUICK_CHUNKS)
    settings = {
        (design, size): _setting(workspace, run, design, size, USUAL_BUFFER[design])
        for size in sizes
        for design in DESIGNS
    }
    figures, rates = _measured(run, settings, "chunk")
    for size in sizes:
        for other in ("round trip", "one buffer"):
            name = f"chunk of {size_of(size)}: rate: ewb / {other}"
            figures.append(ratio(name, rates["ewb", size], rates[other, size]))
    return figures


def measure_buffers(workspace: Workspace, run: Run) -> list[Figure]:
    """A table for each size of buffer, at the usual chunk."""
    sizes = run.pick(BUFFERS, QUICK_BUFFERS)
    settings = {
        (design, size): _setting(workspace, run, design, USUAL_CHUNK, size)
        for size in sizes
        for design in BUFFERED
    }
    figures, rates = _measured(run, settings, "buffer")
    for size in sizes:
        name = f"buffer of {size_of(size)}: rate: ewb / one buffer"
        figures.append(ratio(name, rates["ewb", size], rates["one buffer", size]))
    return figures


def _setting(workspace: Workspace, run: Run, design: str, chunk: int, buffer: int) -> Setting:
    loaded = workspace.store(run.pick(DOCUMENTS, QUICK_DOCUMENTS), vbuckets=1)
    return Setting(loaded.directory, design, chunk, buffer, run.pick(0.3, 0.15))


def _measured(
    run: Run, settings: Mapping[tuple[str, int], Setting], swept: str
) -> tuple[list[Figure], dict[tuple[str, int], Sequence[float]]]:
    """Figures of all settings, and the rates of each."""
    names = {f"{swept} of {size_of(size)}: {design}": (design, size) for design, size in settings}
    calls = {name: _calls(run, name, settings[place]) for name, place in names.items()}
    ways: dict[str, Callable[[], Seen]] = {
        name: partial(probe, settings[place]) for name, place in names.items()
    }
    # Each is a process of its own: there is nothing to warm up but the disk's cache.
    seen = run.interleaved(ways, repetitions=7, warm_up=False)
    figures: list[Figure] = []
    for name, (design, size) in names.items():
        for what, (values, unit) in _values_of(seen[name], calls[name]).items():
            curve = f"{what} by {swept}: {design}"
            figures.append(figure(f"{name}: {what}", values, unit, curve=curve, x=size))
    return figures, {place: [s.rate for s in seen[name]] for name, place in names.items()}


def _values_of(seen: list[Seen], calls: float | None) -> dict[str, tuple[list[float], str]]:
    """What was measured, with its unit; nothing of what was not."""
    values = {
        "rate": ([s.rate for s in seen], "MB/s"),
        "wake-ups": ([s.wake_ups for s in seen], "/MB"),
        "system calls": ([] if calls is None else [calls], "/MB"),
        "neighbour p50": ([1e3 * s.p50 for s in seen], "ms"),
        "neighbour p99": ([1e3 * s.p99 for s in seen], "ms"),
        "memory": ([s.memory for s in seen], "MiB"),
    }
    return {what: (each, unit) for what, (each, unit) in values.items() if each}


def _calls(run: Run, name: str, setting: Setting) -> float | None:
    """System calls for each MB, if they can be counted."""
    if not can_count():
        return None
    run.tell(f"counting system calls: {name}", 0.0)
    return system_calls(setting)


def main() -> None:
    """Answer what the command line asks, and leave nothing behind."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the former may have been ignored until now
        signal.signal(number, signal.default_int_handler)
    with Workspace() as workspace:
        questions = {
            "chunks": Question(
                "Three designs, by the size of a chunk",
                partial(measure_chunks, workspace),
                weight=len(CHUNKS) * len(DESIGNS),
            ),
            "buffers": Question(
                "Two designs, by the size of their buffer; chunks of 1 KiB",
                partial(measure_buffers, workspace),
                weight=len(BUFFERS) * len(BUFFERED),
            ),
        }
        budget = Budget(full=140, quick=12)
        run(Program("designs", __doc__ or "", questions, EXAMPLES, "three", budget))


if __name__ == "__main__":
    main()

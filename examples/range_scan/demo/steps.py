"""The progress bars: one for each step of the demo."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

T = TypeVar("T")

_OFTEN = 1000
"""Items between two looks at the progress bar, and at whether the demo was interrupted."""


def open_progress(console: Console) -> Progress:
    """Where steps are shown. A context manager."""
    texts = TextColumn("{task.description:<26}"), TextColumn("{task.fields[state]}")
    return Progress(texts[0], BarColumn(14), TimeElapsedColumn(), texts[1], console=console)


class Step:
    """A step of the demo, from when it is made on. Thread: any, one at a time."""

    def __init__(self, progress: Progress, title: str, state: str = "") -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=None, state=state)

    def count(self, items: Iterable[T], total: int, state: str) -> Iterator[T]:
        """These items, and the bar shows how many. Thread: one of `trio.to_thread`, with its cancel."""
        self._progress.update(self._task, total=total, state=state)
        for number, item in enumerate(items):
            if number % _OFTEN == 0:
                trio.from_thread.check_cancelled()
                self._progress.update(self._task, completed=number)
            yield item

    def done(self, state: str) -> None:
        """It is over."""
        self._progress.update(self._task, total=1, completed=1, state=state)

"""Makes a flame graph of what py-spy has sampled: small, still, and for light pages and dark ones.

A line of its "raw" format is a stack, from the thread down to the function that ran, and how often that
was seen. Here the stacks of all workers are put together, below those of the front end, without what
Python and Trio have around them. Threads that are neither are left out, and so is waiting: a profiler
that looks from outside does not always know it from work.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Stack = tuple[tuple[str, ...], int]

FRONT_END, WORKERS = "front end", "workers"
ROLES = {
    "unrolled_run (trio/_core/_run.py)": FRONT_END,
    "Threads.run (ewb/_threads.py)": WORKERS,
}
"""Of a thread, by what runs in it. What is above these is left out."""
WAITING = {
    "EpollIOManager.get_events (trio/_core/_io_epoll.py)",
    "Threads._next (ewb/_threads.py)",
    "unrolled_run (trio/_core/_run.py)",
}
"""What is at the bottom while there is nothing to do."""

WIDTH, ROW, LETTER, MARGIN = 1000, 16, 6.1, 4
LEAST = 0.004
"""Share of the width below which a function is not drawn."""
COLOURS = {"ewb/": "#5fbf9b", "trio/": "#7fb0e0", "benchmarks/": "#e3b071"}
COLOURS |= dict.fromkeys(("range_scan/", "redis_server/"), "#c9a0dc")
OTHERS, GREY = "#b9b9b9", "#868686"


@dataclass
class Node:
    """A function as it was called from there."""

    name: str
    samples: int = 0
    children: dict[str, Node] = field(default_factory=dict)

    def add(self, stack: Sequence[str], samples: int) -> None:
        """These were seen in it."""
        node = self
        node.samples += samples
        for name in stack:
            node = node.children.setdefault(name, Node(name))
            node.samples += samples


def stacks(raw: str) -> Iterator[Stack]:
    """Those of the front end and of workers, below its role, and how often each was seen."""
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        functions = stack.split(";")
        for place, name in enumerate(functions):
            if name in ROLES:
                if functions[-1] not in WAITING:
                    yield (ROLES[name], *functions[place:]), int(count)
                break


def tree(all_stacks: Iterable[Stack]) -> Node:
    """All of them together."""
    root = Node("all")
    for stack, samples in all_stacks:
        root.add(stack, samples)
    return root


def hottest(all_stacks: Iterable[Stack], count: int) -> dict[str, list[tuple[str, float]]]:
    """By role, the functions that were at the bottom most often, with their share of all samples."""
    own = {role: Counter[str]() for role in (FRONT_END, WORKERS)}
    total = 0
    for (role, *functions), samples in all_stacks:
        own[role][functions[-1]] += samples
        total += samples
    return {
        role: [(name, round(of / total, 3)) for name, of in counter.most_common(count)]
        for role, counter in own.items()
    }


def svg(root: Node, title: str) -> str:
    """The picture."""
    boxes = list(_boxes(root, 0.0, 0, root.samples))
    height = ROW * (2 + max((row for _, _, row, _ in boxes), default=0)) + 2 * MARGIN
    space = "http://www.w3.org/2000/svg"
    parts = [
        f'<svg xmlns="{space}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
        f'<text x="{MARGIN}" y="{ROW - MARGIN}" fill="{GREY}">{escape(title)}</text>',
        *(_box(node, left, row, root.samples) for node, left, row, _ in boxes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _boxes(node: Node, left: float, row: int, total: int) -> Iterator[tuple[Node, float, int, float]]:
    """All that are wide enough: a function, where it begins, its row, its width."""
    for child in sorted(node.children.values(), key=lambda one: (row > 0, one.name)):
        width = WIDTH * child.samples / total
        if width >= LEAST * WIDTH:
            yield child, left, row + 1, width
            yield from _boxes(child, left, row + 1, total)
        left += width


def _box(node: Node, left: float, row: int, total: int) -> str:
    width, top = WIDTH * node.samples / total, row * ROW
    name, _, file = node.name.partition(" (")
    colour = next((of for start, of in COLOURS.items() if file.startswith(start)), OTHERS)
    letters = int((width - MARGIN) / LETTER)
    text = name if len(name) <= letters else f"{name[: letters - 1]}…" if letters > 3 else ""
    told = escape(f"{node.name}: {node.samples / total:.1%}")
    return (
        f'<g><title>{told}</title><rect x="{left:.1f}" y="{top}" width="{max(0.5, width - 0.5):.1f}"'
        f' height="{ROW - 1}" fill="{colour}"/>'
        + (f'<text x="{left + 2:.1f}" y="{top + ROW - 5}">{escape(text)}</text>' if text else "")
        + "</g>"
    )

"""Tools to test engines and producers with: faults by script, gates, clients without sockets."""

from ._client import MemoryClient, connect
from ._faults import EARLY, NEVER, TWICE, Block, WouldBlockEngine, next_n, sometimes
from ._gate import Gate
from ._recording import RecordingStream

__all__ = [
    "EARLY",
    "NEVER",
    "TWICE",
    "Block",
    "Gate",
    "MemoryClient",
    "RecordingStream",
    "WouldBlockEngine",
    "connect",
    "next_n",
    "sometimes",
]

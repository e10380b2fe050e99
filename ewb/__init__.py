"""Streams from blocking code, for Trio."""

from ._channel import ChunkSender, open_channel
from ._connection import Connection
from ._cookie import Cookie
from ._front_end import FrontEnd
from ._hooks import Hook, SlowCommands
from ._protocol import Engine, Protocol, ProtocolError
from ._receiver import ChunkReceiver
from ._send import send_batch
from ._statistics import ChannelStatistics, FrontEndStatistics, RunningProducer, WorkersStatistics
from ._status import Order, Status
from ._workers import Workers, open_workers

__all__ = [
    "ChannelStatistics",
    "ChunkReceiver",
    "ChunkSender",
    "Connection",
    "Cookie",
    "Engine",
    "FrontEnd",
    "FrontEndStatistics",
    "Hook",
    "Order",
    "Protocol",
    "ProtocolError",
    "RunningProducer",
    "SlowCommands",
    "Status",
    "Workers",
    "WorkersStatistics",
    "open_channel",
    "open_workers",
    "send_batch",
]

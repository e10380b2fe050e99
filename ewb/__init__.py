"""Streams from blocking code, for Trio."""

from ._channel import ChunkSender, open_channel
from ._receiver import ChunkReceiver
from ._send import send_batch
from ._statistics import ChannelStatistics, RunningProducer, WorkersStatistics
from ._workers import Workers, open_workers

__all__ = [
    "ChannelStatistics",
    "ChunkReceiver",
    "ChunkSender",
    "RunningProducer",
    "Workers",
    "WorkersStatistics",
    "open_channel",
    "open_workers",
    "send_batch",
]

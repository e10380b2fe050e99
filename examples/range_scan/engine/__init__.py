"""The engine: executes what the wire has parsed, over the store."""

from .engine import Engine
from .settings import EngineSettings
from .timers import Timers

__all__ = ["Engine", "EngineSettings", "Timers"]

"""A raw client of the server, blocking, for the command line and for measuring."""

from .client import Client, plain
from .connection import Login
from .errors import ClientError, LoginError, RefusedError
from .picks import Limits, Range, Sample

__all__ = [
    "Client",
    "ClientError",
    "Limits",
    "Login",
    "LoginError",
    "Range",
    "RefusedError",
    "Sample",
    "plain",
]

"""What can go wrong for a client. Each message is one line."""

from __future__ import annotations


class ClientError(Exception):
    """The server cannot be reached, or breaks off, or sends nonsense."""


class LoginError(ClientError):
    """User or password are wrong, or the bucket is not for this user."""


class RefusedError(ClientError):
    """The server refuses a command. `status` says why, `str` in words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

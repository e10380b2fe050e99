"""How a server is set up, and what of that is not safe."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DEFAULT_PASSWORD: Final = "password"  # noqa: S105 - which is why no other machine may use it
MEBIBYTE: Final = 1024 * 1024
GIBIBYTE: Final = 1024 * MEBIBYTE


class ServerError(Exception):
    """The server cannot start; the message is one line that says why, and what to do."""


@attrs.frozen(kw_only=True)
class ServerSettings:
    """How a server is set up; `check` says what does not go together."""

    data: Path
    """Where the store is: a directory, made if it is not there."""
    host: str = "127.0.0.1"
    port: int = 11210
    """0: any that is free."""
    bucket: str = "default"
    user: str = "Administrator"
    password: str = attrs.field(default=DEFAULT_PASSWORD, repr=False)
    vbuckets: int | None = None
    """None: as the store was made, or 64."""
    collections: Sequence[str] = ()
    """Those to make if they are not there: `scope.collection`."""
    no_auth: bool = False
    """Serve whoever connects. Who does log in needs the right password all the same."""
    allow_plain: bool = False
    """Let clients send the password as it is, without TLS."""
    tls_cert: Path | None = None
    """A chain of certificates, in PEM."""
    tls_key: Path | None = None
    """The key of the first of them, in PEM."""
    threads: int = 1
    """Workers, for scans and large values. LMDB's cursors take the GIL anew for each document: with two
    workers at it, all make less of it, and GETs beside them wait several times as long."""
    memory: int = 256 * MEBIBYTE
    """Bytes that all scans together may buffer. Beyond it each of them still holds one chunk, of one
    document at least, however large (up to 20 MiB)."""
    max_scans: int = 4096
    """Scans that are open at a time."""
    scan_lifetime: float = 180.0
    """Seconds."""
    login_timeout: float = 10.0
    """Seconds that a client has to log in."""
    max_strangers: int = 256
    """Connections at a time that have not logged in."""
    max_size: int = 64 * GIBIBYTE
    """Bytes that are reserved for the store, once for all; sparse."""
    max_growth: int = GIBIBYTE
    """Bytes that old scans may make the store grow by."""
    sync: bool = True
    """False: acknowledge writes before they are on disk."""
    grace: float = 10.0
    """Seconds that commands have to finish when the server is asked to stop."""

    def check(self) -> None:
        """Is it safe to serve like this?

        Raises:
            ServerError: no.
        """
        if not self.bucket:
            msg = "the bucket needs a name, by which clients select it: give --bucket"
            raise ServerError(msg)
        if not (self.no_auth or self.user):
            msg = "nobody can log in if no user has a name: give --user, or --no-auth"
            raise ServerError(msg)
        if self.no_auth and not is_loopback(self.host):
            msg = f"--no-auth lets anyone in, so it is for loopback only, and not for {self.host}"
            raise ServerError(msg)
        if self.password == DEFAULT_PASSWORD and not is_loopback(self.host):
            msg = f"choose a password: the default one is for loopback only, and not for {self.host}"
            raise ServerError(msg)
        if (self.tls_cert is None) != (self.tls_key is None):
            msg = "TLS needs both a certificate and a key: give --tls-cert and --tls-key"
            raise ServerError(msg)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""A connection: frames over a blocking socket, and how it begins."""

from __future__ import annotations

import json
import os
import socket
import ssl
from itertools import count
from typing import Any

import attrs
import scramp  # pyright: ignore[reportMissingTypeStubs]  # it has none

from examples.range_scan import wire
from examples.range_scan.wire import Feature, Frame, Opcode, Status

from .errors import ClientError, LoginError, RefusedError

AGENT = b"examples.range_scan"
FEATURES = (
    Feature.MUTATION_SEQNO,
    Feature.XERROR,
    Feature.SELECT_BUCKET,
    Feature.SNAPPY,  # else the server has to look at each document that it sends
    Feature.JSON,
    Feature.UNORDERED,
    Feature.COLLECTIONS,
)
MAX_FRAME = 1 << 30  # a scan's packet is as large as what the server had ready
_RECEIVE = 256 << 10
_GOOD = frozenset({Status.SUCCESS, Status.AUTH_CONTINUE, Status.SCAN_MORE, Status.SCAN_COMPLETE})


@attrs.frozen
class Login:
    """Who logs in. The password is not shown."""

    user: str
    password: str = attrs.field(repr=False)


class Connection:
    """Sends requests and receives replies. Thread: any, one at a time.

    Each method raises RefusedError for a reply that says so, and ClientError if the server is gone.
    """

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None, timeout: float) -> None:
        try:
            connection = socket.create_connection((host, port), timeout)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (OSError, UnicodeError) as error:  # the latter: of a host that cannot be one
            msg = f"cannot connect to {host}:{port} ({error}): is the server running?"
            raise ClientError(msg) from error
        self._socket = connection if tls is None else _secure(connection, tls, host, port)
        self._reader = wire.FrameReader(wire.REPLIES, MAX_FRAME)
        self._opaques = count(1)

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def begin(self, login: Login | None, bucket: str) -> int:
        """Say hello, log in, select the bucket. Returns how many vBuckets there are. LoginError."""
        features = b"".join(feature.to_bytes(2, "big") for feature in FEATURES)
        self.ask(Frame(Opcode.HELLO, key=AGENT, value=features))
        if login is not None:
            self._log_in(login)
        try:
            self.ask(Frame(Opcode.SELECT_BUCKET, key=os.fsencode(bucket)))
        except RefusedError as error:
            msg = f"no access to the bucket {bucket!r} ({error}): is it the right one, and your login?"
            raise LoginError(msg) from error
        config = json.loads(self.ask(Frame(Opcode.GET_CLUSTER_CONFIG)).value)
        return len(config["vBucketServerMap"]["vBucketMap"])

    def ask(self, request: Frame) -> Frame:
        """Send a request, and wait for its one reply."""
        self.send([request])
        reply = self.receive()
        if reply.opaque != request.opaque:
            msg = f"the server answers {reply.opaque} where {request.opaque} was asked"
            raise ClientError(msg)
        return reply

    def send(self, requests: list[Frame]) -> None:
        """Send requests, and give each an opaque of its own."""
        for request in requests:
            request.opaque = next(self._opaques)
        try:
            self._socket.sendall(b"".join(map(wire.pack_request, requests)))
        except OSError as error:
            raise _gone(error) from error

    def receive(self) -> Frame:
        """The next reply."""
        while (reply := self._next_frame()) is None:
            try:
                data = self._socket.recv(_RECEIVE)
            except OSError as error:
                raise _gone(error) from error
            if not data:
                raise _gone(ConnectionError("it has closed the connection"))
            self._reader.receive_data(data)
        if reply.code not in _GOOD:
            raise _refusal(reply)
        return reply

    def _next_frame(self) -> Frame | None:
        try:
            return self._reader.next_frame()
        except wire.BadFrameError as error:
            msg = f"what answers is no such server ({error}): is it the right port?"
            raise ClientError(msg) from error

    def _log_in(self, login: Login) -> None:
        try:
            scram: Any = scramp.ScramClient(["SCRAM-SHA-512"], login.user, login.password)
            client_first = scram.get_client_first().encode()
        except (scramp.ScramException, UnicodeError) as error:
            msg = f"nobody can log in with this user or password ({error}): give others"
            raise LoginError(msg) from error
        mechanism = b"SCRAM-SHA512"
        try:
            first = self.ask(Frame(Opcode.SASL_AUTH, key=mechanism, value=client_first))
            scram.set_server_first(first.value.decode())
            final = self.ask(
                Frame(Opcode.SASL_STEP, key=mechanism, value=scram.get_client_final().encode())
            )
            scram.set_server_final(final.value.decode())
        except RefusedError as error:
            if error.status != Status.AUTH_ERROR:
                raise
            msg = f"the server does not let {login.user!r} in: user or password are wrong"
            raise LoginError(msg) from error
        except scramp.ScramException as error:
            msg = (
                f"the server does not prove that it knows the password ({error}): is it the right one?"
            )
            raise LoginError(msg) from error


def _secure(connection: socket.socket, tls: ssl.SSLContext, host: str, port: int) -> ssl.SSLSocket:
    """Speak TLS on a connection; it is closed if that fails."""
    try:
        return tls.wrap_socket(connection, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        msg = (
            f"the certificate of {host}:{port} is not trusted ({error.verify_message}): "
            "trust who signed it, and use a name that is in it"
        )
        raise ClientError(msg) from error
    except (OSError, ValueError) as error:  # the latter: of a host that cannot be in a certificate
        msg = f"no TLS with {host}:{port} ({error}): does the server speak it?"
        raise ClientError(msg) from error
    finally:
        connection.close()  # the secure one has its socket now


def _refusal(reply: Frame) -> RefusedError:
    known = next((status.name for status in Status if status == reply.code), "unknown status")
    try:
        context = json.loads(reply.value)["error"]["context"]
    except (ValueError, LookupError, TypeError):
        context = reply.value.decode(errors="replace") or "it does not say why"
    words = known.lower().replace("_", " ")
    return RefusedError(reply.code, f"the server refuses, 0x{reply.code:02x} {words}: {context}")


def _gone(reason: OSError) -> ClientError:
    return ClientError(
        f"the connection to the server broke off ({reason}): does it still run, and does it speak TLS?"
    )

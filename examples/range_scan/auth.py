"""Who may log in, and how: SCRAM-SHA1, -SHA256, -SHA512, and PLAIN where that is allowed.

`scramp` makes the keys from the password (RFC 5802, SASLprep and all). The exchange itself is here:
that of `scramp` refuses the stock SDK, whose nonces contain blanks.

Invariants:

- Nothing here is logged or shown, and no error says which of user and password was wrong.
- Secrets are compared in constant time. A user who does not exist gets as far as one who does.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, Final, cast

import attrs
import scramp  # pyright: ignore[reportMissingTypeStubs]  # it has none

if TYPE_CHECKING:
    from collections.abc import Sequence

ITERATIONS: Final = 10_000
SALT_SIZE: Final = 32
"""Bytes of a salt."""
HASHES: Final = {"SCRAM-SHA512": "sha512", "SCRAM-SHA256": "sha256", "SCRAM-SHA1": "sha1"}
"""By the names that the wire has for them, the best first."""
_OF_SCRAMP: Final = {"sha512": "SCRAM-SHA-512", "sha256": "SCRAM-SHA-256", "sha1": "SCRAM-SHA-1"}
PLAIN: Final = "PLAIN"
MAX_USER: Final = 128
"""Bytes of a user's name in UTF-8; in SCRAM it may take three times as many, and be said twice."""
MAX_PASSWORD: Final = 512
"""Bytes of a password in UTF-8, which PLAIN sends as it is."""


class LoginFailedError(Exception):
    """Who this is does not get in."""


@attrs.frozen(repr=False)
class Keys:
    """What a server keeps of a password, for one hash."""

    salt: bytes
    stored_key: bytes
    server_key: bytes

    @classmethod
    def of_password(cls, password: str, digest: str) -> Keys:
        """Make them, which takes some milliseconds.

        Raises:
            ValueError: no client could send this password.
        """
        mechanism: Any = scramp.ScramMechanism(_OF_SCRAMP[digest])
        try:
            made = mechanism.make_auth_info(
                password, iteration_count=ITERATIONS, salt=secrets.token_bytes(SALT_SIZE)
            )
        except scramp.ScramException as error:
            msg = "the password has characters that no password may have (RFC 4013, SASLprep)"
            raise ValueError(msg) from error
        salt, stored_key, server_key, _ = cast("tuple[bytes, bytes, bytes, int]", made)
        return cls(salt, stored_key, server_key)

    @classmethod
    def of_nobody(cls, user: bytes, digest: str, secret: bytes) -> Keys:
        """Those of a user who does not exist: for a digest always the same salt; no password fits."""
        salt = hmac.digest(secret, digest.encode() + b"\0" + user, "sha256")
        return cls(salt, secrets.token_bytes(SALT_SIZE), secrets.token_bytes(SALT_SIZE))


class Authenticator:
    """Knows the one user there is. Thread: any.

    Raises:
        ValueError: no client could send this user or password.
    """

    def __init__(self, user: str, password: str) -> None:
        if not password:
            msg = "the password must not be empty"
            raise ValueError(msg)
        self._user = _bounded(user, MAX_USER, "user's name")
        self._password = _bounded(password, MAX_PASSWORD, "password")
        self._secret = secrets.token_bytes(SALT_SIZE)
        self._keys = {digest: Keys.of_password(password, digest) for digest in HASHES.values()}

    def __repr__(self) -> str:
        return "<Authenticator>"

    def mechanisms(self, *, plain: bool) -> Sequence[str]:
        """The ways to log in, the best first; those with the password itself only if allowed."""
        return (*HASHES, PLAIN) if plain else tuple(HASHES)

    def check_plain(self, payload: bytes) -> None:
        """Log in with user and password themselves.

        Raises:
            LoginFailedError: they are wrong.
        """
        _, _, rest = payload.partition(b"\0")  # whom to act as, which we ignore
        user, _, password = rest.partition(b"\0")
        # Both are looked at, whatever the first gives. Their digests have one length.
        is_right = self._is(user, self._user) & self._is(password, self._password)
        if not is_right:
            raise LoginFailedError

    def scram(self, mechanism: str) -> ScramExchange:
        """Begin a login without the password itself being sent.

        Raises:
            LoginFailedError: there is no such mechanism.
        """
        if mechanism not in HASHES:
            raise LoginFailedError
        return ScramExchange(self, mechanism)

    def keys_of(self, user: bytes, digest: str) -> Keys:
        """The keys of a user, who need not exist: which takes as long for one as for the other."""
        keys = (Keys.of_nobody(user, digest, self._secret), self._keys[digest])
        return keys[self._is(user, self._user)]

    def _is(self, given: bytes, right: bytes) -> bool:
        digests = (hmac.digest(self._secret, one, "sha256") for one in (given, right))
        return hmac.compare_digest(*digests)


def _bounded(text: str, at_most: int, what: str) -> bytes:
    data = text.encode()
    if len(data) > at_most:
        msg = (
            f"the {what} has {len(data)} bytes in UTF-8, over the {at_most} allowed: give a shorter one"
        )
        raise ValueError(msg)
    return data


class ScramExchange:
    """The server's side of one SCRAM login (RFC 5802), without channel binding: two steps."""

    def __init__(self, authenticator: Authenticator, mechanism: str) -> None:
        self.mechanism = mechanism
        """As the wire has it: both steps name the same."""
        self._authenticator = authenticator
        self._digest = HASHES[mechanism]
        self._keys: Keys | None = None
        self._binding = self._client_first = self._server_first = self._nonce = b""

    def __repr__(self) -> str:
        return f"<ScramExchange with {self.mechanism}>"

    def first(self, message: bytes) -> bytes:
        """The client has said who it is; returns the salt, for it to use.

        Raises:
            LoginFailedError: this is no such message.
        """
        flag, _, rest = message.partition(b",")
        acts_as, _, bare = rest.partition(b",")
        if flag not in {b"n", b"y"}:  # it wants channel binding, which no mechanism of ours has
            raise LoginFailedError
        fields = _fields(bare)
        if acts_as not in {b"", b"a=" + fields[b"n"]}:  # nobody may act as another
            raise LoginFailedError
        user = fields[b"n"].replace(b"=2C", b",").replace(b"=3D", b"=")
        self._keys = self._authenticator.keys_of(user, self._digest)
        self._binding = b64encode(flag + b"," + acts_as + b",")
        self._nonce = fields[b"r"] + secrets.token_hex().encode()
        self._client_first = bare
        salt = b64encode(self._keys.salt)
        self._server_first = b"r=%b,s=%b,i=%d" % (self._nonce, salt, ITERATIONS)
        return self._server_first

    def final(self, message: bytes) -> bytes:
        """The client has proved that it knows the password; returns the proof that so do we.

        Raises:
            LoginFailedError: it has not.
        """
        keys, self._keys = self._keys, None  # one attempt
        fields = _fields(message)
        if keys is None or fields[b"c"] != self._binding or fields[b"r"] != self._nonce:
            raise LoginFailedError
        without_proof, _, _ = message.rpartition(b",p=")
        said = b",".join((self._client_first, self._server_first, without_proof))
        try:
            proof = b64decode(fields[b"p"], validate=True)
        except ValueError:
            raise LoginFailedError from None
        signature = hmac.digest(keys.stored_key, said, self._digest)
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=False))
        stored_key = hashlib.new(self._digest, client_key).digest()
        if not hmac.compare_digest(stored_key, keys.stored_key):
            raise LoginFailedError
        return b"v=" + b64encode(hmac.digest(keys.server_key, said, self._digest))


class _Fields(dict[bytes, bytes]):
    """The fields of a message, by their letters."""

    def __missing__(self, letter: bytes) -> bytes:
        raise LoginFailedError


def _fields(message: bytes) -> _Fields:
    return _Fields((part[:1], part[2:]) for part in message.split(b",") if part[1:2] == b"=")

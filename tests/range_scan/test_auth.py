"""Logging in: who knows the password gets in, and nobody learns anything else."""

from __future__ import annotations

from base64 import b64decode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramClient

from examples.range_scan.auth import (
    HASHES,
    MAX_PASSWORD,
    MAX_USER,
    Authenticator,
    Keys,
    LoginFailedError,
)
from examples.range_scan.wire.rules import LOGIN

pytestmark = pytest.mark.tree

USER, PASSWORD = "Jürgen, =the 1st", "correct höse, =ok"
AUTHENTICATOR = Authenticator(USER, PASSWORD)
mechanisms = pytest.mark.parametrize("mechanism", HASHES)


def client(mechanism: str, user: str = USER, password: str = PASSWORD) -> ScramClient:
    """Another's implementation of the other side."""
    return ScramClient([mechanism.replace("SHA", "SHA-")], user, password)


@mechanisms
def test_the_right_password_gets_in_and_the_server_proves_that_it_knows_it_too(mechanism: str) -> None:
    """The client checks the server's proof."""
    exchange, other = AUTHENTICATOR.scram(mechanism), client(mechanism)
    other.set_server_first(exchange.first(other.get_client_first().encode()).decode())
    other.set_server_final(exchange.final(other.get_client_final().encode()).decode())


@mechanisms
@pytest.mark.parametrize(
    ("user", "password"), [(USER, "wrong"), ("nobody", PASSWORD), ("nobody", "wrong")]
)
def test_a_wrong_password_and_a_user_who_is_not_there_fail_at_the_same_step(
    mechanism: str, user: str, password: str
) -> None:
    """The last one, so that nobody learns which users there are."""
    exchange, other = AUTHENTICATOR.scram(mechanism), client(mechanism, user, password)
    other.set_server_first(exchange.first(other.get_client_first().encode()).decode())
    with pytest.raises(LoginFailedError):
        exchange.final(other.get_client_final().encode())


def test_a_user_who_is_not_there_has_a_salt_that_stays() -> None:
    """As one who is there has; and both look alike."""

    def salt(user: str, mechanism: str = "SCRAM-SHA512") -> bytes:
        fields = AUTHENTICATOR.scram(mechanism).first(f"n,,n={user},r=x".encode()).split(b",")
        return b64decode(fields[1][2:])

    assert salt("nobody") == salt("nobody") != salt("somebody")
    assert salt("nobody") != salt("nobody", "SCRAM-SHA1")  # as with one who is there
    assert len(salt("nobody")) == len(salt(USER.replace("=", "=3D").replace(",", "=2C")))


def test_who_logs_in_may_say_that_it_acts_as_itself() -> None:
    """Whatever has to be quoted in the name."""
    for user in ("a", "=3D=2C"):
        message = f"n,a={user},n={user},r=x".encode()
        assert AUTHENTICATOR.scram("SCRAM-SHA512").first(message).startswith(b"r=x")


def test_the_keys_of_nobody_are_made_for_who_is_there_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the time that a login's first step takes would tell them from each other."""
    made: list[bytes] = []
    of_nobody = Keys.of_nobody

    def noted(user: bytes, digest: str, secret: bytes) -> Keys:
        made.append(user)
        return of_nobody(user, digest, secret)

    monkeypatch.setattr(Keys, "of_nobody", noted)
    for user in (USER.encode(), b"nobody"):
        AUTHENTICATOR.keys_of(user, "sha512")
    assert made == [USER.encode(), b"nobody"]


def test_nonces_may_contain_blanks() -> None:
    """The stock SDK's do, though RFC 5802 has none in them; the server adds its own part."""
    first = AUTHENTICATOR.scram("SCRAM-SHA512").first(b"n,,n=nobody,r=a b c")
    assert first.startswith(b"r=a b c")
    assert len(first.split(b",")[0]) > 60


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n",
        b"n,,",
        b"n,,n=a",
        b"n,,r=x",
        b"p=tls-unique,,n=a,r=x",
        b"x,,n=a,r=x",
        b",,,,",
        b"n,a=b,n=a,r=x",
        b"n,a,n=a,r=x",
    ],
)
def test_a_first_message_that_is_none_fails(message: bytes) -> None:
    """Channel binding is not served, nor acting as somebody else."""
    with pytest.raises(LoginFailedError):
        AUTHENTICATOR.scram("SCRAM-SHA512").first(message)


def test_an_exchange_serves_for_one_attempt() -> None:
    """Nobody guesses twice against one nonce."""
    exchange, other = AUTHENTICATOR.scram("SCRAM-SHA512"), client("SCRAM-SHA512")
    other.set_server_first(exchange.first(other.get_client_first().encode()).decode())
    final = other.get_client_final().encode()
    with pytest.raises(LoginFailedError):
        exchange.final(final[:-4] + b"AAA=")
    with pytest.raises(LoginFailedError):
        exchange.final(final)


def test_a_proof_without_a_first_message_fails() -> None:
    """The steps have an order."""
    with pytest.raises(LoginFailedError):
        AUTHENTICATOR.scram("SCRAM-SHA1").final(b"c=biws,r=x,p=AAAA")


@pytest.mark.parametrize("change", [b"c=eSws", b"r=other"])
def test_binding_and_nonce_must_be_those_of_the_first_message(change: bytes) -> None:
    """Else someone in between has changed them."""
    exchange, other = AUTHENTICATOR.scram("SCRAM-SHA256"), client("SCRAM-SHA256")
    other.set_server_first(exchange.first(other.get_client_first().encode()).decode())
    parts = other.get_client_final().encode().split(b",")
    changed = b",".join(change if part[:1] == change[:1] else part for part in parts)
    with pytest.raises(LoginFailedError):
        exchange.final(changed)


@settings(max_examples=200)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_only_fail(first: bytes, final: bytes) -> None:
    """No other exception, and nobody gets in."""
    for start in (first, b"n,," + first, b"n,,n=a,r=b" + first):
        exchange = AUTHENTICATOR.scram("SCRAM-SHA1")
        try:
            exchange.first(start)
        except LoginFailedError:
            continue
        with pytest.raises(LoginFailedError):
            exchange.final(final)


def test_plain_takes_user_and_password() -> None:
    """Whom to act as comes first, and is ignored."""
    AUTHENTICATOR.check_plain(f"\0{USER}\0{PASSWORD}".encode())
    AUTHENTICATOR.check_plain(f"{USER}\0{USER}\0{PASSWORD}".encode())


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "\0",
        "\0\0",
        f"\0{USER}",
        f"\0{USER}\0",
        f"\0{USER}\0{PASSWORD}x",
        f"\0x\0{PASSWORD}",
        "\0x\0y",
    ],
)
def test_plain_takes_no_others(payload: str) -> None:
    """Nor parts of them."""
    with pytest.raises(LoginFailedError):
        AUTHENTICATOR.check_plain(payload.encode())


def test_plain_is_offered_only_where_it_is_allowed() -> None:
    """The best mechanism comes first."""
    assert AUTHENTICATOR.mechanisms(plain=False) == ("SCRAM-SHA512", "SCRAM-SHA256", "SCRAM-SHA1")
    assert AUTHENTICATOR.mechanisms(plain=True)[-1] == "PLAIN"
    with pytest.raises(LoginFailedError):
        AUTHENTICATOR.scram("PLAIN")


def test_nothing_shows_the_password() -> None:
    """In no representation."""
    exchange = AUTHENTICATOR.scram("SCRAM-SHA512")
    assert PASSWORD not in repr(AUTHENTICATOR) + repr(exchange) + repr(
        AUTHENTICATOR.keys_of(USER.encode(), "sha1")
    )


@mechanisms
def test_the_longest_user_and_password_have_room_in_a_login(mechanism: str) -> None:
    """Each byte of the name quoted with three, and said twice; PLAIN says it twice as well."""
    user, password = "=" * MAX_USER, "p" * MAX_PASSWORD
    authenticator = Authenticator(user, password)
    exchange, other = authenticator.scram(mechanism), client(mechanism, user, password)
    first = other.get_client_first().encode()
    assert len(first) + len("a=") + 3 * MAX_USER <= LOGIN
    other.set_server_first(exchange.first(first).decode())
    final = other.get_client_final().encode()
    assert len(final) + 4 * MAX_USER <= LOGIN  # the name again, as base64
    exchange.final(final)
    payload = f"{user}\0{user}\0{password}".encode()
    assert len(payload) <= LOGIN
    authenticator.check_plain(payload)


@pytest.mark.parametrize(("user", "password"), [("u" * 129, "p"), ("u", "\u00e9" * 257)])
def test_a_user_or_password_without_room_is_refused(user: str, password: str) -> None:
    """Where the server starts, not when somebody cannot log in."""
    with pytest.raises(ValueError, match="bytes in UTF-8, over the"):
        Authenticator(user, password)


@pytest.mark.parametrize(("password", "why"), [("", "must not be empty"), ("bell\a", "SASLprep")])
def test_a_password_that_no_client_could_send_is_refused(password: str, why: str) -> None:
    """Control characters are forbidden; an empty one would be none."""
    with pytest.raises(ValueError, match=why):
        Authenticator("user", password)

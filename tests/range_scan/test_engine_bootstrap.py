"""How a connection begins, and what is kept from who has not logged in."""

from __future__ import annotations

import json
import logging
import ssl
import struct
from typing import TYPE_CHECKING

import pytest
import trio
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from scramp import ScramClient

from examples.range_scan.server import serve
from examples.range_scan.settings import ServerError, ServerSettings
from examples.range_scan.wire import Feature, Frame, Opcode, Status, pack_request

from .server_helpers import EVERYTHING, PASSWORD, USER, RawClient, context_of, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.tree


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A server."""
    with serving(tmp_path) as port:
        yield port


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA512", "SCRAM-SHA256", "SCRAM-SHA1"])
def test_each_mechanism_logs_in(port: int, mechanism: str) -> None:
    """The client checks the server's proof, too."""
    with RawClient(port) as client:
        assert client.login(mechanism).code == Status.SUCCESS
        assert client.call(Opcode.NOOP).code == Status.SUCCESS


def test_hello_login_and_more_may_come_in_one_piece(port: int) -> None:
    """As the stock SDK sends them: what HELLO changes holds for the next frame."""
    with RawClient(port) as client:
        asked = struct.pack(">3H", Feature.XERROR, Feature.JSON, 0x7777)
        hello = pack_request(Frame(Opcode.HELLO, 1, key=b"x", value=asked))
        mechanisms = pack_request(Frame(Opcode.SASL_LIST_MECHS, 2))
        unknown = pack_request(Frame(Opcode.SASL_AUTH, 3, key=b"SCRAM-MD5", value=b"n,,n=a,r=b"))
        client.socket.sendall(hello + mechanisms + unknown)
        assert client.receive().value == asked[:4]
        assert client.receive().value == b"SCRAM-SHA512 SCRAM-SHA256 SCRAM-SHA1"
        last = client.receive()
        assert (last.code, context_of(last)) == (Status.AUTH_ERROR, "the login failed")


@pytest.mark.parametrize("opcode", sorted({*Opcode, 0x42}), ids=hex)
def test_strangers_get_five_commands_and_no_more(port: int, opcode: int) -> None:
    """All others are refused, also those that are none, and whatever is wrong with them."""
    five = {
        Opcode.HELLO,
        Opcode.SASL_LIST_MECHS,
        Opcode.SASL_AUTH,
        Opcode.SASL_STEP,
        Opcode.GET_ERROR_MAP,
    }
    with RawClient(port) as client:
        client.send(opcode, key=b"key", extras=b"odd", opaque=5)
        if opcode in five:
            assert client.receive().code in {Status.INVALID, Status.AUTH_ERROR, Status.SUCCESS}
        else:
            assert client.receive().code == Status.NO_ACCESS


def test_a_stranger_s_large_frame_is_refused_before_it_is_sent(port: int) -> None:
    """The header is enough; then the connection ends."""
    with RawClient(port) as client:
        client.socket.sendall(
            pack_request(Frame(Opcode.SASL_AUTH, 1, key=b"x", value=bytes(20_000)))[:24]
        )
        assert client.receive().code == Status.TOO_BIG
        with pytest.raises(EOFError):
            client.receive()


def test_a_wrong_password_is_refused_and_not_for_ever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Three times, then the connection ends; neither password is in the log."""
    caplog.set_level(logging.DEBUG)
    with serving(tmp_path, login_timeout=3600) as port, RawClient(port) as client:
        for _ in range(3):
            assert client.login(password="battery staple").code == Status.AUTH_ERROR
        with pytest.raises(EOFError):
            client.receive()
    assert "login from 127.0.0.1" in caplog.text
    assert "battery staple" not in caplog.text
    assert PASSWORD not in caplog.text


def test_a_login_that_is_begun_and_left_counts_as_one_that_fails(tmp_path: Path) -> None:
    """Else a stranger could begin for ever; one that succeeds lets others begin anew."""
    first = {"key": b"SCRAM-SHA512", "value": b"n,,n=u,r=x"}
    with serving(tmp_path, login_timeout=3600) as port, RawClient(port) as client:
        for _ in range(2):
            for _ in range(2):
                assert client.call(Opcode.SASL_AUTH, **first).code == Status.AUTH_CONTINUE
            assert client.login().code == Status.SUCCESS
        for _ in range(3):
            assert client.call(Opcode.SASL_AUTH, **first).code == Status.AUTH_CONTINUE
        assert client.call(Opcode.SASL_AUTH, **first).code == Status.AUTH_ERROR
        with pytest.raises(EOFError):
            client.receive()


def test_both_steps_of_a_login_name_the_same_mechanism(port: int) -> None:
    """What is sound for one would else be taken for another."""
    with RawClient(port) as client:
        scram = ScramClient(["SCRAM-SHA-512"], USER, PASSWORD)
        value = scram.get_client_first().encode()
        first = client.call(Opcode.SASL_AUTH, key=b"SCRAM-SHA512", value=value)
        scram.set_server_first(first.value.decode())
        value = scram.get_client_final().encode()
        last = client.call(Opcode.SASL_STEP, key=b"SCRAM-SHA256", value=value)
        assert last.code == Status.AUTH_ERROR


def test_a_login_that_fails_takes_back_the_one_before(port: int) -> None:
    """The bucket too; another one that succeeds gives both again."""
    with RawClient(port) as client:
        client.begin()
        assert client.login(password="battery staple").code == Status.AUTH_ERROR
        assert client.call(Opcode.NOOP).code == Status.NO_ACCESS
        assert client.login().code == Status.SUCCESS
        assert client.call(Opcode.GET, key=b"\0k").code == Status.NO_BUCKET
        assert client.call(Opcode.SELECT_BUCKET, key=b"default").code == Status.SUCCESS
        assert client.call(Opcode.GET, key=b"\0k").code == Status.NOT_FOUND


def test_who_begins_to_log_in_anew_is_a_stranger(tmp_path: Path) -> None:
    """With small frames, and as few seconds as any other."""
    with serving(tmp_path, login_timeout=1) as port, RawClient(port) as client:
        client.begin()
        first = client.call(Opcode.SASL_AUTH, key=b"SCRAM-SHA512", value=b"n,,n=u,r=x")
        assert first.code == Status.AUTH_CONTINUE
        assert client.call(Opcode.NOOP).code == Status.NO_ACCESS
        with pytest.raises((EOFError, ConnectionError)):
            client.receive()


def test_where_nobody_need_log_in_a_login_takes_nothing_back(tmp_path: Path) -> None:
    """It had given nothing; a wrong password is still said to be."""
    with serving(tmp_path, no_auth=True) as port, RawClient(port) as client:
        assert client.login(password="battery staple").code == Status.AUTH_ERROR
        assert client.call(Opcode.NOOP).code == Status.SUCCESS


def test_plain_is_for_tls_only(port: int) -> None:
    """It is not offered, and not taken."""
    with RawClient(port) as client:
        payload = f"\0{USER}\0{PASSWORD}".encode()
        assert client.call(Opcode.SASL_AUTH, key=b"PLAIN", value=payload).code == Status.AUTH_ERROR


def test_plain_may_be_allowed(tmp_path: Path) -> None:
    """For clients that know nothing else."""
    with serving(tmp_path, allow_plain=True) as port, RawClient(port) as client:
        payload = f"\0{USER}\0{PASSWORD}".encode()
        assert client.call(Opcode.SASL_AUTH, key=b"PLAIN", value=payload).code == Status.SUCCESS
        assert client.call(Opcode.NOOP).code == Status.SUCCESS


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[ssl.SSLContext, dict[str, Path]]:
    """What a client trusts, and what a server shows."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    paths = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    issued.cert_chain_pems[0].write_to_path(paths["tls_cert"])
    issued.private_key_pem.write_to_path(paths["tls_key"])
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context, paths


def test_over_tls_the_password_itself_may_be_sent(
    tmp_path: Path, certificate: tuple[ssl.SSLContext, dict[str, Path]]
) -> None:
    """And the cluster config says where TLS is spoken."""
    context, paths = certificate
    with serving(tmp_path / "store", **paths) as port, RawClient(port) as client:
        client.socket = context.wrap_socket(client.socket, server_hostname="127.0.0.1")
        assert b"PLAIN" in client.call(Opcode.SASL_LIST_MECHS).value
        payload = f"\0{USER}\0{PASSWORD}".encode()
        assert client.call(Opcode.SASL_AUTH, key=b"PLAIN", value=payload).code == Status.SUCCESS
        config = json.loads(client.call(Opcode.GET_CLUSTER_CONFIG).value)
        assert config["nodesExt"][0]["services"] == {"kvSSL": port}


def test_who_connects_to_tls_and_says_nothing_is_shown_out(
    tmp_path: Path, certificate: tuple[ssl.SSLContext, dict[str, Path]]
) -> None:
    """A handshake that never begins counts as no login."""
    _, paths = certificate
    with (
        serving(tmp_path / "store", login_timeout=0.2, **paths) as port,
        RawClient(port) as client,
        pytest.raises((EOFError, ConnectionError)),
    ):
        client.receive()


async def test_a_key_that_needs_a_pass_phrase_is_refused_in_one_line(
    tmp_path: Path, certificate: tuple[ssl.SSLContext, dict[str, Path]]
) -> None:
    """Nobody is there to be asked for it."""
    _, paths = certificate
    key = load_pem_private_key(paths["tls_key"].read_bytes(), None)
    sealed = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a phrase that nobody gives")
    )
    paths["tls_key"].write_bytes(sealed)
    settings = ServerSettings(
        data=tmp_path / "store", port=0, tls_cert=paths["tls_cert"], tls_key=paths["tls_key"]
    )
    with pytest.raises(ServerError, match="needs a pass phrase"):
        await serve(settings)


def test_a_stranger_who_does_not_log_in_is_shown_out(tmp_path: Path) -> None:
    """Who has logged in is not, however long that was ago."""
    with (
        serving(tmp_path, login_timeout=1) as port,
        RawClient(port) as friend,
        RawClient(port) as stranger,
    ):
        friend.begin()
        with pytest.raises((EOFError, ConnectionError)):
            stranger.receive()
        assert friend.call(Opcode.NOOP).code == Status.SUCCESS


def test_strangers_are_few(tmp_path: Path) -> None:
    """The oldest must go, so that those who say nothing keep nobody from logging in."""
    with serving(tmp_path, max_strangers=2) as port, RawClient(port) as friend:
        friend.begin()
        with RawClient(port) as one, RawClient(port) as two, RawClient(port) as three:
            with pytest.raises((EOFError, ConnectionError)):
                one.receive()
            assert three.login().code == Status.SUCCESS
            assert two.login().code == Status.SUCCESS
            assert friend.call(Opcode.NOOP).code == Status.SUCCESS


def test_only_the_bucket_can_be_selected(port: int) -> None:
    """Another is refused, whether it exists or not; documents need one."""
    with RawClient(port) as client:
        client.hello(*EVERYTHING)
        client.login()
        assert client.call(Opcode.SELECT_BUCKET, key=b"other").code == Status.NO_ACCESS
        assert client.call(Opcode.GET, key=b"\0k").code == Status.NO_BUCKET
        assert client.call(Opcode.SELECT_BUCKET, key=b"default").code == Status.SUCCESS
        assert client.call(Opcode.GET, key=b"\0k").code == Status.NOT_FOUND


def test_who_cannot_select_a_bucket_has_the_one_there_is(port: int) -> None:
    """Plain memcached clients know of none."""
    with RawClient(port) as client:
        client.login()
        assert client.call(Opcode.GET, key=b"k").code == Status.NOT_FOUND


def test_the_cluster_config_says_where_things_are(port: int) -> None:
    """And what the bucket can do, once it is selected."""
    with RawClient(port) as client:
        client.hello(*EVERYTHING)
        client.login()
        bare = json.loads(client.call(Opcode.GET_CLUSTER_CONFIG).value)
        assert bare["nodesExt"][0]["services"] == {"kv": port}
        assert "vBucketServerMap" not in bare
        client.call(Opcode.SELECT_BUCKET, key=b"default")
        full = json.loads(client.call(Opcode.GET_CLUSTER_CONFIG).value)
        assert full["vBucketServerMap"]["vBucketMap"] == [[0]] * 4
        assert "rangeScan" in full["bucketCapabilities"]


def test_the_error_map_is_there_before_login(port: int) -> None:
    """Clients want to know what the login's errors mean."""
    with RawClient(port) as client:
        errors = json.loads(client.call(Opcode.GET_ERROR_MAP, value=b"\0\2").value)["errors"]
        assert errors["20"]["name"] == "AUTH_ERROR"


def test_quit_is_answered_and_closes(port: int) -> None:
    """Its quiet variant only closes."""
    for opcode, codes in ((Opcode.QUIT, [Status.SUCCESS]), (Opcode.QUITQ, [])):
        with RawClient(port) as client:
            client.begin()
            client.send(opcode)
            for code in codes:
                assert client.receive().code == code
            with pytest.raises(EOFError):
                client.receive()


@pytest.mark.parametrize("group", ["", "general", "range-scans", "vbucket"])
def test_statistics_have_groups(port: int, group: str) -> None:
    """Each ends with an empty line."""
    with RawClient(port) as client:
        client.begin()
        client.send(Opcode.STAT, key=group.encode())
        found = {}
        while (line := client.receive()).key:
            found[line.key.decode()] = line.value.decode()
    expected = {"range-scans": ("scans", "0"), "vbucket": ("vb_3", "active")}
    name, value = expected.get(group, ("front_end:connections", "1"))
    assert found[name] == value


def test_a_group_of_statistics_that_is_not_there_is_not_found(port: int) -> None:
    """The answer says which are."""
    with RawClient(port) as client:
        reply = client.begin().call(Opcode.STAT, key=b"nonsense")
        assert reply.code == Status.NOT_FOUND
        assert "range-scans" in context_of(reply)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"host": "0.0.0.0", "no_auth": True, "password": "x"}, "--no-auth"),
        ({"host": "192.0.2.1"}, "choose a password"),
        ({"host": "example.com"}, "choose a password"),
        ({"password": ""}, "must not be empty"),
        ({"tls_cert": "cert.pem"}, "--tls-key"),
        ({"tls_cert": "no.pem", "tls_key": "no.key"}, "cannot use no.pem"),
        ({"vbuckets": 0}, "vbuckets"),
    ],
)
async def test_what_is_not_safe_or_cannot_work_is_refused_in_one_line(
    tmp_path: Path, wrong: dict[str, str], why: str
) -> None:
    """Before anything is listened to."""
    with pytest.raises(ServerError, match=why) as caught:
        await serve(ServerSettings(**{"data": tmp_path, "port": 0, **wrong}))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


async def test_a_port_in_use_is_refused_in_one_line(tmp_path: Path) -> None:
    """And the store is closed again."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with listener:
        for _ in range(2):
            with pytest.raises(ServerError, match=f"cannot listen on 127.0.0.1:{port}"):
                await serve(ServerSettings(data=tmp_path, port=port))

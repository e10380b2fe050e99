"""The options that commands share: where the server is, and who one is there."""

from __future__ import annotations

import functools
import os
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from examples.range_scan.client import Client, ClientError, Login
from examples.range_scan.settings import DEFAULT_PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable

    Command: TypeAlias = Callable[..., None]
    Connect: TypeAlias = Callable[[], Client]

PASSWORD_VARIABLE = "RANGE_SCAN_PASSWORD"  # noqa: S105 - its name
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def login_options(command: Command) -> Command:
    """Add the options of who one is; the command gets `bucket`, `user` and `password`."""

    @click.option("--bucket", default="default", help="The bucket's name.")
    @click.option("--user", default="Administrator", callback=_utf_8, help="Who logs in.")
    @click.option(
        "--password",
        envvar=PASSWORD_VARIABLE,
        show_envvar=True,
        default=_default_password,
        show_default=False,
        callback=_utf_8,
        help="Others on this machine may see it here: better in the environment, or in a file.",
    )
    @click.option("--password-file", type=EXISTING_FILE, help="The password is the file's first line.")
    @functools.wraps(command)
    def run(*, password: str, password_file: Path | None, **options: Any) -> None:
        if password_file is not None:
            password = _first_line(password_file)
        command(password=password, **options)

    return run


def with_connect(command: Command) -> Command:
    """Add the options of where the server is; the command gets `connect`, which makes a client of it.

    So it checks its own options first. What goes wrong between the two is said in one line, and the
    exit code is 1.
    """

    @click.option("--host", default="127.0.0.1", help="The server's address.")
    @click.option("--port", type=click.IntRange(1, 65_535), default=11210, help="The server's port.")
    @click.option("--no-auth", is_flag=True, help="Do not log in: the server was started so.")
    @click.option("--tls-ca", type=EXISTING_FILE, help="Speak TLS, and trust these certificates.")
    @login_options
    @functools.wraps(command)
    def run(
        *,
        host: str,
        port: int,
        no_auth: bool,
        tls_ca: Path | None,
        bucket: str,
        user: str,
        password: str,
        **options: Any,
    ) -> None:
        login = None if no_auth else Login(user, password)
        try:
            tls = None if tls_ca is None else ssl.create_default_context(cafile=tls_ca)
            connect = functools.partial(Client.connect, host, port, login, bucket=bucket, tls=tls)
            command(connect, **options)
        except ssl.SSLError as error:
            msg = f"cannot use the certificates in {tls_ca} ({error}): give a file of them in PEM"
            raise click.ClickException(msg) from error
        except ClientError as error:
            raise click.ClickException(str(error)) from error

    return run


def not_empty(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Refuse an empty value, which is that of a shell's variable that is not set."""
    if value == "":
        msg = "it is empty: name one, or leave the option out"
        raise click.BadParameter(msg)
    return value


def shown(text: str) -> str:
    """A client's text, or JSON, as one line that can be written, and does nothing to a terminal."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _default_password() -> str:
    """The one that everyone knows; unless the variable is empty, which click takes for not set."""
    return os.environ.get(PASSWORD_VARIABLE, DEFAULT_PASSWORD)


def _utf_8(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """Refuse bytes of the shell that are no text."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        msg = "it is not UTF-8: write it as that"
        raise click.BadParameter(msg) from error
    return value


def _first_line(file: Path) -> str:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        msg = f"the password in {file} is not UTF-8 ({error.reason}): write it as that"
        raise click.ClickException(msg) from error
    return lines[0] if lines else ""

"""The body of RANGE_SCAN_CREATE: what to scan, in JSON.

Whatever is wrong, `BadScanError` says where and what. Members that are not known are ignored, so that a
client may be newer than its server.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from string import hexdigits
from typing import Final, TypeAlias, TypeVar, cast

from .requests import KeyRange, Sampling, SnapshotRequirements

MAX_KEY: Final = 250
"""Bytes of a document's key."""
MAX_NAME: Final = 50
"""Bytes of a scan's name."""
HEX_DIGITS: Final = frozenset(hexdigits)
U32: Final = 2**32
U64: Final = 2**64

Json: TypeAlias = dict[str, object]
V = TypeVar("V")


class BadScanError(ValueError):
    """A scan cannot be made of this."""


def parse(
    body: bytes,
) -> tuple[int, bool, KeyRange | Sampling, str, SnapshotRequirements | None]:
    """The scan's collection, whether only keys are wanted, what to pick, its name, what to wait for.

    Raises:
        BadScanError: and why.
    """
    try:
        root: object = json.loads(body.decode())  # bytes it would take for UTF-16 too, or UTF-32
    except (ValueError, RecursionError) as error:
        msg = f"the value is no JSON: {error}"
        raise BadScanError(msg) from error
    if not isinstance(root, dict):
        msg = "the value must be a JSON object"
        raise BadScanError(msg)
    whole = cast("Json", root)
    keys_only = _get(whole, "key_only", bool, default=False)
    if _get(whole, "include_xattrs", bool, default=False):
        msg = "include_xattrs: extended attributes are not served here"
        raise BadScanError(msg)
    return _collection(whole), keys_only, _pick(whole), _name(whole), _snapshot(whole)


def _collection(root: Json) -> int:
    text = _get(root, "collection", str, default="0")
    # int() takes 0x, signs, blanks, underscores, and the digits of all scripts.
    is_hex = text != "" and HEX_DIGITS.issuperset(text)
    number = int(text, 16) if is_hex else U32
    if number >= U32:
        msg = f"collection: {text[:20]!r} is no hexadecimal number of 32 bits"
        raise BadScanError(msg)
    return number


def _name(root: Json) -> str:
    name = _get(root, "name", str, default="")
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:  # half a pair: JSON can say that, UTF-8 cannot
        msg = f"name: {name[:20]!r} is no text"
        raise BadScanError(msg) from error
    if size > MAX_NAME:
        msg = f"name: {size} bytes are more than the {MAX_NAME} allowed"
        raise BadScanError(msg)
    return name


def _pick(root: Json) -> KeyRange | Sampling:
    if ("range" in root) == ("sampling" in root):
        msg = "there must be either range or sampling, and not both"
        raise BadScanError(msg)
    if "range" in root:
        keys = _object(root, "range")
        start, start_inclusive = _bound(keys, "start")
        end, end_inclusive = _bound(keys, "end")
        return KeyRange(
            start=start, end=end, start_inclusive=start_inclusive, end_inclusive=end_inclusive
        )
    sample = _object(root, "sampling")
    samples = _number(sample, "samples", "sampling.samples")
    if samples == 0:
        msg = "sampling.samples must be more than 0"
        raise BadScanError(msg)
    return Sampling(samples=samples, seed=_number(sample, "seed", "sampling.seed", default=0))


def _bound(keys: Json, side: str) -> tuple[bytes, bool]:
    """A bound of a range, and whether it is itself in the range."""
    exclusive = f"excl_{side}"
    if (side in keys) == (exclusive in keys):
        msg = f"range: there must be either {side} or {exclusive}, and not both"
        raise BadScanError(msg)
    name = side if side in keys else exclusive
    text = _get(keys, name, str, path=f"range.{name}")
    try:
        key = b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        msg = f"range.{name} is no base64: {error}"
        raise BadScanError(msg) from error
    if len(key) > MAX_KEY:
        msg = f"range.{name}: {len(key)} bytes are more than a key's {MAX_KEY}"
        raise BadScanError(msg)
    return key, name == side


def _snapshot(root: Json) -> SnapshotRequirements | None:
    if "snapshot_requirements" not in root:
        return None
    path = "snapshot_requirements"
    wanted = _object(root, path)
    text = _get(wanted, "vb_uuid", str, path=f"{path}.vb_uuid")
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(U64)) and int(text) < U64):
        msg = f"{path}.vb_uuid: {text[:24]!r} is no decimal number of 64 bits"
        raise BadScanError(msg)
    timeout = None
    if "timeout_ms" in wanted:
        timeout = _number(wanted, "timeout_ms", f"{path}.timeout_ms") / 1000
    return SnapshotRequirements(
        vbucket_uuid=int(text),
        seqno=_number(wanted, "seqno", f"{path}.seqno"),
        seqno_exists=_get(wanted, "seqno_exists", bool, default=False, path=f"{path}.seqno_exists"),
        timeout=timeout,
    )


_NAMES: Final[dict[type, str]] = {bool: "true or false", str: "a string", dict: "an object"}


def _get(
    source: Json, name: str, kind: type[V], *, default: V | None = None, path: str | None = None
) -> V:
    value = source.get(name, default)
    if name not in source and default is None:
        msg = f"{path or name} is missing"
        raise BadScanError(msg)
    if not isinstance(value, kind):
        msg = f"{path or name} must be {_NAMES[kind]}"
        raise BadScanError(msg)
    return value


def _object(source: Json, name: str) -> Json:
    return cast("Json", _get(source, name, dict))


def _number(source: Json, name: str, path: str, *, default: int | None = None) -> int:
    value = source.get(name, default)
    if value is None and name not in source:
        msg = f"{path} is missing"
        raise BadScanError(msg)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < U64:
        msg = f"{path} must be a whole number of 64 bits, not negative"
        raise BadScanError(msg)
    return value

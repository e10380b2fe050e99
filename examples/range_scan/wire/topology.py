"""Where documents are: which vBucket has a key, and what clients are told of the cluster."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping


def vbucket_of(key: bytes, vbuckets: int) -> int:
    """The vBucket of a key, without its collection, among so many."""
    return (zlib.crc32(key) >> 16 & 0x7FFF) % vbuckets


@attrs.frozen(kw_only=True)
class Topology:
    """A cluster of one node, with one bucket."""

    bucket: str
    uuid: str
    vbuckets: int
    port: int
    tls: bool = False

    def without_bucket(self) -> dict[str, object]:
        """The cluster config, for who has selected no bucket."""
        return {"rev": 1, "revEpoch": 1, "nodesExt": [self._node()]}

    def with_bucket(self) -> dict[str, object]:
        """The cluster config, for who has."""
        return {
            **self.without_bucket(),
            "name": self.bucket,
            "uuid": self.uuid,
            "nodeLocator": "vbucket",
            "bucketCapabilities": ["collections", "rangeScan"],
            "vBucketServerMap": {
                "hashAlgorithm": "CRC",
                "numReplicas": 0,
                "serverList": [f"$HOST:{self.port}"],
                "vBucketMap": [[0]] * self.vbuckets,
            },
        }

    def _node(self) -> dict[str, object]:
        # A client puts the name that it has connected to in place of $HOST.
        service = "kvSSL" if self.tls else "kv"
        return {"services": {service: self.port}, "thisNode": True, "hostname": "$HOST"}


def manifest(collections: Mapping[str, int]) -> dict[str, object]:
    """The scopes and their collections, as JSON: ids are hexadecimal there.

    Args:
        collections: ids by `scope.collection`.
    """
    scopes: dict[str, list[dict[str, str]]] = {}
    for path, number in collections.items():
        scope, _, name = path.partition(".")
        scopes.setdefault(scope, []).append({"name": name, "uid": f"{number:x}"})
    listed = [
        {"name": scope, "uid": f"{number and number + 7:x}", "collections": inside}
        for number, (scope, inside) in enumerate(sorted(scopes.items()))
    ]
    return {"uid": "1", "scopes": listed}

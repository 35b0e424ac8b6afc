"""The sandbox's folder: certificates, secrets, the profile, the decisions file and the state, readable by their owner only."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from exoscope.outcome import BadInput, Refused
from exoscope.system import lock, make_private_dir, private_temporary_dir

LOCK = ".exoscope-sandbox"  # also the mark by which a folder is known as a sandbox's
OURS = (
    "ca.pem",
    "decisions.jsonl",
    "exoscope.toml",
    "gateway.pem",
    "modules",
    "operator.pem",
    "secrets",
    "server.pem",
    "state",
)
_SAFE = re.compile(r"[0-9A-Za-z-]{1,64}")


class Folder:
    """Where everything of one sandbox lies. Files of an earlier sandbox in the same folder are replaced, its state is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = make_private_dir(path / "state")
        self.secrets = make_private_dir(path / "secrets")
        self.modules = make_private_dir(path / "modules")
        for old in self.secrets.iterdir():
            old.unlink()
        self.decisions = self.write("decisions.jsonl", b"")
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.ca = self.write("ca.pem", authority.cert_pem.bytes())
        served = authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA)
        self.server = self.write("server.pem", served.private_key_and_cert_chain_pem.bytes())
        # RSA: the operator signs PS256 assertions with it
        operator = authority.issue_cert(
            common_name="operator", organization_name="exoscope sandbox", key_type=trustme.KeyType.RSA
        )
        self.operator = self.write("operator.pem", operator.private_key_and_cert_chain_pem.bytes())
        self.operator_certificate = _der(operator.cert_chain_pems[0].bytes())
        gateway = authority.issue_cert(
            common_name="gateway", organization_name="exoscope sandbox", key_type=trustme.KeyType.ECDSA
        )
        self.gateway = self.write("gateway.pem", gateway.private_key_and_cert_chain_pem.bytes())
        self.gateway_certificate = _der(gateway.cert_chain_pems[0].bytes())

    def write(self, name: str, data: bytes) -> Path:
        """Write a file that only its owner can read. Nothing here must outlive a crash, so nothing waits for the disk."""
        path = self.path / name
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        return path

    def write_secret(self, name: str, secret: str) -> Path:
        """A secret in a file of its own."""
        if not _SAFE.fullmatch(name):
            name = secrets.token_hex(8)  # an id that is no Guid must not choose a path
        return self.write(f"secrets/{name}", secret.encode())


@contextlib.contextmanager
def folder(directory: Path | None) -> Iterator[Folder]:
    """A sandbox's folder for as long as it serves: ``directory``, or a temporary one that is removed at the end.

    Raises BadInput when the directory cannot be used, or another sandbox serves from it.
    """
    if directory is None:
        path = private_temporary_dir("exoscope-sandbox-")
        try:
            yield Folder(path)
        finally:
            shutil.rmtree(path, ignore_errors=True)
        return
    path = make_private_dir(directory.resolve())
    mark = path / LOCK
    foreign = [] if mark.exists() else sorted(name for name in OURS if (path / name).exists())
    if foreign:
        raise BadInput(
            f"{path} holds {', '.join(foreign)}, which no sandbox wrote: it would be overwritten",
            next="Name an empty folder, or one of an earlier sandbox.",
        )
    try:
        with lock(mark):
            yield Folder(path)
    except Refused as refused:
        if refused.code != "locked":
            raise
        raise BadInput(
            f"another sandbox serves from {path}", next="Name another --dir, or stop the other one."
        ) from None


def toml(table: Mapping[str, object], prefix: str = "") -> str:
    """A profile as TOML: strings, numbers, and tables of them. JSON's string syntax is TOML's basic string's."""
    lines: list[str] = []
    tables: list[str] = []
    for key, value in table.items():
        name = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)
        if isinstance(value, Mapping):
            nested = f"{prefix}{name}"
            if any(not isinstance(inner, Mapping) for inner in value.values()):
                tables.append(f"\n[{nested}]\n" + toml(value, f"{nested}."))
            else:
                tables.append(toml(value, f"{nested}."))
        else:
            lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}\n")
    return "".join(lines) + "".join(tables)


def _der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)

"""What a certificate's file must be, said before anybody is asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, NoEncryption, pkcs12

from exoscope.entra.identities import credential
from exoscope.outcome import BadInput
from exoscope.profile import SecretRef


def pfx(phrase: bytes | None) -> bytes:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=1))
    encryption = NoEncryption() if phrase is None else BestAvailableEncryption(phrase)
    return pkcs12.serialize_key_and_certificates(b"", key, made.sign(key, hashes.SHA256()), None, encryption)


@pytest.mark.parametrize(
    ("data", "phrase", "fits"),
    [
        (pfx(None), None, True),
        (pfx(b"right"), "right", True),
        (pfx(b"right"), "wrong", False),
        (pfx(b"right"), None, False),
        (b"a picture of a certificate", None, False),
    ],
    ids=["open", "its passphrase", "another passphrase", "no passphrase", "no certificate"],
)
def test_a_pfx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, phrase: str | None, fits: bool) -> None:
    file = tmp_path / "app.pfx"
    file.write_bytes(data)
    reference = None
    if phrase is not None:
        monkeypatch.setenv("PFX_PHRASE", phrase)
        reference = SecretRef("env", "PFX_PHRASE", tmp_path)
    if fits:
        assert credential(None, file, reference)["private_key_pfx_path"] == str(file)
        return
    with pytest.raises(BadInput, match="neither PEM nor a PFX") as error:
        credential(None, file, reference)
    assert phrase is None or phrase not in str(error.value)

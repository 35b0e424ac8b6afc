"""Certificates for tests: made at hand, with the days that a test needs."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Made(NamedTuple):
    """A certificate, and its key with it as PEM."""

    certificate: x509.Certificate
    pem: str

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def base64(self) -> str:
        return base64.b64encode(self.der).decode()

    @property
    def public_pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def credential(self) -> dict[str, str]:
        """As msal takes it."""
        return {"private_key": self.pem, "public_certificate": self.public_pem}


def made_certificate(
    days: float = 90, *, name: str = "test", starts: datetime | None = None, ec_key: bool = False
) -> Made:
    """Self-signed; RSA as Entra wants it, unless a test asks for another kind."""
    key = ec.generate_private_key(ec.SECP256R1()) if ec_key else rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begins = (starts or datetime.now(UTC) - timedelta(hours=1)).replace(microsecond=0)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=days))
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Made(certificate, private + certificate.public_bytes(Encoding.PEM).decode())

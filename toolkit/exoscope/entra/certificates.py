"""Certificates that apps sign in with: made here, or given by somebody else. Keys stay in memory until they are placed.

Source of what Entra takes: applications-how-to-add-certificate and howto-create-self-signed-certificate (RSA, 2048 bits, SHA-256).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from exoscope.model import Noun, Secret
from exoscope.outcome import BadInput

if TYPE_CHECKING:
    from cryptography import x509

EARLIER = timedelta(minutes=5)
"""A certificate begins a little before it is made: the service's clock may be behind ours."""


class PublicCertificate(Noun, frozen=True):
    """A certificate without its key: what Entra gets. ``der`` its bytes, ``begins`` and ``ends`` as it says itself."""

    der: bytes
    begins: datetime
    ends: datetime
    thumbprint: str


class KeyPair(Noun, frozen=True):
    """A certificate and its key, in PEM, unencrypted: :class:`~exoscope.model.Secret` holds it."""

    pem: Secret
    public: PublicCertificate

    def for_msal(self) -> dict[str, str]:
        """As msal takes a credential. Never print the result."""
        text = self.pem.reveal()
        return {"private_key": text, "public_certificate": text}


def make_key_pair(name: str, *, now: datetime, ends: datetime) -> KeyPair:
    """A new RSA key and a self-signed certificate with this common name (cut to the 64 characters of X.520)."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before((now - EARLIER).replace(microsecond=0))
        .not_valid_after(ends.replace(microsecond=0))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    text = (private + certificate.public_bytes(Encoding.PEM)).decode("ascii")
    return KeyPair(Secret(text, "a key made here"), _public(certificate))


def written(pair: KeyPair, *, pfx: bool, name: str, passphrase: Secret | None) -> bytes:
    """The pair as the bytes of a PFX (PKCS#12) or PEM file, encrypted where a passphrase is given."""
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
        pkcs12,
    )

    if not pfx and passphrase is None:
        return pair.pem.reveal().encode("ascii")
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase.reveal().encode("utf-8"))
    data = pair.pem.reveal().encode("ascii")
    key, certificate = load_pem_private_key(data, None), _load(data)
    if pfx:
        return pkcs12.serialize_key_and_certificates(
            name.encode("utf-8"),
            key,  # type: ignore[arg-type]  # RSA, as made above; the loader's type names every kind there is
            certificate,
            None,
            encryption,
        )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return private + certificate.public_bytes(Encoding.PEM)


def read_key_pair(text: Secret) -> KeyPair | None:
    """A key and its certificate in PEM; None: it is not that, or a passphrase keeps it."""
    data = text.reveal()
    if "PRIVATE KEY-----" not in data or "ENCRYPTED" in data:
        return None
    try:
        return KeyPair(text, _public(_load(data.encode("utf-8"))))
    except ValueError:
        return None


def read_certificate(data: bytes, name: str) -> PublicCertificate:
    """The certificate of a file (PEM or DER); a key beside it is left where it is. Raises BadInput naming the file."""
    try:
        certificate = _load(data)
    except ValueError:
        raise BadInput(
            f"{name} holds no certificate in PEM or DER",
            next="Name the certificate's public part (.cer, .crt, .pem); a .pfx holds its key as well and is not needed.",
        ) from None
    return _public(certificate)


def _load(data: bytes) -> x509.Certificate:
    from cryptography import x509

    found = re.search(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", data, re.DOTALL)
    return x509.load_pem_x509_certificate(found.group()) if found else x509.load_der_x509_certificate(data)


def _public(certificate: x509.Certificate) -> PublicCertificate:
    from cryptography.hazmat.primitives.hashes import SHA1
    from cryptography.hazmat.primitives.serialization import Encoding

    return PublicCertificate(
        der=certificate.public_bytes(Encoding.DER),
        begins=certificate.not_valid_before_utc,
        ends=certificate.not_valid_after_utc,
        thumbprint=certificate.fingerprint(SHA1()).hex().upper(),  # noqa: S303 - the name Entra's portal shows, no security
    )

"""A certificate authority of a test's own."""

from __future__ import annotations

import datetime
import os
import shutil
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates for names; `path` is its own certificate."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Rillbook test authority")
        self._certificate = self._sign(self._name, self._key.public_key(), "", is_authority=True)
        self.path = self._write("authority.pem", self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, host: str) -> tuple[Path, Path]:
        """Files of a certificate for the host and of its key, which PostgreSQL's user may read."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._sign(_name(host), key.public_key(), host, is_authority=False)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        certificate = self._write(f"{host}.pem", made.public_bytes(serialization.Encoding.PEM))
        return certificate, self._write(f"{host}.key", private)

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, host: str, *, is_authority: bool
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if host:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, content: bytes) -> Path:
        """Where the server's user can read it: the folders of pytest belong to whoever runs it."""
        path = self._folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(path, "postgres")
            for folder in (self._folder, *self._folder.parents):
                if folder.stat().st_uid == 0 and folder.stat().st_mode & 0o777 == 0o700:
                    folder.chmod(0o711)
        return path


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

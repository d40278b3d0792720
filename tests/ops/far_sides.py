"""Far sides that are wrong on purpose: TLS with bad certificates, PostgreSQL that refuses, S3 that answers errors."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # PostgreSQL, Message Formats, SSLRequest


class Pair:
    """A certificate that signs itself, for localhost, and its key."""

    def __init__(self, folder: Path, *, host: str = "localhost", days: int = 1) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=9))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.path, self.key = folder / f"{host}{days}.pem", folder / f"{host}{days}.key"
        self.path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(private)

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path, self.key)
        return context


@contextlib.contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port on which each connection is given to `answer`, in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))

    def one(near: socket.socket) -> None:
        with contextlib.suppress(OSError), near:
            near.settimeout(20)
            answer(near)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def tls(pair: Pair, *, is_postgres: bool = False) -> Callable[[socket.socket], None]:
    """Speaks TLS with this certificate, and nothing after it."""
    context = pair.context()

    def answer(near: socket.socket) -> None:
        if is_postgres and near.recv(8) == SSL_REQUEST:
            near.sendall(b"S")
        with context.wrap_socket(near, server_side=True) as inside:
            inside.recv(1)

    return answer


def postgres_refusing(code: str, words: str) -> Callable[[socket.socket], None]:
    """PostgreSQL without TLS that ends every start with a FATAL error (protocol 3, ErrorResponse)."""
    fields = f"SFATAL\0VFATAL\0C{code}\0M{words}\0\0".encode()

    def answer(near: socket.socket) -> None:
        while near.recv(8) == SSL_REQUEST:
            near.sendall(b"N")
        near.sendall(b"E" + struct.pack("!i", len(fields) + 4) + fields)
        near.recv(4096)

    return answer


def saying(data: bytes) -> Callable[[socket.socket], None]:
    def answer(near: socket.socket) -> None:
        near.recv(4096)
        near.sendall(data)

    return answer


def mute(near: socket.socket) -> None:
    near.recv(4096)
    threading.Event().wait(20)


@contextlib.contextmanager
def http(status: int, body: bytes = b"", **headers: str) -> Iterator[str]:
    """An HTTP server that answers everything with this; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()

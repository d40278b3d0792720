"""A small OpenID Connect provider on loopback (code flow with PKCE), which lies when a test wants it to."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "rillbook", "a secret of the provider"


@dataclass
class Provider:
    """`claims` are told of who signs in next; `lies` replace what the id token says."""

    url: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    lies: dict[str, Any] = field(default_factory=dict)
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    codes: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)  # code -> challenge, claims
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)

    def authorize(self, location: str) -> tuple[str, dict[str, str]]:
        """What a person's browser is sent back with who follows this address: a new code, and what was asked."""
        asked = dict(parse_qsl(urlsplit(location).query))
        assert location.startswith(f"{self.url}/authorize?") and asked["client_id"] == CLIENT_ID
        assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked["code_challenge"], dict(self.claims)
        return code, asked

    def document(self, path: str, form: dict[str, str], bearer: str) -> tuple[int, Any]:
        if path == "/.well-known/openid-configuration":
            names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "userinfo_endpoint": "me"}
            return 200, {name: f"{self.url}/{at}" for name, at in names.items()} | {
                "issuer": self.url, "jwks_uri": f"{self.url}/keys",
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
            }  # fmt: skip
        if path == "/token":
            return self._token(form)
        if path == "/me" and bearer in self.tokens:
            return 200, self.tokens[bearer]
        return 404, {"error": "not_found"}

    def _token(self, form: dict[str, str]) -> tuple[int, Any]:
        challenge, claims = self.codes.pop(form.get("code", ""), ("", {}))
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        is_known = form.get("client_id") == CLIENT_ID and form.get("client_secret") == CLIENT_SECRET
        if not is_known or base64.urlsafe_b64encode(verifier).decode().rstrip("=") != challenge:
            return 400, {"error": "invalid_grant"}
        access = secrets.token_urlsafe(16)
        self.tokens[access] = claims
        told = {"iss": self.url, "aud": CLIENT_ID, "exp": time.time() + 60, "iat": time.time(), "jti": access}
        id_token = jwt.encode(told | claims | self.lies, self.key, algorithm="RS256", headers={"kid": "1"})
        return 200, {"access_token": access, "token_type": "Bearer", "expires_in": 60, "id_token": id_token}


@contextmanager
def openid_provider() -> Iterator[Provider]:
    made = Provider()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            form = {name: values[0] for name, values in parse_qs(data).items()}
            bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, document = made.document(urlsplit(self.path).path, form, bearer)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        do_GET = do_POST = answer

        def log_message(self, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

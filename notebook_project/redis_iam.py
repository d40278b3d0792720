"""Signing in to Amazon ElastiCache as an IAM identity: a short-lived signed request takes the place of a password.

So there is no secret to keep or to rotate. Elsewhere REDIS_URL holds a password.
"""

from __future__ import annotations

import asyncio
import threading
import time
from urllib.parse import urlencode

from redis.credentials import CredentialProvider

VALID_S = 900  # ElastiCache's limit (Authenticating with IAM, ElastiCache user guide)
KEPT_S = 600


class IamCredentials(CredentialProvider):
    """User name and token for new connections; one token serves those of ten minutes."""

    def __init__(self, user: str, cache: str, region: str) -> None:
        self._user, self._cache, self._region = user, cache, region
        self._token, self._made_at = "", 0.0
        self._lock = threading.Lock()

    def get_credentials(self) -> tuple[str, str]:
        with self._lock:
            if not self._token or time.monotonic() - self._made_at > KEPT_S:
                self._token, self._made_at = self._sign(), time.monotonic()
            return self._user, self._token

    async def get_credentials_async(self) -> tuple[str, str]:
        """The same in a thread: finding the machine's AWS credentials asks the network."""
        return await asyncio.to_thread(self.get_credentials)

    def _sign(self) -> str:
        """A request `connect`, signed by whoever this machine is. Raises botocore's errors where it is nobody."""
        from boto3 import Session
        from botocore.exceptions import NoCredentialsError
        from botocore.model import ServiceId
        from botocore.signers import RequestSigner

        session = Session()
        credentials = session.get_credentials()
        if credentials is None:
            raise NoCredentialsError()
        signer = RequestSigner(
            ServiceId("elasticache"), self._region, "elasticache", "v4", credentials, session.events
        )
        query = urlencode({"Action": "connect", "User": self._user})
        request = {"method": "GET", "url": f"https://{self._cache}/?{query}", "body": {}, "headers": {}, "context": {}}
        signed = signer.generate_presigned_url(
            request, operation_name="connect", expires_in=VALID_S, region_name=self._region
        )
        return signed.removeprefix("https://")

"""`terraform test` with a real apply to moto: begun early, for it mostly waits, and read while what it made is there.

terraform/tests/applied says what is applied, and what moto cannot make. Once its run has passed, Terraform would
destroy everything, for minutes; it is stopped there instead, its state is kept, and moto is asked.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import signal
import threading
from typing import Any

import boto3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.terraform.working import EXAMPLE, REGION, Terraform

DOMAIN = "notebooks.example.com"
FOLDER = "tests/applied"
APPLY_S = 600
TABLE = "arn:aws:dynamodb:eu-central-1:123456789012:table/notebooks"
SIGN_IN = {"OIDC_ISSUER": "https://id.example.com", "OIDC_CLIENT_ID": "rillbook"}


class Aws:
    """boto3 clients of the server at `endpoint`."""

    def __init__(self, endpoint: str) -> None:
        self._session = boto3.Session("testing", "testing", region_name=REGION)
        self._endpoint = endpoint

    def __call__(self, service: str) -> Any:
        return self._session.client(service, endpoint_url=self._endpoint)


def given(aws: Aws) -> dict[str, str]:
    """What an operator has before the first apply: a certificate, a zone, a provider to sign in at. By variables."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DOMAIN)])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now).not_valid_after(now + datetime.timedelta(30))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate = aws("acm").import_certificate(
        Certificate=made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), PrivateKey=private
    )
    client_secret = aws("secretsmanager").create_secret(Name="sign-in", SecretString="secret-of-a-client")  # noqa: S106
    zone = aws("route53").create_hosted_zone(Name="example.com", CallerReference="tests")
    return {
        "certificate_arn": certificate["CertificateArn"],
        "hosted_zone_id": zone["HostedZone"]["Id"].rpartition("/")[2],
        "deletion_protection": "false",
        "extra_settings": json.dumps(SIGN_IN | {"KERNEL_IDLE_SECONDS": "900"}),
        "extra_secrets": json.dumps({"OIDC_CLIENT_SECRET": client_secret["ARN"]}),
        "import_tables": json.dumps([TABLE]),
        "exchange_bucket": "exchange",
    }


class RealApply:
    """`terraform test` of FOLDER, begun at once. `state()` waits for it."""

    def __init__(self, workspace: Terraform, endpoint: str) -> None:
        self.aws = Aws(endpoint)
        values = [f"-var={name}={value}" for name, value in given(self.aws).items()]
        words = ["test", f"-test-directory={FOLDER}", "-json", "-verbose", f"-var-file={EXAMPLE}", *values]
        self._process = workspace.popen(*words, AWS_ENDPOINT_URL=endpoint)
        self._is_over = threading.Event()
        self._has_passed = False
        self._state: dict[str, Any] = {}
        self._problems: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def state(self) -> dict[str, Any]:
        """What Terraform keeps of the environment. Raises AssertionError with its own words if the run did not pass."""
        assert self._is_over.wait(APPLY_S), "the apply takes too long"
        assert self._state, "\n".join(self._problems)
        return self._state

    def stop(self) -> None:
        """End Terraform and the provider, wherever they are."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        self._reader.join(10)

    def _read(self) -> None:
        try:
            for line in self._process.stdout or ():
                if self._is_heard(json.loads(line) if line.startswith("{") else {"type": "words"}):
                    break
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._is_over.set()

    def _is_heard(self, event: dict[str, Any]) -> bool:
        """Take in what Terraform tells; whether that is all: what comes then is the end of what was made."""
        if event["type"] == "diagnostic":
            found = event["diagnostic"]
            self._problems.append(f"{found['summary']}: {found.get('detail', '')} {found.get('address', '')}")
        elif event["type"] == "test_run" and event["test_run"]["progress"] == "complete":
            self._has_passed = event["test_run"]["status"] == "pass"
        elif event["type"] == "test_state" and self._has_passed:
            self._state = {name: event["test_state"][name] for name in ("outputs", "root_module")}
            return True
        return event["type"] == "test_file" and event["test_file"]["progress"] == "teardown"

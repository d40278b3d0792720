"""Where large outputs are kept, from the environment: an S3 bucket, or a folder.

The page's content policy must name the bucket's origin, so how a bucket is addressed is settled here and not left to
boto3: by path at an endpoint of one's own, by host name at AWS.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from notebook_project.env import env_choice, env_int, env_str, env_url

BUCKET = env_str("OUTPUTS_BUCKET")
ENDPOINT_URL = env_url("OUTPUTS_ENDPOINT_URL", ("https", "http"))
REGION = env_str("OUTPUTS_REGION") or "us-east-1"
TIMEOUT_S = env_int("OUTPUTS_TIMEOUT_S", 10, least=1)
# A bucket with dots in its name has no certificate as a host.
ADDRESSING = env_choice(
    "OUTPUTS_ADDRESSING", ("path", "virtual"), "path" if ENDPOINT_URL or "." in BUCKET else "virtual"
)


def storage(folder: Path) -> dict[str, Any]:
    """The entry of STORAGES."""
    if not BUCKET:
        return {"BACKEND": "notebooks_app.output_folder.OutputFolder", "OPTIONS": {"location": folder}}
    return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": bucket_options()}


def bucket_options() -> dict[str, Any]:
    """Every answer within TIMEOUT_S, one retry; large files in parts, one in memory at a time."""
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config

    return {
        "bucket_name": BUCKET,
        "endpoint_url": ENDPOINT_URL or None,
        "region_name": REGION,
        "default_acl": None,
        "file_overwrite": True,  # keys name their content
        "max_memory_size": 8 * 1024 * 1024,  # of a file that is read; more of it goes to a temporary file
        "transfer_config": TransferConfig(use_threads=False),
        "client_config": Config(
            signature_version="s3v4",
            connect_timeout=TIMEOUT_S,
            read_timeout=TIMEOUT_S,
            retries={"total_max_attempts": 2, "mode": "standard"},
            s3={"addressing_style": ADDRESSING, "us_east_1_regional_endpoint": "regional"},
            # Other servers than AWS's do not all know the checksums that boto3 adds by itself.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    }


def origins() -> list[str]:
    """What signed URLs begin with, for the content policy: one origin, none for a folder."""
    if not BUCKET:
        return []
    endpoint = ENDPOINT_URL or f"https://s3.{REGION}.amazonaws.com"
    parts = urlsplit(endpoint)
    host = f"{BUCKET}.{parts.netloc}" if ADDRESSING == "virtual" else parts.netloc
    return [f"{parts.scheme}://{host}"]

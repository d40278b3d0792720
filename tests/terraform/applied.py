"""What an apply to moto needs besides the configuration, and what moto cannot make.

moto has no ElastiCache user groups, parameter groups and members, no tags of autoscaling targets, no subscribers of
budgets: those stay out of the apply (the plan's assertions cover them). Everything else is made for real.
"""

from __future__ import annotations

import datetime
from typing import Any

import boto3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.terraform.working import REGION

DOMAIN = "notebooks.example.com"
CACHE = """
# In place of the module's main.tf: the names that the others need of it.
locals {
  arn = "arn:aws:elasticache:eu-central-1:123456789012"
}

output "url" {
  value = "rediss://${var.name}.example.com:6379/0"
}

output "cache_name" {
  value = var.name
}

output "user_name" {
  value = var.name
}

output "cache_arn" {
  value = "${local.arn}:replicationgroup:${var.name}"
}

output "user_arn" {
  value = "${local.arn}:user:${var.name}"
}

output "member_ids" {
  value = [for number in range(1, var.replicas + 2) : format("%s-%03d", var.name, number)]
}
"""
SCALING = """
resource "aws_appautoscaling_target" "web" {
  count = 0
}

resource "aws_appautoscaling_policy" "web" {
  for_each           = {}
  service_namespace  = "ecs"
  resource_id        = "none"
  scalable_dimension = "none"
}
"""
BUDGET = """
resource "aws_budgets_budget" "monthly" {
  count = 0
}
"""
WITHOUT = {
    "modules/cache/main.tf": "",
    "modules/cache/outputs.tf": CACHE,
    "modules/compute/tests_override.tf": SCALING,
    "modules/monitoring/tests_override.tf": BUDGET,
}


class Aws:
    """boto3 clients of the server at `endpoint`."""

    def __init__(self, endpoint: str) -> None:
        self._session = boto3.Session("testing", "testing", region_name=REGION)
        self._endpoint = endpoint

    def __call__(self, service: str) -> Any:
        return self._session.client(service, endpoint_url=self._endpoint)


def given(aws: Aws) -> dict[str, str]:
    """What an operator has before the first apply: a certificate and a zone. By their variables."""
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
    zone = aws("route53").create_hosted_zone(Name="example.com", CallerReference="tests")
    return {
        "certificate_arn": certificate["CertificateArn"],
        "hosted_zone_id": zone["HostedZone"]["Id"].rpartition("/")[2],
        "deletion_protection": "false",
    }

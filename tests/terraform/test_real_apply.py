"""The environment, really applied to an AWS-compatible server (moto), and read back from it with boto3."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import ROOT
from tests.terraform.applied import DOMAIN, WITHOUT, Aws, given
from tests.terraform.working import EXAMPLE, Terraform, moto_server

pytestmark = pytest.mark.soak

NAME = "rillbook-production"
APPLY_S = 600


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto_server(tmp_path_factory.mktemp("moto-apply") / "log") as url:
        yield url


@pytest.fixture(scope="module")
def aws(endpoint: str) -> Aws:
    return Aws(endpoint)


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory, endpoint: str, aws: Aws) -> Terraform:
    """Applied once. Nothing is destroyed at the end: moto's process ends, and with it all that it holds."""
    terraform = Terraform(tmp_path_factory.mktemp("apply"), endpoint, WITHOUT)
    values = [f"-var={name}={value}" for name, value in given(aws).items()]
    more = ["-auto-approve", "-input=false", "-no-color", "-parallelism=30", f"-var-file={EXAMPLE}", *values]
    terraform.run("apply", *more, timeout_s=APPLY_S)
    return terraform


@pytest.fixture(scope="module")
def outputs(applied: Terraform) -> dict[str, Any]:
    return {name: each["value"] for name, each in json.loads(applied.run("output", "-json").stdout).items()}


def container(aws: Aws, family: str) -> dict[str, Any]:
    definition = aws("ecs").describe_task_definition(taskDefinition=family)["taskDefinition"]
    return definition["containerDefinitions"][0]


def environment(aws: Aws, family: str) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(aws, family)["environment"]}


def secret(aws: Aws, purpose: str) -> str:
    return aws("secretsmanager").get_secret_value(SecretId=f"{NAME}/{purpose}")["SecretString"]


def test_no_secret_is_in_the_state(applied: Terraform, aws: Aws) -> None:
    state = (applied.folder / "terraform.tfstate").read_text(encoding="utf-8")
    values = [secret(aws, purpose) for purpose in ("secret_key", "connection_keys", "database_password", "ray_token")]
    assert len(set(values)) == 4 and all(len(value) >= 40 for value in values)
    assert [value for value in values if value in state] == []
    assert len(base64.b64decode(values[1], validate=True)) == 32


@pytest.mark.usefixtures("applied")
def test_the_url_parameter_names_the_database_without_its_password(aws: Aws) -> None:
    parameter = aws("ssm").get_parameter(Name=f"/{NAME}/database-url")["Parameter"]
    database = aws("rds").describe_db_instances(DBInstanceIdentifier=NAME)["DBInstances"][0]
    host = f"{database['Endpoint']['Address']}:{database['Endpoint']['Port']}"
    assert parameter["Value"] == f"postgresql://rillbook@{host}/rillbook?sslmode=require"
    assert secret(aws, "database_password") not in parameter["Value"]


@pytest.mark.usefixtures("applied")
def test_the_database_is_as_promised(aws: Aws) -> None:
    database = aws("rds").describe_db_instances(DBInstanceIdentifier=NAME)["DBInstances"][0]
    assert database["Engine"] == "postgres" and int(database["EngineVersion"].split(".")[0]) >= 16
    assert database["StorageEncrypted"] and database["MultiAZ"] and not database["PubliclyAccessible"]
    assert database["BackupRetentionPeriod"] == 7 and database["DBSubnetGroup"]["DBSubnetGroupName"] == NAME


@pytest.mark.usefixtures("applied")
def test_the_bucket_refuses_the_public_and_plain_http(aws: Aws, outputs: dict[str, Any]) -> None:
    s3, bucket = aws("s3"), outputs["outputs_bucket"]
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert len(block) == 4 and all(block.values())
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    statement = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    denied = statement[0] if isinstance(statement, list) else statement
    assert denied["Effect"] == "Deny" and denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"][0]["AllowedOrigins"] == [f"https://{DOMAIN}"]
    assert len(s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]) == 2


@pytest.mark.usefixtures("applied")
def test_web_tasks_are_told_where_everything_is(aws: Aws, outputs: dict[str, Any]) -> None:
    told = environment(aws, f"{NAME}-web")
    assert told["OUTPUTS_BUCKET"] == outputs["outputs_bucket"] and told["ALLOWED_HOSTS"] == DOMAIN
    assert told["RAY_ADDRESS"] == f"head.{NAME}.internal:6379" and told["BEHIND_PROXY"] == "true"
    secrets = {each["name"]: each["valueFrom"] for each in container(aws, f"{NAME}-web")["secrets"]}
    assert secrets["DATABASE_PASSWORD"] == outputs["secret_arns"]["database_password"]
    assert secrets["DATABASE_URL"].endswith(f"parameter/{NAME}/database-url")
    values = [secret(aws, purpose) for purpose in ("secret_key", "database_password", "ray_token")]
    assert not set(values) & set(told.values())


@pytest.mark.usefixtures("applied")
def test_the_settings_load_with_what_tasks_are_given(aws: Aws, tmp_path: Path) -> None:
    """As ECS would give them: the environment, and the values of secrets and parameters."""
    family = f"{NAME}-web"
    told = environment(aws, family)
    for each in container(aws, family)["secrets"]:
        arn = each["valueFrom"]
        if ":parameter/" in arn:
            told[each["name"]] = aws("ssm").get_parameter(Name=arn.split(":parameter")[1])["Parameter"]["Value"]
        else:
            told[each["name"]] = aws("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
    program = (
        "import django, os; os.environ['DJANGO_SETTINGS_MODULE'] = 'notebook_project.settings'; django.setup()\n"
        "from django.conf import settings; database = settings.DATABASES['default']\n"
        "print(database['USER'], len(database['PASSWORD']), database['OPTIONS']['sslmode'])\n"
        "print(settings.CHANNEL_LAYERS['default']['CONFIG']['hosts'][0]['address'])\n"
    )
    own = {"PATH": os.environ["PATH"], "RILLBOOK_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=told | own,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["rillbook", "40", "require", told["REDIS_URL"]], done.stderr


@pytest.mark.usefixtures("applied")
def test_one_image_serves_all_roles(aws: Aws, outputs: dict[str, Any]) -> None:
    roles = {role: container(aws, f"{NAME}-{role}") for role in ("web", "migrate", "head")}
    assert {role: each["command"] for role, each in roles.items()} == {role: [role] for role in roles}
    tag = re.search(r'image_tag += "(.+)"', Path(__file__).parents[2].joinpath("terraform", EXAMPLE).read_text("utf-8"))
    assert tag is not None
    assert {each["image"] for each in roles.values()} == {f"{outputs['repository_url']}:{tag[1]}"}


@pytest.mark.usefixtures("applied")
def test_services_run_in_private_subnets(aws: Aws, outputs: dict[str, Any]) -> None:
    services = aws("ecs").describe_services(cluster=NAME, services=["web", "head"])["services"]
    assert {service["serviceName"] for service in services} == {"web", "head"}
    for service in services:
        network = service["networkConfiguration"]["awsvpcConfiguration"]
        assert sorted(network["subnets"]) == sorted(outputs["release"]["subnets"])
        assert network.get("assignPublicIp", "DISABLED") == "DISABLED"


@pytest.mark.usefixtures("applied")
def test_the_load_balancer_passes_to_ready_tasks(aws: Aws) -> None:
    elb = aws("elbv2")
    group = elb.describe_target_groups()["TargetGroups"][0]
    assert group["HealthCheckPath"] == "/ready" and group["TargetType"] == "ip"
    balancer = elb.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
    listeners = elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
    assert sorted(listener["Protocol"] for listener in listeners) == ["HTTP", "HTTPS"]
    attributes = elb.describe_target_group_attributes(TargetGroupArn=group["TargetGroupArn"])["Attributes"]
    assert {each["Key"]: each["Value"] for each in attributes}["stickiness.enabled"] == "false"


@pytest.mark.usefixtures("applied")
def test_no_role_names_every_resource_without_need(aws: Aws) -> None:
    iam = aws("iam")
    roles = [role["RoleName"] for role in iam.list_roles()["Roles"] if role["RoleName"].startswith(NAME)]
    assert len(roles) == 7
    for role in roles:
        assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            assert {each["Sid"] for each in statements(document) if "*" in resources(each)} <= {"RegistryLogin"}, role


def statements(document: dict[str, Any]) -> list[dict[str, Any]]:
    found = document["Statement"]
    return [{"Sid": "", **each} for each in (found if isinstance(found, list) else [found])]


def resources(statement: dict[str, Any]) -> list[str]:
    named = statement["Resource"]
    return named if isinstance(named, list) else [named]


@pytest.mark.usefixtures("applied")
def test_a_web_task_may_do_what_the_server_does_and_no_more(aws: Aws, outputs: dict[str, Any]) -> None:
    document = aws("iam").get_role_policy(RoleName=f"{NAME}-web", PolicyName="application")["PolicyDocument"]
    allowed = {each["Sid"]: (each["Action"], resources(each)) for each in statements(document)}
    assert set(allowed) == {"OutputFiles", "OutputList", "OutputKey", "CacheLogin"}
    assert allowed["OutputFiles"][1] == [f"arn:aws:s3:::{outputs['outputs_bucket']}/*"]
    assert aws("iam").list_role_policies(RoleName=f"{NAME}-migrate")["PolicyNames"] == []


@pytest.mark.usefixtures("applied")
def test_nodes_fetch_secrets_when_they_start(aws: Aws, outputs: dict[str, Any]) -> None:
    ec2 = aws("ec2")
    template = ec2.describe_launch_template_versions(LaunchTemplateName=f"{NAME}-node")["LaunchTemplateVersions"][-1]
    data = template["LaunchTemplateData"]
    script = base64.b64decode(data["UserData"]).decode()
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert outputs["secret_arns"]["ray_token"] in script and f"{outputs['repository_url']}:" in script
    values = [secret(aws, purpose) for purpose in ("secret_key", "database_password", "ray_token")]
    assert [value for value in values if value in script] == []
    assert "--privileged" not in script and "--cap-drop ALL" in script


@pytest.mark.usefixtures("applied")
def test_alarms_tell_the_topic(aws: Aws, outputs: dict[str, Any]) -> None:
    alarms = aws("cloudwatch").describe_alarms(MaxRecords=100)["MetricAlarms"]
    ours = [alarm for alarm in alarms if alarm["AlarmName"].startswith(NAME)]
    assert len(ours) >= 20
    assert {action for alarm in ours for action in alarm["AlarmActions"]} == {outputs["alarm_topic_arn"]}
    filters = aws("logs").describe_metric_filters(logGroupName=f"/{NAME}/kernels")["metricFilters"]
    assert {each["metricTransformations"][0]["metricName"] for each in filters} == {
        "kernel-deaths", "cluster-full", "saves-failed",
    }  # fmt: skip


@pytest.mark.usefixtures("applied")
def test_the_name_points_to_the_load_balancer(aws: Aws, outputs: dict[str, Any]) -> None:
    zone = aws("route53").list_hosted_zones()["HostedZones"]
    zone_id = next(each["Id"] for each in zone if each["Name"] == "example.com.")
    records = aws("route53").list_resource_record_sets(HostedZoneId=zone_id)["ResourceRecordSets"]
    record = next(each for each in records if each["Name"] == f"{DOMAIN}.")
    assert outputs["load_balancer_dns_name"].lower() in record["AliasTarget"]["DNSName"].lower()

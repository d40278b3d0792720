"""The environment, really applied to an AWS-compatible server (moto), and read back from it with boto3."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers import ROOT
from tests.terraform.applied import DOMAIN, TABLE, Aws, RealApply
from tests.terraform.working import EXAMPLE

pytestmark = pytest.mark.slow

NAME = "rillbook-production"


@pytest.fixture(scope="module")
def aws(applied: RealApply) -> Aws:
    return applied.aws


@pytest.fixture(scope="module")
def outputs(applied: RealApply) -> dict[str, Any]:
    return {name: each["value"] for name, each in applied.state()["outputs"].items()}


def container(aws: Aws, family: str) -> dict[str, Any]:
    definition = aws("ecs").describe_task_definition(taskDefinition=family)["taskDefinition"]
    return definition["containerDefinitions"][0]


def environment(aws: Aws, family: str) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(aws, family)["environment"]}


def secret(aws: Aws, purpose: str) -> str:
    return aws("secretsmanager").get_secret_value(SecretId=f"{NAME}/{purpose}")["SecretString"]


def test_no_secret_is_in_the_state(applied: RealApply, aws: Aws) -> None:
    state = json.dumps(applied.state())
    assert f"{NAME}/database_password" in state
    values = [secret(aws, purpose) for purpose in ("secret_key", "connection_keys", "database_password", "ray_token")]
    assert len(set(values)) == 4 and all(len(value) >= 40 for value in values)
    assert [value for value in values if value in state] == []
    assert len(base64.b64decode(values[1], validate=True)) == 32


def test_the_url_parameter_names_the_database_without_its_password(aws: Aws) -> None:
    parameter = aws("ssm").get_parameter(Name=f"/{NAME}/database-url")["Parameter"]
    database = aws("rds").describe_db_instances(DBInstanceIdentifier=NAME)["DBInstances"][0]
    host = f"{database['Endpoint']['Address']}:{database['Endpoint']['Port']}"
    assert parameter["Value"] == f"postgresql://rillbook@{host}/rillbook?sslmode=require"
    assert secret(aws, "database_password") not in parameter["Value"]


def test_the_database_is_as_promised(aws: Aws) -> None:
    database = aws("rds").describe_db_instances(DBInstanceIdentifier=NAME)["DBInstances"][0]
    assert database["Engine"] == "postgres" and int(database["EngineVersion"].split(".")[0]) >= 16
    assert database["StorageEncrypted"] and database["MultiAZ"] and not database["PubliclyAccessible"]
    assert database["BackupRetentionPeriod"] == 7 and database["DBSubnetGroup"]["DBSubnetGroupName"] == NAME


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


def test_web_tasks_are_told_where_everything_is(aws: Aws, outputs: dict[str, Any]) -> None:
    plain = environment(aws, f"{NAME}-web")
    assert plain["OUTPUTS_BUCKET"] == outputs["outputs_bucket"] and plain["ALLOWED_HOSTS"] == DOMAIN
    assert plain["RAY_ADDRESS"] == f"head.{NAME}.internal:6379" and plain["BEHIND_PROXY"] == "true"
    secrets = {each["name"]: each["valueFrom"] for each in container(aws, f"{NAME}-web")["secrets"]}
    assert secrets["DATABASE_PASSWORD"] == outputs["secret_arns"]["database_password"]
    assert secrets["DATABASE_URL"].endswith(f"parameter/{NAME}/database-url")
    values = [secret(aws, purpose) for purpose in ("secret_key", "database_password", "ray_token")]
    assert not set(values) & set(plain.values())


def script_of_nodes(aws: Aws) -> str:
    found = aws("ec2").describe_launch_template_versions(LaunchTemplateName=f"{NAME}-node")["LaunchTemplateVersions"]
    return base64.b64decode(found[-1]["LaunchTemplateData"]["UserData"]).decode()


def told(aws: Aws, role: str) -> dict[str, str]:
    """The variables of a role's processes, and the ARNs of those that are fetched when they start."""
    if role != "nodes":
        fetched = {each["name"]: each["valueFrom"] for each in container(aws, f"{NAME}-{role}").get("secrets", [])}
        return environment(aws, f"{NAME}-{role}") | fetched
    script = script_of_nodes(aws)
    plain = script.split("<<'ENVIRONMENT'\n")[1].split("\nENVIRONMENT\n")[0]
    fetched = dict(re.findall(r'^    secret (\w+) "(.+)"$', script, re.MULTILINE))
    url = re.search(r'--names "(.+?)"', script)
    assert url is not None
    return dict(line.split("=", 1) for line in plain.splitlines()) | fetched | {"DATABASE_URL": url[1]}


def fetched(aws: Aws, value: str) -> str:
    if ":parameter/" in value:
        return aws("ssm").get_parameter(Name=value.split(":parameter")[1])["Parameter"]["Value"]
    if value.startswith("arn:aws:secretsmanager:"):
        return aws("secretsmanager").get_secret_value(SecretId=value)["SecretString"]
    return value


LOADED = """
import json, os
os.environ["DJANGO_SETTINGS_MODULE"] = "notebook_project.settings"
import django; django.setup()
from django.conf import settings
from kernels_app import cluster
database = settings.DATABASES["default"]
print(json.dumps({
    "user": database.get("USER"), "password": len(database.get("PASSWORD", "")), "pool": settings.KERNEL_POOL_SIZE,
    "tls": database.get("OPTIONS", {}).get("sslmode"), "redis": settings.REDIS_URL, "sandbox": settings.KERNEL_SANDBOX,
    "refusals": cluster.refusals(), "member": cluster.package_refusals(), "https": settings.HTTPS,
    "sign_in": settings.OIDC and settings.OIDC.client_secret, "idle": settings.KERNEL_IDLE_SECONDS,
}))
"""


def loaded(aws: Aws, role: str, folder: Path) -> dict[str, Any]:
    """What the settings make of it: as ECS, or a node before each start, gives it to a process."""
    given = {name: fetched(aws, value) for name, value in told(aws, role).items()}
    own = {"PATH": os.environ["PATH"], "RILLBOOK_DATA_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=ROOT, env=given | own, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("role", ["web", "migrate", "manage", "nodes"])
def test_the_settings_load_with_what_each_role_is_given(aws: Aws, tmp_path: Path, role: str) -> None:
    found = loaded(aws, role, tmp_path)
    assert (found["user"], found["password"], found["tls"]) == ("rillbook", 40, "require")
    assert found["redis"] == f"rediss://{NAME}.example.com:6379/0" and found["https"]
    assert found["refusals"] == []
    # Extra settings reach all; those of signing in web tasks alone, with the secret that goes with them.
    assert (found["idle"], found["sign_in"]) == (900, None if role == "nodes" else "secret-of-a-client")
    # Web tasks say how many kernels wait on each node; nodes isolate them.
    assert (found["pool"], found["sandbox"]) == ((1, "bubblewrap") if role == "nodes" else (2, "auto"))


def test_the_head_is_told_the_token_and_nothing_else(aws: Aws, tmp_path: Path) -> None:
    assert set(told(aws, "head")) == {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"}
    assert loaded(aws, "head", tmp_path)["member"] == []


def test_one_image_serves_all_roles(aws: Aws, outputs: dict[str, Any]) -> None:
    roles = {role: container(aws, f"{NAME}-{role}") for role in ("web", "migrate", "manage", "head")}
    assert {role: each["command"] for role, each in roles.items()} == {role: [role] for role in roles}
    tag = re.search(r'image_tag += "(.+)"', Path(__file__).parents[2].joinpath("terraform", EXAMPLE).read_text("utf-8"))
    assert tag is not None
    assert {each["image"] for each in roles.values()} == {f"{outputs['repository_url']}:{tag[1]}"}


def test_services_run_in_private_subnets(aws: Aws, outputs: dict[str, Any]) -> None:
    services = aws("ecs").describe_services(cluster=NAME, services=["web", "head"])["services"]
    assert {service["serviceName"] for service in services} == {"web", "head"}
    for service in services:
        network = service["networkConfiguration"]["awsvpcConfiguration"]
        assert sorted(network["subnets"]) == sorted(outputs["release"]["subnets"])
        assert network.get("assignPublicIp", "DISABLED") == "DISABLED"


def test_the_load_balancer_passes_to_ready_tasks(aws: Aws) -> None:
    elb = aws("elbv2")
    group = elb.describe_target_groups()["TargetGroups"][0]
    assert group["HealthCheckPath"] == "/ready" and group["TargetType"] == "ip"
    balancer = elb.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
    listeners = elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
    assert sorted(listener["Protocol"] for listener in listeners) == ["HTTP", "HTTPS"]
    attributes = elb.describe_target_group_attributes(TargetGroupArn=group["TargetGroupArn"])["Attributes"]
    assert {each["Key"]: each["Value"] for each in attributes}["stickiness.enabled"] == "false"


def test_no_role_names_every_resource_without_need(aws: Aws) -> None:
    iam = aws("iam")
    roles = [role["RoleName"] for role in iam.list_roles()["Roles"] if role["RoleName"].startswith(NAME)]
    assert len(roles) == 8
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


def test_a_web_task_may_do_what_the_server_does_and_no_more(aws: Aws, outputs: dict[str, Any]) -> None:
    document = aws("iam").get_role_policy(RoleName=f"{NAME}-web", PolicyName="application")["PolicyDocument"]
    allowed = {each["Sid"]: (each["Action"], resources(each)) for each in statements(document)}
    assert set(allowed) == {"OutputFiles", "OutputList", "OutputKey", "CacheLogin"}
    assert allowed["OutputFiles"][1] == [f"arn:aws:s3:::{outputs['outputs_bucket']}/*"]
    assert aws("iam").list_role_policies(RoleName=f"{NAME}-migrate")["PolicyNames"] == []


def test_a_command_may_also_read_old_tables_and_exchange_files(aws: Aws, outputs: dict[str, Any]) -> None:
    iam, role = aws("iam"), f"{NAME}-manage"
    assert set(iam.list_role_policies(RoleName=role)["PolicyNames"]) == {"application", "import", "exchange"}
    tables = statements(iam.get_role_policy(RoleName=role, PolicyName="import")["PolicyDocument"])
    assert [resources(each) for each in tables] == [[TABLE]]
    definition = aws("ecs").describe_task_definition(taskDefinition=outputs["release"]["manage_task_definition"])
    assert definition["taskDefinition"]["taskRoleArn"].endswith(f":role/{role}")
    assert outputs["release"]["exchange_bucket"] == "exchange"


def test_nodes_fetch_secrets_when_they_start(aws: Aws, outputs: dict[str, Any]) -> None:
    found = aws("ec2").describe_launch_template_versions(LaunchTemplateName=f"{NAME}-node")["LaunchTemplateVersions"]
    script = script_of_nodes(aws)
    assert found[-1]["LaunchTemplateData"]["MetadataOptions"]["HttpTokens"] == "required"
    assert outputs["secret_arns"]["ray_token"] in script and f"{outputs['repository_url']}:" in script
    values = [secret(aws, purpose) for purpose in ("secret_key", "database_password", "ray_token")]
    assert [value for value in values if value in script] == []
    assert "--privileged" not in script and "--cap-drop ALL" in script


def test_a_release_is_told_the_launch_template_that_nodes_follow(aws: Aws, outputs: dict[str, Any]) -> None:
    group = aws("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"][0]
    told = outputs["release"]
    assert group["AutoScalingGroupName"] == told["node_group"]
    assert group["LaunchTemplate"]["LaunchTemplateId"] == told["node_template"]
    assert group["LaunchTemplate"]["Version"] == "$Default"
    versions = aws("ec2").describe_launch_template_versions(LaunchTemplateId=told["node_template"])
    numbers = [each["VersionNumber"] for each in versions["LaunchTemplateVersions"]]
    assert told["node_template_version"] == max(numbers)


def test_alarms_tell_the_topic(aws: Aws, outputs: dict[str, Any]) -> None:
    alarms = aws("cloudwatch").describe_alarms(MaxRecords=100)["MetricAlarms"]
    ours = [alarm for alarm in alarms if alarm["AlarmName"].startswith(NAME)]
    assert len(ours) >= 20
    acting = {alarm["AlarmName"].removeprefix(f"{NAME}-"): alarm["AlarmActions"] for alarm in ours}
    assert acting.pop("cluster-full") == [full_policy(aws)["PolicyARN"]]
    assert {action for actions in acting.values() for action in actions} == {outputs["alarm_topic_arn"]}
    filters = aws("logs").describe_metric_filters(logGroupName=f"/{NAME}/kernels")["metricFilters"]
    assert {each["metricTransformations"][0]["metricName"] for each in filters} == {
        "kernel-deaths", "cluster-full", "saves-failed",
    }  # fmt: skip


def full_policy(aws: Aws) -> dict[str, Any]:
    policies = aws("autoscaling").describe_policies(AutoScalingGroupName=f"{NAME}-nodes")["ScalingPolicies"]
    return next(each for each in policies if each["PolicyName"] == "full")


def test_a_full_cluster_adds_nodes_and_busy_nodes_do_too(aws: Aws) -> None:
    policies = aws("autoscaling").describe_policies(AutoScalingGroupName=f"{NAME}-nodes")["ScalingPolicies"]
    assert {each["PolicyName"]: each["PolicyType"] for each in policies} == {
        "cpu": "TargetTrackingScaling", "full": "StepScaling",
    }  # fmt: skip
    assert [step["ScalingAdjustment"] for step in full_policy(aws)["StepAdjustments"]] == [1, 2]
    assert full_policy(aws)["AdjustmentType"] == "ChangeInCapacity"


def test_the_name_points_to_the_load_balancer(aws: Aws, outputs: dict[str, Any]) -> None:
    zone = aws("route53").list_hosted_zones()["HostedZones"]
    zone_id = next(each["Id"] for each in zone if each["Name"] == "example.com.")
    records = aws("route53").list_resource_record_sets(HostedZoneId=zone_id)["ResourceRecordSets"]
    record = next(each for each in records if each["Name"] == f"{DOMAIN}.")
    assert outputs["load_balancer_dns_name"].lower() in record["AliasTarget"]["DNSName"].lower()

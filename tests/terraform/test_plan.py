"""What Terraform would make, from its plan: the promises of the environment, one by one."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kernels_app.cluster import FIXED_PORTS, HEAD_PORT
from tests.servers import ROOT
from tests.terraform.planned import Planned
from tests.terraform.working import SOURCE, Terraform

# Read by Ray and boto3 themselves.
OTHERS = re.compile(r"RAY_|AWS_REGION$")
# A statement may name every resource only where AWS knows none, or where "*" is the key that the policy is of.
WILDCARDS = {"RegistryLogin", "Administration", "Logs", "Alarms", "NodeDisks", "NodeDiskGrants"}


# --- The files ------------------------------------------------------------------------------------------------------


def test_the_files_are_formatted(workspace: Terraform) -> None:
    assert workspace.run("fmt", "-check", "-recursive", "-diff", str(SOURCE), check=False).stdout == ""


def test_the_configuration_is_valid(workspace: Terraform) -> None:
    workspace.run("validate")


def test_every_variable_and_output_is_described_and_typed() -> None:
    blocks = [block for path in SOURCE.rglob("*.tf") for block in re.split(r"\n(?=\S)", path.read_text("utf-8"))]
    variables = [block for block in blocks if block.startswith("variable ")]
    assert len(variables) > 100
    assert [block for block in variables if not re.search(r'\n  description = ".+"\n  type +=', block)] == []
    outputs = [block for block in blocks if block.startswith("output ")]
    assert [block for block in outputs if 'description = "' not in block] == []


def test_every_input_that_can_be_wrong_is_validated() -> None:
    variables = (SOURCE / "variables.tf").read_text(encoding="utf-8").split('variable "')[1:]
    plain = {each.split('"')[0] for each in variables if "validation {" not in each}
    # On or off, any text at all, any tag.
    assert all(
        re.search(r"type += (bool|map\(string\))", each)
        for each in variables
        if each.split('"')[0] in plain - {"email_from"}
    )
    assert all("error_message" in each for each in variables if "validation {" in each)


def test_no_registry_and_no_secret_stands_in_the_files() -> None:
    files = [path for path in [*SOURCE.rglob("*"), ROOT / "compose.yaml", ROOT / "Dockerfile"] if path.is_file()]
    texts = {path: path.read_text(encoding="utf-8") for path in files if ".terraform" not in path.parts}
    assert len(texts) > 30
    host = re.compile(
        r"\bregistry\.[a-z]|\bghcr\.io|\bquay\.io|public\.ecr\.aws|AKIA[A-Z0-9]{16}|BEGIN [A-Z ]*PRIVATE KEY"
    )
    assert [str(path) for path, text in texts.items() if host.search(text)] == []


# --- Network ----------------------------------------------------------------------------------------------------


def test_each_zone_has_a_public_a_private_and_a_data_subnet(plan: Planned) -> None:
    for kind in ("public", "private", "data"):
        zones = {subnet["availability_zone"] for subnet in plan.all("aws_subnet", kind).values()}
        assert zones == {"eu-central-1a", "eu-central-1b", "eu-central-1c"}
    blocks = [subnet["cidr_block"] for subnet in plan.all("aws_subnet").values()]
    assert len(set(blocks)) == 9
    assert not any(subnet["map_public_ip_on_launch"] for subnet in plan.all("aws_subnet").values())


def test_data_subnets_have_no_way_out(plan: Planned) -> None:
    ways = {address.split("[")[0] for address in plan.all("aws_route")}
    assert ways == {"module.networking.aws_route.internet", "module.networking.aws_route.nat"}
    for route in ("internet", "nat"):
        table = plan.expressions("aws_route", route)["route_table_id"]["references"]
        assert not any("aws_route_table.data" in each for each in table)


def test_only_the_load_balancer_is_open_to_the_world(plan: Planned) -> None:
    rules = plan.all("aws_vpc_security_group_ingress_rule")
    open_rules = {address: rule for address, rule in rules.items() if rule["cidr_ipv4"] == "0.0.0.0/0"}
    assert {rule["from_port"] for rule in open_rules.values()} == {80, 443}
    assert all(".public[" in address for address in open_rules)
    assert all(rule["ip_protocol"] == "tcp" for rule in rules.values())


def test_what_may_come_in_may_go_out_on_the_other_side(plan: Planned) -> None:
    def inside(direction: str) -> dict[str, tuple[int, int]]:
        rules = plan.all(f"aws_vpc_security_group_{direction}_rule", "inside")
        return {address.split("[")[1]: (rule["from_port"], rule["to_port"]) for address, rule in rules.items()}

    assert inside("ingress") == inside("egress")
    assert inside("ingress")['"web_to_cluster_ray_head"]'] == (6379, 6379)
    assert set(inside("ingress")) >= {'"cluster_to_database"]', '"web_to_cache"]', '"cluster_to_web_ray_members"]'}


def test_only_web_tasks_send_mail(plan: Planned) -> None:
    rules = plan.all("aws_vpc_security_group_egress_rule", "outside")
    ways = {address.split('"')[1]: rule["from_port"] for address, rule in rules.items()}
    assert ways == {"web_443": 443, "web_465": 465, "web_587": 587, "cluster_443": 443}


def test_rays_ports_are_those_that_its_nodes_are_started_with(plan: Planned) -> None:
    named = [int(port.rpartition("=")[2]) for port in FIXED_PORTS]
    rule = plan.all("aws_vpc_security_group_ingress_rule", "inside")
    members = next(each for address, each in rule.items() if "web_to_cluster_ray_members" in address)
    assert all(members["from_port"] <= port <= members["to_port"] for port in named)
    assert HEAD_PORT == 6379 and len(named) >= 8


# --- Database, cache, storage -----------------------------------------------------------------------------------


def test_the_database_is_private_encrypted_and_kept(plan: Planned) -> None:
    database = plan.one("aws_db_instance")
    assert int(database["engine_version"].split(".")[0]) >= 16 and database["engine"] == "postgres"
    assert database["storage_encrypted"] and not database["publicly_accessible"]
    assert database["backup_retention_period"] >= 7 and not database["skip_final_snapshot"]
    assert database["deletion_protection"] and database["multi_az"] and not database["delete_automated_backups"]
    assert database["performance_insights_enabled"] and database["copy_tags_to_snapshot"]
    assert set(database["enabled_cloudwatch_logs_exports"]) == {"postgresql", "upgrade"}
    assert database["max_allocated_storage"] > database["allocated_storage"]


def test_the_databases_parameters_ask_for_tls_and_log_no_values(plan: Planned) -> None:
    group = plan.one("aws_db_parameter_group")
    values = {each["name"]: each["value"] for each in group["parameter"]}
    assert group["family"] == "postgres17"
    assert values["rds.force_ssl"] == "1" and values["max_connections"] == "400"
    assert values["log_parameter_max_length"] == values["log_parameter_max_length_on_error"] == "0"


def test_no_secret_is_in_the_plan(plan: Planned) -> None:
    database = plan.one("aws_db_instance")
    assert database["password"] is None and database["password_wo"] is None and database["password_wo_version"] == 1
    assert not database["manage_master_user_password"]  # it rotates under running tasks
    versions = plan.all("aws_secretsmanager_secret_version").values()
    assert len(versions) == 4
    assert all(each["secret_string"] is None and each["secret_string_wo"] is None for each in versions)
    users = plan.all("aws_elasticache_user").values()
    assert all(not user["passwords"] for user in users)


def test_redis_takes_tls_and_iam_alone(plan: Planned) -> None:
    group = plan.one("aws_elasticache_replication_group")
    assert group["transit_encryption_enabled"] and group["transit_encryption_mode"] == "required"
    assert group["at_rest_encryption_enabled"] in (True, "true") and group["auth_token"] is None
    assert group["automatic_failover_enabled"] and group["multi_az_enabled"] and group["num_cache_clusters"] == 2
    application = plan.one("aws_elasticache_user", "application")
    assert application["authentication_mode"][0]["type"] == "iam"
    assert application["user_id"] == application["user_name"] == "rillbook-production"
    assert plan.one("aws_elasticache_user", "default")["access_string"].startswith("off ")


def test_the_bucket_is_private_versioned_and_encrypted(plan: Planned) -> None:
    block = plan.one("aws_s3_bucket_public_access_block")
    names = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    assert all(block[name] for name in names)
    assert plan.one("aws_s3_bucket_versioning")["versioning_configuration"][0]["status"] == "Enabled"
    rule = plan.one("aws_s3_bucket_server_side_encryption_configuration")["rule"][0]
    assert rule["apply_server_side_encryption_by_default"][0]["sse_algorithm"] == "aws:kms"
    assert plan.one("aws_s3_bucket_ownership_controls")["rule"][0]["object_ownership"] == "BucketOwnerEnforced"
    assert not plan.one("aws_s3_bucket")["force_destroy"]


def test_outputs_in_use_never_expire(plan: Planned) -> None:
    rules = plan.one("aws_s3_bucket_lifecycle_configuration")["rule"]
    expirations = [each for rule in rules for each in rule["expiration"]]
    assert all(each["expired_object_delete_marker"] and not each["days"] for each in expirations)
    assert any(rule["noncurrent_version_expiration"] for rule in rules)
    assert any(rule["abort_incomplete_multipart_upload"] for rule in rules)


def test_only_the_page_reads_outputs_by_script(plan: Planned) -> None:
    rule = plan.one("aws_s3_bucket_cors_configuration")["cors_rule"][0]
    assert rule["allowed_origins"] == ["https://notebooks.example.com"] and rule["allowed_methods"] == ["GET"]


def test_images_are_scanned_and_their_tags_never_move(plan: Planned) -> None:
    repository = plan.one("aws_ecr_repository")
    assert repository["image_tag_mutability"] == "IMMUTABLE"
    assert repository["image_scanning_configuration"][0]["scan_on_push"]


def test_what_head_and_nodes_run_is_counted_among_itself_and_spared_from_the_rest(plan: Planned) -> None:
    """The rule of the smaller number decides about what it names; it must not keep fewer (modules/storage)."""
    of_kernels, of_all = json.loads(plan.one("aws_ecr_lifecycle_policy")["policy"])["rules"]
    assert (of_kernels["rulePriority"], of_all["rulePriority"]) == (1, 2)
    chosen, rest = of_kernels["selection"], of_all["selection"]
    assert (chosen["tagStatus"], chosen["tagPrefixList"], rest["tagStatus"]) == ("tagged", ["kernels-"], "any")
    assert chosen["countNumber"] == rest["countNumber"] == 20


def test_changes_of_database_and_cache_wait_for_the_window_unless_asked(plan: Planned, moving: Planned) -> None:
    for kind in ("aws_db_instance", "aws_elasticache_replication_group"):
        assert (plan.one(kind)["apply_immediately"], moving.one(kind)["apply_immediately"]) == (False, True)


# --- Web --------------------------------------------------------------------------------------------------------


def test_the_load_balancer_asks_ready_and_keeps_sockets_open(plan: Planned) -> None:
    balancer, group = plan.one("aws_lb"), plan.one("aws_lb_target_group")
    assert not balancer["internal"] and balancer["drop_invalid_header_fields"]
    assert balancer["idle_timeout"] >= 60 and balancer["enable_deletion_protection"]
    assert group["health_check"][0]["path"] == "/ready" and group["health_check"][0]["matcher"] == "200"
    assert not group["stickiness"][0]["enabled"]


def test_plain_http_is_redirected_and_metrics_stay_inside(plan: Planned) -> None:
    redirect = plan.one("aws_lb_listener", "http")["default_action"][0]["redirect"][0]
    assert (redirect["protocol"], redirect["status_code"]) == ("HTTPS", "HTTP_301")
    https = plan.one("aws_lb_listener", "https")
    assert https["protocol"] == "HTTPS" and "TLS13" in https["ssl_policy"]
    rule = plan.one("aws_lb_listener_rule", "metrics")
    assert rule["condition"][0]["path_pattern"][0]["values"] == ["/metrics"]
    assert rule["action"][0]["fixed_response"][0]["status_code"] == "404"


def test_a_deploy_keeps_all_tasks_until_new_ones_are_ready_and_rolls_back(plan: Planned) -> None:
    service = plan.one("aws_ecs_service", "web")
    assert service["deployment_minimum_healthy_percent"] == 100
    assert service["deployment_circuit_breaker"][0] == {"enable": True, "rollback": True}
    assert service["desired_count"] == 2 and not service["network_configuration"][0]["assign_public_ip"]
    head = plan.one("aws_ecs_service", "head")
    assert head["deployment_maximum_percent"] == 100 and head["desired_count"] == 1


def test_whoever_is_told_to_end_gets_more_time_than_it_needs() -> None:
    """A server that ends takes 28 s at most (scaling.md); then comes SIGKILL."""
    given = [
        *re.findall(r"stopTimeout += (\d+)", (SOURCE / "modules/compute/main.tf").read_text("utf-8")),
        *re.findall(r"stopTimeout += (\d+)", (SOURCE / "modules/kernels/main.tf").read_text("utf-8")),
        *re.findall(r"docker stop --time (\d+)", (SOURCE / "modules/kernels/node.sh.tftpl").read_text("utf-8")),
    ]
    assert len(given) == 4 and min(map(int, given)) >= 60


def test_web_tasks_scale_between_the_bounds(plan: Planned) -> None:
    target = plan.one("aws_appautoscaling_target")
    assert (target["min_capacity"], target["max_capacity"]) == (2, 6)
    assert len(plan.all("aws_appautoscaling_policy")) == 2


def test_nodes_are_never_ended_by_scaling(plan: Planned) -> None:
    group, busy = plan.one("aws_autoscaling_group"), plan.one("aws_autoscaling_policy", "nodes")
    assert group["protect_from_scale_in"] and (group["min_size"], group["max_size"]) == (2, 6)
    assert busy["target_tracking_configuration"][0]["disable_scale_in"]
    assert all(step["scaling_adjustment"] > 0 for step in plan.one("aws_autoscaling_policy", "full")["step_adjustment"])


def test_a_full_cluster_grows_though_its_kernels_are_idle(plan: Planned) -> None:
    """Places run out by what notebooks reserve, long before processors are busy."""
    full = plan.one("aws_autoscaling_policy", "full")
    assert (full["policy_type"], full["adjustment_type"]) == ("StepScaling", "ChangeInCapacity")
    assert full["estimated_instance_warmup"] >= 180  # what is on its way counts before more is asked for
    steps = {step["metric_interval_lower_bound"]: step["scaling_adjustment"] for step in full["step_adjustment"]}
    assert steps == {"0": 1, "20": 2}
    alarm = plan.all("aws_cloudwatch_metric_alarm")[
        'module.monitoring.aws_cloudwatch_metric_alarm.this["cluster-full"]'
    ]
    assert (alarm["metric_name"], alarm["namespace"]) == ("cluster-full", "Rillbook/rillbook-production")
    assert (alarm["period"], alarm["threshold"], alarm["statistic"]) == (60, 0, "Sum")


def test_an_apply_changes_nothing_of_nodes_that_scaling_adds(plan: Planned) -> None:
    """They follow the launch template's default version, which a release moves: no new code meets an old schema."""
    assert plan.one("aws_autoscaling_group")["launch_template"][0]["version"] == "$Default"
    assert not plan.one("aws_launch_template").get("update_default_version")


def test_a_kernel_cannot_take_its_nodes_role(plan: Planned) -> None:
    template = plan.one("aws_launch_template")
    options = template["metadata_options"][0]
    assert options["http_tokens"] == "required" and options["http_put_response_hop_limit"] == 1
    assert template["block_device_mappings"][0]["ebs"][0]["encrypted"] == "true"


# --- Settings ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def settings_read() -> set[str]:
    """The names that the settings ask the environment for."""
    program = (
        "import os\n"
        "class Watched(dict):\n"
        "    def get(self, name, default=None): asked.add(name); return dict.get(self, name, default)\n"
        "    def __contains__(self, name): asked.add(name); return dict.__contains__(self, name)\n"
        "asked = set()\n"
        "os.environ = Watched(os.environ)\n"
        "import notebook_project.settings\n"
        "print(' '.join(sorted(asked)))\n"
    )
    given = {
        "PATH": os.environ["PATH"], "RILLBOOK_MODE": "multi", "SECRET_KEY": secrets.token_urlsafe(48),
        "BEHIND_PROXY": "1", "CONNECTION_KEYS": "x",
        "DATABASE_URL": "postgresql://rillbook@db/rillbook", "REDIS_IAM_USER": "rillbook", "REDIS_IAM_CACHE": "c",
        "AWS_REGION": "eu-central-1", "REDIS_URL": "rediss://cache:6379/0", "OUTPUTS_BUCKET": "outputs",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=given, capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def given(plan_json: dict[str, Any]) -> dict[str, list[str]]:
    return plan_json["planned_values"]["outputs"]["names_of_settings"]["value"]


@pytest.mark.parametrize("place", ["web", "nodes", "secrets"])
def test_tasks_are_given_settings_that_exist(place: str, given: dict[str, list[str]], settings_read: set[str]) -> None:
    names = [name for name in given[place] if not OTHERS.match(name)]
    assert len(names) >= 4 and set(names) - settings_read == set()


EXTRA = {
    "extra_settings": '{KERNEL_IDLE_SECONDS = "900", OIDC_ISSUER = "https://id.example.com"}',
    "extra_secrets": json.dumps({
        name: f"arn:aws:secretsmanager:eu-central-1:123456789012:secret:{name}"
        for name in ("EMAIL_URL", "OIDC_CLIENT_SECRET", "METRICS_TOKEN", "SECRET_KEY_FALLBACKS")
    }),
}  # fmt: skip


def test_every_other_setting_can_be_given_and_secrets_only_to_who_needs_them(workspace: Terraform) -> None:
    found = workspace.plan(*(f"-var={name}={value}" for name, value in EXTRA.items()))
    names = found["planned_values"]["outputs"]["names_of_settings"]["value"]
    assert {"KERNEL_IDLE_SECONDS", "OIDC_ISSUER"} <= set(names["web"])
    # Half of a provider, without its secret, would keep a node from starting.
    assert "KERNEL_IDLE_SECONDS" in names["nodes"] and "OIDC_ISSUER" not in names["nodes"]
    web, nodes = set(names["secrets"]), set(names["secrets_of_nodes"])
    assert web - nodes == {"EMAIL_URL", "OIDC_CLIENT_SECRET", "METRICS_TOKEN"} and "SECRET_KEY_FALLBACKS" in nodes


# Old tables to read, files to exchange, and where Ray's head keeps its own tables.
OFF_BY_DEFAULT = {
    "extra_settings": '{RAY_REDIS_ADDRESS = "tables.example.com:6379", KERNEL_IDLE_SECONDS = "900"}',
    "extra_secrets": '{RAY_REDIS_PASSWORD = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:tables"}',
    "import_tables": '["arn:aws:dynamodb:eu-central-1:123456789012:table/notebooks"]',
    "exchange_bucket": "exchange",
    "apply_immediately": "true",
}  # fmt: skip


@pytest.fixture(scope="module")
def moving(workspace: Terraform) -> Planned:
    """A plan with everything that is off by default."""
    return Planned(workspace.plan(*(f"-var={name}={value}" for name, value in OFF_BY_DEFAULT.items())))


def test_rays_head_alone_is_told_where_it_keeps_its_tables(moving: Planned) -> None:
    names = moving.json["planned_values"]["outputs"]["names_of_settings"]["value"]
    assert set(names["head"]) == {"RAY_REDIS_ADDRESS", "RAY_REDIS_PASSWORD"}
    others = {name for place in ("web", "nodes", "secrets", "secrets_of_nodes") for name in names[place]}
    assert "KERNEL_IDLE_SECONDS" in others and not {name for name in others if name.startswith("RAY_REDIS_")}


def test_tasks_are_given_what_multi_mode_needs(given: dict[str, list[str]]) -> None:
    assert {"SECRET_KEY", "CONNECTION_KEYS", "DATABASE_URL", "DATABASE_PASSWORD", "RAY_AUTH_TOKEN"} <= set(
        given["secrets"]
    )
    assert {"RILLBOOK_MODE", "ALLOWED_HOSTS", "BEHIND_PROXY", "REDIS_URL", "OUTPUTS_BUCKET"} <= set(given["web"])
    assert {"KERNEL_HOST", "RAY_ADDRESS", "RAY_AUTH_MODE"} <= set(given["web"]) & set(given["nodes"])
    assert not set(given["web"]) & set(given["secrets"])


# --- Rights -----------------------------------------------------------------------------------------------------


def documents(plan: Planned) -> list[dict[str, Any]]:
    return [each["expressions"] for path in ("root_module",) for each in data_of(plan.json["configuration"][path])]


def data_of(module: dict[str, Any]) -> list[dict[str, Any]]:
    own = [each for each in module.get("resources", []) if each["type"] == "aws_iam_policy_document"]
    for call in module.get("module_calls", {}).values():
        own += data_of(call["module"])
    return own


def test_no_statement_names_every_resource_without_need(plan: Planned) -> None:
    statements = [each for document in documents(plan) for each in document.get("statement", [])]
    assert len(statements) > 20
    wide = [each for each in statements if each.get("resources", {}).get("constant_value") == ["*"]]
    assert {each["sid"]["constant_value"] for each in wide} <= WILDCARDS


def statement(plan: Planned, sid: str) -> dict[str, Any]:
    """The one statement of this name about the key, or the first of several that are alike."""
    found = [each for document in documents(plan) for each in document.get("statement", [])]
    named = [each for each in found if each.get("sid", {}).get("constant_value") == sid]
    return next(each for each in named if any("kms:" in action for action in each["actions"]["constant_value"]))


def conditions(plan: Planned, sid: str) -> list[str]:
    return [each["variable"]["constant_value"] for each in statement(plan, sid).get("condition", [])]


def test_the_key_is_used_by_those_who_need_it_and_for_what_they_need_it(plan: Planned) -> None:
    assert conditions(plan, "OutputKey") == ["kms:ViaService"] and conditions(plan, "SecretsKey") == ["kms:ViaService"]
    assert conditions(plan, "NodeDiskGrants") == ["kms:GrantIsForAWSResource"]
    assert "kms:CreateGrant" not in statement(plan, "NodeDisks")["actions"]["constant_value"]
    assert conditions(plan, "Logs") == ["kms:EncryptionContext:aws:logs:arn"]


def test_no_command_reads_tables_or_another_bucket_unless_it_is_said(plan: Planned) -> None:
    assert plan.all("aws_iam_role_policy", "import") == plan.all("aws_iam_role_policy", "exchange") == {}


def test_a_command_may_read_the_tables_named_and_use_the_bucket_named(moving: Planned) -> None:
    tables = json.loads(moving.one("aws_iam_role_policy", "import")["policy"])["Statement"]
    assert [(set(each["Action"]), each["Resource"]) for each in tables] == [
        (
            {"dynamodb:DescribeTable", "dynamodb:Scan", "dynamodb:Query"},
            "arn:aws:dynamodb:eu-central-1:123456789012:table/notebooks",
        )
    ]
    bucket = json.loads(moving.one("aws_iam_role_policy", "exchange")["policy"])["Statement"]
    assert {each["Resource"]: each["Action"] for each in bucket} == {
        "arn:aws:s3:::exchange": "s3:ListBucket",
        "arn:aws:s3:::exchange/*": ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"],
    }
    for name in ("import", "exchange"):  # web tasks, which people's requests reach, may not
        role = moving.expressions("aws_iam_role_policy", name)["role"]["references"]
        assert "aws_iam_role.manage" in role
    definition = moving.expressions("aws_ecs_task_definition", "manage")
    assert "aws_iam_role.manage" in definition["task_role_arn"]["references"]
    assert moving.one("aws_ecs_task_definition", "manage")["ephemeral_storage"] == [{"size_in_gib": 100}]


def test_no_role_may_do_everything_of_a_service(plan: Planned) -> None:
    for document in documents(plan):
        for statement in document.get("statement", []):
            sid = statement.get("sid", {}).get("constant_value", "")
            wide = [
                action for action in statement.get("actions", {}).get("constant_value", []) if action.endswith(":*")
            ]
            assert not wide or sid in ("Administration", "TlsOnly"), sid


# --- Watching ---------------------------------------------------------------------------------------------------


def test_each_thing_worth_waking_for_has_an_alarm(plan: Planned) -> None:
    alarms = {re.split(r'"', address)[1]: alarm for address, alarm in plan.all("aws_cloudwatch_metric_alarm").items()}
    assert set(alarms) >= {
        "database-cpu", "database-connections", "database-storage", "database-memory", "http-5xx", "balancer-5xx",
        "latency", "queue", "kernel-deaths", "unhealthy-targets", "node-count", "head", "outputs-kept",
    }  # fmt: skip
    assert alarms["database-connections"]["threshold"] == 320
    assert alarms["latency"]["extended_statistic"] == "p95"
    assert {alarm["treat_missing_data"] for alarm in alarms.values()} == {"notBreaching", "breaching"}


def test_alarms_and_budget_reach_people(plan: Planned) -> None:
    assert plan.one("aws_sns_topic_subscription")["endpoint"] == "operations@example.com"
    budget = plan.one("aws_budgets_budget")
    assert budget["limit_amount"] == "1500" and {each["notification_type"] for each in budget["notification"]} == {
        "ACTUAL",
        "FORECASTED",
    }


def test_each_alarm_is_explained_to_operators_and_none_besides(plan: Planned) -> None:
    page = (SOURCE.parent / "docs" / "operations.md").read_text(encoding="utf-8")
    table = page.split("\n## Alarms\n")[1].split("\n## ")[0]
    explained = re.findall(r"^\| `([a-z0-9-]+)` \| .+ \| .+ \|$", table, re.MULTILINE)
    names = {re.split(r'"', address)[1] for address in plan.all("aws_cloudwatch_metric_alarm")}
    assert sorted(explained) == sorted({re.sub(r"^(cache-[a-z]+)-.*", r"\1", name) for name in names})


@pytest.mark.parametrize(
    ("metric", "source", "words"),
    [
        ("kernel-deaths", "kernels_app/runtime.py", '"the kernel of notebook %s died'),
        ("saves-failed", "kernels_app/saver.py", '"outputs of %s notebooks could not be saved'),
    ],
)
def test_log_filters_look_for_words_that_are_logged(plan: Planned, metric: str, source: str, words: str) -> None:
    text = (ROOT / source).read_text(encoding="utf-8")
    assert words in text and f'getLogger("rillbook.{Path(source).stem}")' in text
    pattern = plan.all("aws_cloudwatch_log_metric_filter")[
        f'module.monitoring.aws_cloudwatch_log_metric_filter.this["{metric}-web"]'
    ]
    assert f'"rillbook.{Path(source).stem}"' in pattern["pattern"]
    wanted = re.search(r'message = "(.+?)"', pattern["pattern"])
    said = words.strip('"').replace("%s", "4") + ": why"
    assert wanted is not None and re.fullmatch(wanted[1].replace("*", ".*"), said)


def test_a_full_cluster_is_heard_of_whichever_process_says_it(plan: Planned) -> None:
    said = "the cluster is full: no node has room for notebook"
    assert f'log.warning("{said}' in (ROOT / "kernels_app/hosts/ray.py").read_text(encoding="utf-8")
    for group in ("web", "kernels"):
        address = f'module.monitoring.aws_cloudwatch_log_metric_filter.this["cluster-full-{group}"]'
        pattern = plan.all("aws_cloudwatch_log_metric_filter")[address]["pattern"]
        wanted = dict(re.findall(r'\$\.(\w+) = "(.+?)"', pattern))
        assert re.fullmatch(wanted["logger"].replace("*", ".*"), "rillbook.ray")
        assert re.fullmatch(wanted["message"].replace("*", ".*"), f"{said} 7")


def test_every_log_group_is_kept_for_a_while_and_encrypted(plan: Planned) -> None:
    groups = plan.all("aws_cloudwatch_log_group")
    names = {"web", "kernels", "vpc-flow"}
    rds = {f"/aws/rds/instance/rillbook-production/{name}" for name in ("postgresql", "upgrade")}
    assert {group["name"] for group in groups.values()} == {f"/rillbook-production/{name}" for name in names} | rds
    assert {group["retention_in_days"] for group in groups.values()} == {30}
    for name in ("web", "this", "flow"):
        assert plan.expressions("aws_cloudwatch_log_group", name)["kms_key_id"]["references"] == ["var.kms_key_arn"]
    # RDS makes groups without an end where there are none yet.
    exported = plan.expressions("aws_db_instance", "this")["enabled_cloudwatch_logs_exports"]["references"]
    assert "aws_cloudwatch_log_group.this" in exported


def test_everything_is_tagged(plan: Planned) -> None:
    values = [each.get("values", {}) for each in plan.resources]
    tagged = [each for each in values if each.get("tags_all") is not None]
    assert len(tagged) > 60
    assert all({"Project", "Environment", "ManagedBy"} <= set(each["tags_all"]) for each in tagged)


def test_the_example_holds_no_secret_and_names_real_variables() -> None:
    names = re.findall(r"^(\w+) *=", (SOURCE / "production.tfvars.example").read_text("utf-8"), re.MULTILINE)
    declared = re.findall(r'variable "(\w+)"', (SOURCE / "variables.tf").read_text("utf-8"))
    assert set(names) <= set(declared)
    required = {
        each.split('"')[0]
        for each in (SOURCE / "variables.tf").read_text("utf-8").split('variable "')[1:]
        if "default" not in re.sub(r"description.*", "", each)
    }
    assert required <= set(names)
    assert not json.dumps(names).lower().count("password")

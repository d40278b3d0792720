# Where notebooks run: Ray's head, an ECS task that runs no kernel, and nodes, EC2 instances that run kernels.
#
# Why EC2 and plain Docker: bubblewrap isolates each kernel by unprivileged user namespaces and a /proc of its own. Fargate
# allows neither, and ECS on EC2 cannot say seccomp or systempaths of a container short of making it privileged. Plain
# Docker on the instance can: everything dropped, nothing privileged, only those two walls of Docker's open, so that
# bubblewrap can build its own inside.

locals {
  head_name        = "head"
  ray_port         = 6379
  ray_address      = "${local.head_name}.${aws_service_discovery_private_dns_namespace.this.name}:${local.ray_port}"
  head_environment = merge(var.head_environment, { RAY_AUTH_MODE = "token" })
  head_secrets     = merge(var.head_secrets, { RAY_AUTH_TOKEN = var.secrets["RAY_AUTH_TOKEN"] })
  secret_names     = { for name, arn in var.secrets : name => arn if name != "DATABASE_URL" }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}/kernels"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

# --- Head -------------------------------------------------------------------------------------------------------

resource "aws_service_discovery_private_dns_namespace" "this" {
  name        = "${var.name}.internal"
  description = "Names of the Ray cluster"
  vpc         = var.vpc_id
}

resource "aws_service_discovery_service" "head" {
  name = local.head_name

  dns_config {
    namespace_id   = aws_service_discovery_private_dns_namespace.this.id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = 10
    }
  }

  # ECS says when the task is well.
  health_check_custom_config {
    failure_threshold = 1
  }
}

resource "aws_ecs_task_definition" "head" {
  family                   = "${var.name}-head"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.head_cpu
  memory                   = var.head_memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.head.arn
  skip_destroy             = true

  container_definitions = jsonencode([{
    name        = "rillbook"
    image       = var.image
    essential   = true
    command     = ["head"]
    stopTimeout = 60
    environment = [for name in sort(keys(local.head_environment)) : { name = name, value = local.head_environment[name] }]
    secrets     = [for name in sort(keys(local.head_secrets)) : { name = name, valueFrom = local.head_secrets[name] }]
    linuxParameters = {
      capabilities = { drop = ["ALL"] }
    }
    # A connection for each process of the cluster.
    ulimits      = [{ name = "nofile", softLimit = 65536, hardLimit = 65536 }]
    portMappings = [{ containerPort = local.ray_port, protocol = "tcp" }]
    healthCheck = {
      command     = ["CMD", "python", "/app/deploy/health.py", "--port", tostring(local.ray_port)]
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = 30
    }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = var.region
        awslogs-stream-prefix = "head"
      }
    }
  }])

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }
}

# One head, never two at a time: the new one starts after the old one has ended. Running kernels end with it.
resource "aws_ecs_service" "head" {
  name            = "head"
  cluster         = var.ecs_cluster_id
  task_definition = aws_ecs_task_definition.head.arn
  launch_type     = "FARGATE"
  desired_count   = 1
  propagate_tags  = "SERVICE"

  deployment_minimum_healthy_percent = 0
  deployment_maximum_percent         = 100

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets         = var.subnet_ids
    security_groups = [var.security_group_id]
  }

  service_registries {
    registry_arn = aws_service_discovery_service.head.arn
  }

  lifecycle {
    ignore_changes = [task_definition]
  }
}

# --- Nodes ------------------------------------------------------------------------------------------------------

# An apply makes a new version; deploy/release.py --kernels makes it the default, which new nodes follow. So a node that
# scaling adds between an apply and its release, or after a release that left the cluster alone, is as the others are.
resource "aws_launch_template" "node" {
  name                   = "${var.name}-node"
  image_id               = "resolve:ssm:${var.ami_parameter}"
  instance_type          = var.instance_type
  vpc_security_group_ids = [var.security_group_id]

  user_data = base64encode(templatefile("${path.module}/node.sh.tftpl", {
    region        = var.region
    image         = var.image
    registry      = split("/", var.image)[0]
    log_group     = aws_cloudwatch_log_group.this.name
    environment   = var.environment
    secrets       = local.secret_names
    url_parameter = var.secrets["DATABASE_URL"]
  }))

  iam_instance_profile {
    arn = aws_iam_instance_profile.node.arn
  }

  # No further than the instance itself: a container with a network of its own cannot take the node's role.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_type           = "gp3"
      volume_size           = var.disk_gib
      encrypted             = true
      kms_key_id            = var.kms_key_arn
      delete_on_termination = true
    }
  }

  monitoring {
    enabled = true
  }

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "${var.name}-node" }
  }
}

resource "aws_autoscaling_group" "nodes" {
  name                      = "${var.name}-nodes"
  vpc_zone_identifier       = var.subnet_ids
  min_size                  = var.min_nodes
  max_size                  = var.max_nodes
  service_linked_role_arn   = var.autoscaling_role_arn
  health_check_type         = "EC2"
  health_check_grace_period = 300
  wait_for_capacity_timeout = "0"
  # A node with kernels on it goes only when an operator says so.
  protect_from_scale_in = true
  enabled_metrics       = ["GroupInServiceInstances", "GroupDesiredCapacity"]

  launch_template {
    id      = aws_launch_template.node.id
    version = "$Default"
  }

  tag {
    key                 = "Name"
    value               = "${var.name}-node"
    propagate_at_launch = true
  }

  lifecycle {
    ignore_changes = [desired_capacity]
  }
}

# Two reasons to add nodes; whichever asks for more is followed. None takes any. Busy nodes:
resource "aws_autoscaling_policy" "nodes" {
  name                      = "cpu"
  autoscaling_group_name    = aws_autoscaling_group.nodes.name
  policy_type               = "TargetTrackingScaling"
  estimated_instance_warmup = 180

  target_tracking_configuration {
    target_value     = 60
    disable_scale_in = true

    predefined_metric_specification {
      predefined_metric_type = "ASGAverageCPUUtilization"
    }
  }
}

# Full nodes: idle kernels reserve a place and use no processor. The alarm cluster-full (modules/monitoring) sets it off by
# how many notebooks were told so in a minute. Until what was added has had time to join, more of the same adds nothing.
resource "aws_autoscaling_policy" "full" {
  name                      = "full"
  autoscaling_group_name    = aws_autoscaling_group.nodes.name
  policy_type               = "StepScaling"
  adjustment_type           = "ChangeInCapacity"
  metric_aggregation_type   = "Maximum"
  estimated_instance_warmup = 300

  step_adjustment {
    metric_interval_lower_bound = 0
    metric_interval_upper_bound = 20
    scaling_adjustment          = 1
  }

  step_adjustment {
    metric_interval_lower_bound = 20
    scaling_adjustment          = 2
  }
}

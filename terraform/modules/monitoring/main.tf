# Alarms, their topic, and the budget. What to do for each alarm: docs/operations.md.

locals {
  mib = 1024 * 1024
  gib = 1024 * local.mib

  database = { DBInstanceIdentifier = var.database_id }
  service  = { ClusterName = var.cluster_name, ServiceName = var.service_name }
  balancer = { LoadBalancer = var.load_balancer }
  targets  = merge(local.balancer, { TargetGroup = var.target_group })
  nodes    = { AutoScalingGroupName = var.node_group_name }

  # name => what is measured, when it is too much, and what that sets off where it is not a mail. Missing data is
  # "notBreaching" unless said otherwise.
  alarms = merge(
    {
      database-cpu         = { namespace = "AWS/RDS", metric = "CPUUtilization", dimensions = local.database, above = 80, minutes = 15, text = "PostgreSQL is busy" }
      database-connections = { namespace = "AWS/RDS", metric = "DatabaseConnections", dimensions = local.database, above = floor(var.max_connections * 0.8), minutes = 5, text = "Four fifths of PostgreSQL's connections are taken" }
      database-storage     = { namespace = "AWS/RDS", metric = "FreeStorageSpace", dimensions = local.database, below = var.database_storage_gib * local.gib / 10, minutes = 15, statistic = "Minimum", text = "A tenth of PostgreSQL's disk is free" }
      database-memory      = { namespace = "AWS/RDS", metric = "FreeableMemory", dimensions = local.database, below = 256 * local.mib, minutes = 15, statistic = "Minimum", text = "PostgreSQL is short of memory" }
      database-queue       = { namespace = "AWS/RDS", metric = "DiskQueueDepth", dimensions = local.database, above = 20, minutes = 15, text = "PostgreSQL waits for its disk" }

      http-5xx          = { namespace = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", dimensions = local.balancer, above = 20, minutes = 5, statistic = "Sum", text = "Web tasks answer 5xx" }
      balancer-5xx      = { namespace = "AWS/ApplicationELB", metric = "HTTPCode_ELB_5XX_Count", dimensions = local.balancer, above = 20, minutes = 5, statistic = "Sum", text = "No web task answers" }
      latency           = { namespace = "AWS/ApplicationELB", metric = "TargetResponseTime", dimensions = local.balancer, above = var.latency_seconds, minutes = 15, percentile = "p95", text = "One request in twenty is slow" }
      unhealthy-targets = { namespace = "AWS/ApplicationELB", metric = "UnHealthyHostCount", dimensions = local.targets, above = 0, minutes = 5, statistic = "Maximum", text = "A web task is not ready" }

      web-cpu    = { namespace = "AWS/ECS", metric = "CPUUtilization", dimensions = local.service, above = 85, minutes = 15, text = "Web tasks are busy although scaled" }
      web-memory = { namespace = "AWS/ECS", metric = "MemoryUtilization", dimensions = local.service, above = 90, minutes = 15, text = "Web tasks are short of memory" }
      web-tasks  = { namespace = "ECS/ContainerInsights", metric = "RunningTaskCount", dimensions = local.service, below = var.min_tasks, minutes = 5, statistic = "Minimum", missing = "breaching", text = "Web tasks are missing" }
      head       = { namespace = "ECS/ContainerInsights", metric = "RunningTaskCount", dimensions = { ClusterName = var.cluster_name, ServiceName = "head" }, below = 1, minutes = 3, statistic = "Minimum", missing = "breaching", text = "Ray's head is missing: no kernel can start" }

      node-cpu    = { namespace = "AWS/EC2", metric = "CPUUtilization", dimensions = local.nodes, above = 85, minutes = 15, text = "Nodes are busy although scaled" }
      node-count  = { namespace = "AWS/AutoScaling", metric = "GroupInServiceInstances", dimensions = local.nodes, below = var.min_nodes, minutes = 10, statistic = "Minimum", missing = "breaching", text = "Nodes are missing" }
      node-status = { namespace = "AWS/EC2", metric = "StatusCheckFailed", dimensions = local.nodes, above = 0, minutes = 5, statistic = "Maximum", text = "A node fails AWS's checks" }

      kernel-deaths = { namespace = local.log_namespace, metric = "kernel-deaths", dimensions = {}, above = 10, minutes = 15, statistic = "Sum", text = "Kernels die" }
      cluster-full  = { namespace = local.log_namespace, metric = "cluster-full", dimensions = {}, above = 0, minutes = 1, statistic = "Sum", action = var.full_policy_arn, text = "The cluster is full: nodes are added" }
      queue         = { namespace = local.log_namespace, metric = "cluster-full", dimensions = {}, above = 0, minutes = 5, statistic = "Sum", text = "Notebooks wait for a place: the cluster is full" }
      outputs-kept  = { namespace = local.log_namespace, metric = "saves-failed", dimensions = {}, above = 5, minutes = 5, statistic = "Sum", text = "Outputs can not be saved; kernels wait" }
    },
    { for id in var.cache_member_ids : "cache-cpu-${id}" =>
      { namespace = "AWS/ElastiCache", metric = "EngineCPUUtilization", dimensions = { CacheClusterId = id }, above = 80, minutes = 15, text = "Redis is busy" }
    },
    { for id in var.cache_member_ids : "cache-memory-${id}" =>
      { namespace = "AWS/ElastiCache", metric = "DatabaseMemoryUsagePercentage", dimensions = { CacheClusterId = id }, above = 80, minutes = 15, text = "Redis is short of memory" }
    },
  )

  log_namespace = "Rillbook/${var.name}"
  # What the servers' logs (JSON) say, whichever process it was. tests/terraform holds these words against the code.
  log_patterns = {
    kernel-deaths = "{ $.logger = \"rillbook.runtime\" && $.message = \"the kernel of notebook * died*\" }"
    cluster-full  = "{ $.logger = \"rillbook.*\" && $.message = \"*cluster is full*\" }"
    saves-failed  = "{ $.logger = \"rillbook.saver\" && $.message = \"outputs of * could not be saved*\" }"
  }
  log_filters = { for pair in setproduct(keys(local.log_patterns), keys(var.log_groups)) :
    "${pair[0]}-${pair[1]}" => { metric = pair[0], log_group = var.log_groups[pair[1]] }
  }
}

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.kms_key_arn
}

data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "Alarms"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

resource "aws_sns_topic_subscription" "email" {
  for_each = toset(var.alarm_emails)

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}

resource "aws_cloudwatch_log_metric_filter" "this" {
  for_each = local.log_filters

  name           = each.key
  log_group_name = each.value.log_group
  pattern        = local.log_patterns[each.value.metric]

  metric_transformation {
    namespace     = local.log_namespace
    name          = each.value.metric
    value         = "1"
    default_value = "0"
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.text
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  comparison_operator = can(each.value.above) ? "GreaterThanThreshold" : "LessThanThreshold"
  threshold           = try(each.value.above, each.value.below)
  statistic           = can(each.value.percentile) ? null : try(each.value.statistic, "Average")
  extended_statistic  = try(each.value.percentile, null)
  # Events are counted over the whole time; levels must stay for each minute of it.
  period             = try(each.value.statistic, "") == "Sum" ? each.value.minutes * 60 : 60
  evaluation_periods = try(each.value.statistic, "") == "Sum" ? 1 : each.value.minutes
  treat_missing_data = try(each.value.missing, "notBreaching")
  alarm_actions      = [try(each.value.action, aws_sns_topic.alarms.arn)]
  ok_actions         = can(each.value.action) ? [] : [aws_sns_topic.alarms.arn]
}

resource "aws_budgets_budget" "monthly" {
  name         = "${var.name}-monthly"
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.monthly_budget_usd)
  limit_unit   = "USD"

  dynamic "notification" {
    for_each = [["FORECASTED", 100], ["ACTUAL", 80], ["ACTUAL", 100]]

    content {
      comparison_operator        = "GREATER_THAN"
      notification_type          = notification.value[0]
      threshold                  = notification.value[1]
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = var.alarm_emails
    }
  }
}

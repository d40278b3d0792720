# Who may talk to whom, the key that encrypts everything at rest, and the secrets. Roles are made where they are used.

locals {
  web_port      = 8000
  postgres_port = 5432
  redis_port    = 6379
  # Ray's head listens on 6379; kernels_app/cluster.py keeps every other port of Ray in this range.
  ray_ports = { head = [6379, 6379], members = [10000, 10999] }

  groups = {
    alb      = "Load balancer"
    web      = "Web tasks"
    cluster  = "Ray's head and the nodes where kernels run"
    database = "PostgreSQL"
    cache    = "Redis"
  }
  # from, to, first port, last port
  ways = merge(
    {
      alb_to_web          = ["alb", "web", local.web_port, local.web_port]
      web_to_database     = ["web", "database", local.postgres_port, local.postgres_port]
      cluster_to_database = ["cluster", "database", local.postgres_port, local.postgres_port]
      web_to_cache        = ["web", "cache", local.redis_port, local.redis_port]
      cluster_to_cache    = ["cluster", "cache", local.redis_port, local.redis_port]
    },
    # Each member of a Ray cluster talks to each other; web tasks are members that run nothing.
    { for pair in setproduct(["web", "cluster"], ["web", "cluster"], keys(local.ray_ports)) :
      "${pair[0]}_to_${pair[1]}_ray_${pair[2]}" => concat([pair[0], pair[1]], local.ray_ports[pair[2]])
      if !(pair[1] == "web" && pair[2] == "head")
    },
  )
  # By TLS only: AWS's services and ECR; and from web tasks a provider of identities, and mail.
  ways_out = merge(
    { for pair in [["web", 443], ["web", 465], ["web", 587], ["cluster", 443]] : "${pair[0]}_${pair[1]}" =>
      { group = pair[0], cidr = "0.0.0.0/0", port = pair[1], description = pair[1] == 443 ? "AWS services" : "Mail" }
    },
    { for index, each in var.connection_egress : "connection_${index}" =>
      { group = "cluster", cidr = each.cidr, port = each.port, description = each.description }
    },
  )
}

resource "aws_security_group" "this" {
  for_each = local.groups

  name        = "${var.name}-${each.key}"
  description = each.value
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-${each.key}" }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "public" {
  for_each = { for pair in setproduct(var.ingress_cidrs, [80, 443]) : "${pair[0]}-${pair[1]}" => pair }

  security_group_id = aws_security_group.this["alb"].id
  description       = each.value[1] == 80 ? "HTTP, answered by a redirect" : "HTTPS"
  cidr_ipv4         = each.value[0]
  ip_protocol       = "tcp"
  from_port         = each.value[1]
  to_port           = each.value[1]
}

resource "aws_vpc_security_group_ingress_rule" "inside" {
  for_each = local.ways

  security_group_id            = aws_security_group.this[each.value[1]].id
  referenced_security_group_id = aws_security_group.this[each.value[0]].id
  description                  = "From ${each.value[0]}"
  ip_protocol                  = "tcp"
  from_port                    = each.value[2]
  to_port                      = each.value[3]
}

resource "aws_vpc_security_group_egress_rule" "inside" {
  for_each = local.ways

  security_group_id            = aws_security_group.this[each.value[0]].id
  referenced_security_group_id = aws_security_group.this[each.value[1]].id
  description                  = "To ${each.value[1]}"
  ip_protocol                  = "tcp"
  from_port                    = each.value[2]
  to_port                      = each.value[3]
}

resource "aws_vpc_security_group_egress_rule" "outside" {
  for_each = local.ways_out

  security_group_id = aws_security_group.this[each.value.group].id
  description       = each.value.description
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

# --- Key --------------------------------------------------------------------------------------------------------

data "aws_iam_policy_document" "key" {
  # In a key's policy "*" is that key.
  statement {
    sid       = "Administration"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${var.account_id}:root"]
    }
  }

  statement {
    sid       = "Logs"
    actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values = [
        "arn:aws:logs:${var.region}:${var.account_id}:log-group:/${var.name}/*",
        "arn:aws:logs:${var.region}:${var.account_id}:log-group:/aws/rds/instance/${var.name}/*",
      ]
    }
  }

  statement {
    sid       = "Alarms"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

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

  # The nodes' disks are made by this role of AWS's.
  statement {
    sid       = "NodeDisks"
    actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = [aws_iam_service_linked_role.autoscaling.arn]
    }
  }

  # It hands the key on to the disks, and to nobody else.
  statement {
    sid       = "NodeDiskGrants"
    actions   = ["kms:CreateGrant"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = [aws_iam_service_linked_role.autoscaling.arn]
    }

    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
  }
}

# A role of its own for this environment, so that accounts where the common one is missing or taken work alike.
resource "aws_iam_service_linked_role" "autoscaling" {
  aws_service_name = "autoscaling.amazonaws.com"
  custom_suffix    = var.name
}

resource "aws_kms_key" "this" {
  description             = "Data of ${var.name} at rest"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

# --- Secrets ----------------------------------------------------------------------------------------------------

locals {
  # 32 letters and digits are 190 bits; a connection key must be base64 of exactly 32 bytes.
  secrets = {
    secret_key        = { length = 64, description = "SECRET_KEY: signs sessions and links" }
    connection_keys   = { length = 32, description = "CONNECTION_KEYS: encrypts stored connections" }
    database_password = { length = 40, description = "Password of PostgreSQL's user rillbook" }
    ray_token         = { length = 48, description = "RAY_AUTH_TOKEN: admits members of the cluster" }
  }
}

ephemeral "aws_secretsmanager_random_password" "this" {
  for_each = local.secrets

  password_length     = each.value.length
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "this" {
  for_each = local.secrets

  name                    = "${var.name}/${each.key}"
  description             = each.value.description
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = 30
}

# Written once, never read back: state and plan hold no secret. Rotation is done in Secrets Manager (README.md), for a
# new connection key must stand beside the old one.
resource "aws_secretsmanager_secret_version" "this" {
  for_each = local.secrets

  secret_id = aws_secretsmanager_secret.this[each.key].id
  secret_string_wo = (
    each.key == "connection_keys"
    ? base64encode(ephemeral.aws_secretsmanager_random_password.this[each.key].random_password)
    : ephemeral.aws_secretsmanager_random_password.this[each.key].random_password
  )
  secret_string_wo_version = 1
}

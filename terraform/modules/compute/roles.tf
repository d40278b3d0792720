# Four roles: what ECS may do to start a task, what the server may do while it runs, what a migration may do, and what a
# command may do that an operator runs.

data "aws_iam_policy_document" "tasks_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "execution" {
  # ECR knows no resource for this one.
  statement {
    sid       = "RegistryLogin"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "Image"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [var.repository_arn]
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.web.arn}:*"]
  }

  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [for name, arn in var.secrets : arn if name != "DATABASE_URL"]
  }

  statement {
    sid       = "DatabaseUrl"
    actions   = ["ssm:GetParameters"]
    resources = [var.secrets["DATABASE_URL"]]
  }

  statement {
    sid       = "SecretsKey"
    actions   = ["kms:Decrypt"]
    resources = [var.kms_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["secretsmanager.${var.region}.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "execution" {
  name               = "${var.name}-execution"
  assume_role_policy = data.aws_iam_policy_document.tasks_trust.json
}

resource "aws_iam_role_policy" "execution" {
  name   = "start-tasks"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}

resource "aws_iam_role" "web" {
  name               = "${var.name}-web"
  assume_role_policy = data.aws_iam_policy_document.tasks_trust.json
}

resource "aws_iam_role_policy" "web" {
  name   = "application"
  role   = aws_iam_role.web.id
  policy = var.application_policy
}

# A migration speaks to the database alone.
resource "aws_iam_role" "migrate" {
  name               = "${var.name}-migrate"
  assume_role_policy = data.aws_iam_policy_document.tasks_trust.json
}

# A command does what the server does, and while notebooks are moved reads the tables named and uses the bucket named.
resource "aws_iam_role" "manage" {
  name               = "${var.name}-manage"
  assume_role_policy = data.aws_iam_policy_document.tasks_trust.json
}

resource "aws_iam_role_policy" "manage" {
  name   = "application"
  role   = aws_iam_role.manage.id
  policy = var.application_policy
}

data "aws_iam_policy_document" "import" {
  statement {
    sid       = "ImportTables"
    actions   = ["dynamodb:DescribeTable", "dynamodb:Scan", "dynamodb:Query"]
    resources = var.import_tables
  }
}

resource "aws_iam_role_policy" "import" {
  count = length(var.import_tables) == 0 ? 0 : 1

  name   = "import"
  role   = aws_iam_role.manage.id
  policy = data.aws_iam_policy_document.import.json
}

data "aws_iam_policy_document" "exchange" {
  statement {
    sid       = "ExchangeFiles"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["arn:aws:s3:::${var.exchange_bucket}/*"]
  }

  statement {
    sid       = "ExchangeList"
    actions   = ["s3:ListBucket"]
    resources = ["arn:aws:s3:::${var.exchange_bucket}"]
  }
}

resource "aws_iam_role_policy" "exchange" {
  count = var.exchange_bucket == "" ? 0 : 1

  name   = "exchange"
  role   = aws_iam_role.manage.id
  policy = data.aws_iam_policy_document.exchange.json
}

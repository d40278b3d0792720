# PostgreSQL: private, encrypted, with backups and a standby. Its password comes from Secrets Manager and is in no state.

locals {
  family = "postgres${split(".", var.engine_version)[0]}"
  user   = "rillbook"
  name   = "rillbook"
  tls    = var.ca_file == "" ? "sslmode=require" : "sslmode=verify-full&sslrootcert=${var.ca_file}"
}

resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.subnet_ids
}

resource "aws_db_parameter_group" "this" {
  name_prefix = "${var.name}-${local.family}-"
  family      = local.family
  description = "Rillbook on ${local.family}"

  dynamic "parameter" {
    for_each = {
      "rds.force_ssl"                       = ["1", "immediate"]
      "max_connections"                     = [tostring(var.max_connections), "pending-reboot"]
      "shared_preload_libraries"            = ["pg_stat_statements", "pending-reboot"]
      "log_min_duration_statement"          = ["1000", "immediate"]
      "log_lock_waits"                      = ["1", "immediate"]
      "idle_in_transaction_session_timeout" = ["60000", "immediate"]
      # Statements may quote sources and outputs: only those that are slow or fail are written, without their values.
      "log_statement"                         = ["none", "immediate"]
      "log_parameter_max_length"              = ["0", "immediate"]
      "log_parameter_max_length_on_error"     = ["0", "immediate"]
      "autovacuum_vacuum_insert_scale_factor" = ["0.05", "immediate"]
    }

    content {
      name         = parameter.key
      value        = parameter.value[0]
      apply_method = parameter.value[1]
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

# The password as it stands in Secrets Manager, whoever put it there. Not RDS's own managed secret: that one changes
# every seven days, under running tasks, which were told the password when they started.
ephemeral "aws_secretsmanager_secret_version" "password" {
  secret_id = var.password_secret_id
}

# Where RDS writes its logs. Made here, for RDS would make them without an end and without the key.
resource "aws_cloudwatch_log_group" "this" {
  for_each = toset(["postgresql", "upgrade"])

  name              = "/aws/rds/instance/${var.name}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_db_instance" "this" {
  identifier     = var.name
  engine         = "postgres"
  engine_version = var.engine_version
  instance_class = var.instance_class

  db_name             = local.name
  username            = local.user
  password_wo         = ephemeral.aws_secretsmanager_secret_version.password.secret_string
  password_wo_version = var.password_version

  storage_type          = "gp3"
  allocated_storage     = var.storage_gib
  max_allocated_storage = var.max_storage_gib
  storage_encrypted     = true
  kms_key_id            = var.kms_key_arn

  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [var.security_group_id]
  publicly_accessible    = false
  multi_az               = var.multi_az
  parameter_group_name   = aws_db_parameter_group.this.name

  backup_retention_period   = var.backup_retention_days
  backup_window             = "02:00-03:00"
  maintenance_window        = "sun:03:30-sun:04:30"
  copy_tags_to_snapshot     = true
  delete_automated_backups  = false
  deletion_protection       = var.deletion_protection
  skip_final_snapshot       = false
  final_snapshot_identifier = "${var.name}-final"

  auto_minor_version_upgrade  = true
  allow_major_version_upgrade = false
  apply_immediately           = var.apply_immediately

  performance_insights_enabled          = true
  performance_insights_kms_key_id       = var.kms_key_arn
  performance_insights_retention_period = 7
  enabled_cloudwatch_logs_exports       = [for group in aws_cloudwatch_log_group.this : basename(group.name)]
}

# The address without the password: nothing of it is secret.
resource "aws_ssm_parameter" "url" {
  name        = "/${var.name}/database-url"
  description = "DATABASE_URL; the password is DATABASE_PASSWORD, in Secrets Manager"
  type        = "String"
  value       = "postgresql://${local.user}@${aws_db_instance.this.endpoint}/${local.name}?${local.tls}"
}

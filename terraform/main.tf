# The production environment: wiring of the modules only. What each holds is said at the head of its main.tf.

provider "aws" {
  region = var.region

  default_tags {
    tags = local.tags
  }
}

data "aws_caller_identity" "current" {}

data "aws_availability_zones" "available" {
  state = "available"
}

locals {
  name = "${var.project}-${var.environment}"
  tags = merge(var.tags, { Project = var.project, Environment = var.environment, ManagedBy = "terraform" })

  account_id = data.aws_caller_identity.current.account_id
  zones      = slice(sort(data.aws_availability_zones.available.names), 0, var.zone_count)
  origin     = "https://${var.domain_name}"

  # What every process of Rillbook is told, wherever it runs: names of README.md's table of settings.
  environment_of_all = {
    RILLBOOK_MODE       = "multi"
    ALLOWED_HOSTS       = var.domain_name
    AWS_REGION          = var.region
    DATABASE_POOL_SIZE  = tostring(var.database_pool_size)
    EMAIL_FROM          = coalesce(var.email_from, "rillbook@${var.domain_name}")
    KERNEL_HOST         = "ray"
    LOG_FORMAT          = "json"
    LOG_LEVEL           = var.log_level
    OUTPUTS_BUCKET      = module.storage.outputs_bucket
    OUTPUTS_REGION      = var.region
    REDIS_IAM_CACHE     = module.cache.cache_name
    REDIS_IAM_USER      = module.cache.user_name
    REDIS_URL           = module.cache.url
    RAY_ADDRESS         = module.kernels.ray_address
    RAY_AUTH_MODE       = "token"
    KERNEL_MEMORY_BYTES = tostring(var.kernel_memory_gib * 1024 * 1024 * 1024)
  }
  environment_of_web = merge(local.environment_of_all, {
    BEHIND_PROXY         = "true"
    CSRF_TRUSTED_ORIGINS = local.origin
    SIGNUP_OPEN          = tostring(var.signup_open)
    KERNEL_POOL_SIZE     = tostring(var.kernel_pool_size) # web tasks see to it that so many wait on each node
  }, { for name, value in var.extra_settings : name => value if !can(regex(local.of_head_alone, name)) })
  environment_of_nodes = merge(local.environment_of_all, {
    DATABASE_POOL_SIZE = tostring(var.database_notebook_pool_size)
    KERNEL_SANDBOX     = "bubblewrap"
  }, { for name, value in var.extra_settings : name => value if !can(regex("${local.of_web_alone}|${local.of_head_alone}", name)) })
  secrets_of_all = {
    SECRET_KEY        = module.security.secret_arns["secret_key"]
    CONNECTION_KEYS   = module.security.secret_arns["connection_keys"]
    DATABASE_PASSWORD = module.security.secret_arns["database_password"]
    DATABASE_URL      = module.database.url_parameter_arn
    RAY_AUTH_TOKEN    = module.security.secret_arns["ray_token"]
  }
  secrets_of_web = merge(local.secrets_of_all, {
    for name, arn in var.extra_secrets : name => arn if !can(regex(local.of_head_alone, name))
  })
  secrets_of_nodes = merge(local.secrets_of_all, {
    for name, arn in var.extra_secrets : name => arn if !can(regex("${local.of_web_alone}|${local.of_head_alone}", name))
  })
  settings_of_head = { for name, value in var.extra_settings : name => value if can(regex(local.of_head_alone, name)) }
  secrets_of_head  = { for name, arn in var.extra_secrets : name => arn if can(regex(local.of_head_alone, name)) }
  # Mail, signing in and metrics are web tasks' alone: nodes, where people's code runs, are told neither their secrets
  # nor their settings, for half of a provider keeps a process from starting.
  of_web_alone = "^(EMAIL|OIDC|METRICS)_"
  # Where Ray's head keeps its tables: nobody else asks there.
  of_head_alone = "^RAY_REDIS_"
}

module "networking" {
  source = "./modules/networking"

  name                    = local.name
  region                  = var.region
  cidr                    = var.vpc_cidr
  zones                   = local.zones
  nat_per_zone            = var.nat_per_zone
  interface_endpoints     = var.interface_endpoints
  flow_log_retention_days = var.log_retention_days
  kms_key_arn             = module.security.kms_key_arn
}

module "security" {
  source = "./modules/security"

  name              = local.name
  region            = var.region
  account_id        = local.account_id
  vpc_id            = module.networking.vpc_id
  ingress_cidrs     = var.ingress_cidrs
  connection_egress = var.connection_egress
}

module "database" {
  source = "./modules/database"

  name                  = local.name
  subnet_ids            = module.networking.data_subnet_ids
  security_group_id     = module.security.database_security_group_id
  kms_key_arn           = module.security.kms_key_arn
  password_secret_id    = module.security.filled_secret_ids["database_password"]
  password_version      = var.database_password_version
  engine_version        = var.database_engine_version
  instance_class        = var.database_instance_class
  storage_gib           = var.database_storage_gib
  max_storage_gib       = var.database_max_storage_gib
  max_connections       = var.database_max_connections
  multi_az              = var.database_multi_az
  backup_retention_days = var.database_backup_retention_days
  deletion_protection   = var.deletion_protection
  apply_immediately     = var.apply_immediately
  ca_file               = var.database_ca_file
  log_retention_days    = var.log_retention_days
}

module "cache" {
  source = "./modules/cache"

  name              = local.name
  subnet_ids        = module.networking.data_subnet_ids
  security_group_id = module.security.cache_security_group_id
  kms_key_arn       = module.security.kms_key_arn
  node_type         = var.cache_node_type
  replicas          = var.cache_replicas
  apply_immediately = var.apply_immediately
}

module "storage" {
  source = "./modules/storage"

  name                = local.name
  bucket_name         = "${local.name}-outputs-${local.account_id}"
  kms_key_arn         = module.security.kms_key_arn
  page_origins        = [local.origin]
  noncurrent_days     = var.outputs_noncurrent_days
  images_kept         = var.images_kept
  deletion_protection = var.deletion_protection
}

module "kernels" {
  source = "./modules/kernels"

  name                 = local.name
  region               = var.region
  autoscaling_role_arn = module.security.autoscaling_role_arn
  vpc_id               = module.networking.vpc_id
  subnet_ids           = module.networking.private_subnet_ids
  security_group_id    = module.security.cluster_security_group_id
  kms_key_arn          = module.security.kms_key_arn
  ecs_cluster_id       = module.compute.cluster_id
  image                = "${module.storage.repository_url}:${var.image_tag}"
  repository_arn       = module.storage.repository_arn
  application_policy   = data.aws_iam_policy_document.application.json
  environment          = local.environment_of_nodes
  secrets              = local.secrets_of_nodes
  head_environment     = local.settings_of_head
  head_secrets         = local.secrets_of_head
  instance_type        = var.kernel_instance_type
  ami_parameter        = var.kernel_ami_parameter
  disk_gib             = var.kernel_disk_gib
  min_nodes            = var.kernel_min_nodes
  max_nodes            = var.kernel_max_nodes
  head_cpu             = var.head_cpu
  head_memory          = var.head_memory
  log_retention_days   = var.log_retention_days
}

module "compute" {
  source = "./modules/compute"

  name                = local.name
  region              = var.region
  vpc_id              = module.networking.vpc_id
  public_subnet_ids   = module.networking.public_subnet_ids
  private_subnet_ids  = module.networking.private_subnet_ids
  alb_security_group  = module.security.alb_security_group_id
  web_security_group  = module.security.web_security_group_id
  certificate_arn     = var.certificate_arn
  domain_name         = var.domain_name
  hosted_zone_id      = var.hosted_zone_id
  kms_key_arn         = module.security.kms_key_arn
  image               = "${module.storage.repository_url}:${var.image_tag}"
  repository_arn      = module.storage.repository_arn
  application_policy  = data.aws_iam_policy_document.application.json
  environment         = local.environment_of_web
  secrets             = local.secrets_of_web
  import_tables       = var.import_tables
  exchange_bucket     = var.exchange_bucket
  cpu                 = var.web_cpu
  memory              = var.web_memory
  min_tasks           = var.web_min_tasks
  max_tasks           = var.web_max_tasks
  log_retention_days  = var.log_retention_days
  deletion_protection = var.deletion_protection
}

module "monitoring" {
  source = "./modules/monitoring"

  name                 = local.name
  account_id           = local.account_id
  kms_key_arn          = module.security.kms_key_arn
  alarm_emails         = var.alarm_emails
  monthly_budget_usd   = var.monthly_budget_usd
  database_id          = module.database.identifier
  database_storage_gib = var.database_storage_gib
  max_connections      = var.database_max_connections
  cache_member_ids     = module.cache.member_ids
  load_balancer        = module.compute.load_balancer_suffix
  target_group         = module.compute.target_group_suffix
  cluster_name         = module.compute.cluster_name
  service_name         = module.compute.service_name
  min_tasks            = var.web_min_tasks
  node_group_name      = module.kernels.node_group_name
  min_nodes            = var.kernel_min_nodes
  full_policy_arn      = module.kernels.full_policy_arn
  log_groups           = { web = module.compute.log_group_name, kernels = module.kernels.log_group_name }
  latency_seconds      = var.alarm_latency_seconds
}

# What Rillbook itself may do on AWS, on web tasks and on nodes alike: its bucket, its cache, its key.
data "aws_iam_policy_document" "application" {
  statement {
    sid       = "OutputFiles"
    actions   = ["s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${module.storage.outputs_bucket_arn}/*"]
  }

  # Without it a missing object is answered as a refusal.
  statement {
    sid       = "OutputList"
    actions   = ["s3:ListBucket"]
    resources = [module.storage.outputs_bucket_arn]
  }

  statement {
    sid       = "OutputKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [module.security.kms_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${var.region}.amazonaws.com"]
    }
  }

  statement {
    sid       = "CacheLogin"
    actions   = ["elasticache:Connect"]
    resources = [module.cache.cache_arn, module.cache.user_arn]
  }
}

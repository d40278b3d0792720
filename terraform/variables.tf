# --- What and where ---------------------------------------------------------------------------------------------

variable "project" {
  description = "First part of every name."
  type        = string
  default     = "rillbook"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,15}$", var.project))
    error_message = "project must be 2 to 16 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "environment" {
  description = "Second part of every name, such as production or staging."
  type        = string
  default     = "production"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,11}$", var.environment))
    error_message = "environment must be 2 to 12 lower-case letters and digits, beginning with a letter."
  }
}

variable "region" {
  description = "AWS region of everything."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's code, such as eu-central-1."
  }
}

variable "tags" {
  description = "Further tags of every resource, such as a cost centre."
  type        = map(string)
  default     = {}
}

variable "deletion_protection" {
  description = "Whether the database, the load balancer and a bucket with files in it refuse to be destroyed."
  type        = bool
  default     = true
}

# --- Network ----------------------------------------------------------------------------------------------------

variable "vpc_cidr" {
  description = "Address range of the VPC; at least a /20."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && tonumber(split("/", "${var.vpc_cidr}/99")[1]) <= 20
    error_message = "vpc_cidr must be an IPv4 range of /20 or larger."
  }
}

variable "zone_count" {
  description = "Availability zones in use: 2 or 3."
  type        = number
  default     = 2

  validation {
    condition     = contains([2, 3], var.zone_count)
    error_message = "zone_count must be 2 or 3."
  }
}

variable "nat_per_zone" {
  description = "A NAT gateway in each zone (survives the loss of one) or a single one (cheaper)."
  type        = bool
  default     = true
}

variable "interface_endpoints" {
  description = "Reach ECR, logs, secrets and parameters without the NAT gateway; each endpoint costs by the hour."
  type        = bool
  default     = false
}

variable "ingress_cidrs" {
  description = "Who may reach the load balancer."
  type        = list(string)
  default     = ["0.0.0.0/0"]

  validation {
    condition     = length(var.ingress_cidrs) > 0 && alltrue([for cidr in var.ingress_cidrs : can(cidrnetmask(cidr))])
    error_message = "ingress_cidrs must be IPv4 ranges, at least one."
  }
}

variable "connection_egress" {
  description = "Databases that people's SQL cells may reach from the nodes, each a range and a port."
  type = list(object({
    description = string
    cidr        = string
    port        = number
  }))
  default = []

  validation {
    condition     = alltrue([for each in var.connection_egress : can(cidrnetmask(each.cidr)) && each.port > 0 && each.port < 65536])
    error_message = "Each connection_egress needs an IPv4 range and a port of 1 to 65535."
  }
}

variable "domain_name" {
  description = "The host name people use, such as notebooks.example.com."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain_name))
    error_message = "domain_name must be a host name in lower case, without scheme and path."
  }
}

variable "certificate_arn" {
  description = "Certificate of domain_name in AWS Certificate Manager, in the same region."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.certificate_arn))
    error_message = "certificate_arn must be the ARN of an ACM certificate."
  }
}

variable "hosted_zone_id" {
  description = "Route 53 zone to put domain_name in; empty: the record is made elsewhere."
  type        = string
  default     = ""

  validation {
    condition     = var.hosted_zone_id == "" || can(regex("^[A-Z0-9]{8,32}$", var.hosted_zone_id))
    error_message = "hosted_zone_id must be the id of a Route 53 zone, or empty."
  }
}

# --- Image and web ----------------------------------------------------------------------------------------------

variable "image_tag" {
  description = "Tag of the image in the repository: a version or commit, for tags are never moved."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9._-]{0,119}$", var.image_tag)) && var.image_tag != "latest"
    error_message = "image_tag must name one image for ever, in 120 letters or fewer; latest does not."
  }
}

variable "images_kept" {
  description = "How many images the repository keeps, for roll-backs; beside them so many that head and nodes ran."
  type        = number
  default     = 20

  validation {
    condition     = var.images_kept >= 2
    error_message = "images_kept must be at least 2."
  }
}

variable "web_cpu" {
  description = "CPU units of a web task; 1024 is one core. daphne uses one."
  type        = number
  default     = 1024

  validation {
    condition     = contains([512, 1024, 2048, 4096], var.web_cpu)
    error_message = "web_cpu must be 512, 1024, 2048 or 4096."
  }
}

variable "web_memory" {
  description = "Memory of a web task in MiB; Ray's raylet takes some 400 of it. Fargate allows 2 to 8 times web_cpu."
  type        = number
  default     = 3072

  validation {
    condition     = var.web_memory % 1024 == 0 && var.web_memory >= 2 * var.web_cpu && var.web_memory <= 8 * var.web_cpu
    error_message = "web_memory must be a multiple of 1024, from 2 to 8 times web_cpu."
  }
}

variable "web_min_tasks" {
  description = "Web tasks that always run; at least 2, so that one may go."
  type        = number
  default     = 2

  validation {
    condition     = var.web_min_tasks >= 2
    error_message = "web_min_tasks must be at least 2."
  }
}

variable "web_max_tasks" {
  description = "Most web tasks that autoscaling starts. Each takes database_pool_size connections."
  type        = number
  default     = 6

  validation {
    condition     = var.web_max_tasks >= var.web_min_tasks
    error_message = "web_max_tasks must not be below web_min_tasks."
  }
}

variable "signup_open" {
  description = "Whether anyone who reaches the page may make an account."
  type        = bool
  default     = false
}

variable "email_from" {
  description = "Sender of mail; empty: rillbook at domain_name."
  type        = string
  default     = ""
}

variable "extra_settings" {
  description = "Further settings of the application, by their names in README.md's table, such as KERNEL_IDLE_SECONDS: no secrets. Those of mail, signing in and metrics (EMAIL_, OIDC_, METRICS_) go to web tasks alone, RAY_REDIS_ADDRESS and RAY_REDIS_USERNAME (docs/cluster.md) to Ray's head alone."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.extra_settings) : can(regex("^[A-Z][A-Z0-9_]*$", name))])
    error_message = "extra_settings must be named as in README.md's table of settings."
  }

  validation {
    condition = length(setintersection(keys(var.extra_settings), [
      "CONNECTION_KEYS", "DATABASE_PASSWORD", "DATABASE_URL", "EMAIL_URL", "METRICS_TOKEN", "OIDC_CLIENT_SECRET",
      "RAY_AUTH_TOKEN", "RAY_REDIS_PASSWORD", "SECRET_KEY", "SECRET_KEY_FALLBACKS",
    ])) == 0
    error_message = "extra_settings stand in the state and in task definitions: what is secret belongs into extra_secrets."
  }
}

variable "extra_secrets" {
  description = "Further settings whose values are secrets that you made, by the ARN of each: EMAIL_URL, OIDC_CLIENT_SECRET, METRICS_TOKEN, SECRET_KEY_FALLBACKS, RAY_REDIS_PASSWORD. Encrypted by the account's own key of Secrets Manager or by this environment's."
  type        = map(string)
  default     = {}

  validation {
    condition = alltrue([for name, arn in var.extra_secrets :
      can(regex("^[A-Z][A-Z0-9_]*$", name)) && can(regex("^arn:aws[a-z-]*:secretsmanager:", arn))
    ])
    error_message = "extra_secrets must be settings of README.md's table, each with the ARN of a secret."
  }

  validation {
    condition = length(setintersection(keys(var.extra_secrets), concat(keys(var.extra_settings), [
      "CONNECTION_KEYS", "DATABASE_PASSWORD", "DATABASE_URL", "RAY_AUTH_TOKEN", "SECRET_KEY",
    ]))) == 0
    error_message = "extra_secrets must not name what this environment makes itself, nor what extra_settings names."
  }
}

# --- Database, cache, outputs -----------------------------------------------------------------------------------

variable "apply_immediately" {
  description = "Whether changes of database and cache are made at once, with their interruption, or in the maintenance window on Sunday."
  type        = bool
  default     = false
}

variable "database_engine_version" {
  description = "PostgreSQL version, 16 or newer: a major version alone takes its newest minor."
  type        = string
  default     = "17"

  validation {
    condition     = can(regex("^[0-9]{2}(\\.[0-9]+)?$", var.database_engine_version)) && try(tonumber(split(".", var.database_engine_version)[0]) >= 16, false)
    error_message = "database_engine_version must be 16 or newer."
  }
}

variable "database_instance_class" {
  description = "Instance class of PostgreSQL."
  type        = string
  default     = "db.m7g.large"

  validation {
    condition     = can(regex("^db\\.[a-z0-9]+\\.[a-z0-9]+$", var.database_instance_class))
    error_message = "database_instance_class must be a class, such as db.m7g.large."
  }
}

variable "database_storage_gib" {
  description = "Disk of PostgreSQL at the start, in GiB."
  type        = number
  default     = 100

  validation {
    condition     = var.database_storage_gib >= 20
    error_message = "database_storage_gib must be at least 20."
  }
}

variable "database_max_storage_gib" {
  description = "To what size the disk grows by itself, in GiB."
  type        = number
  default     = 500

  validation {
    condition     = var.database_max_storage_gib >= var.database_storage_gib * 1.1
    error_message = "database_max_storage_gib must be at least a tenth above database_storage_gib."
  }
}

variable "database_max_connections" {
  description = "Most connections PostgreSQL admits; each takes some 10 MiB. All pools together must fit."
  type        = number
  default     = 400

  validation {
    condition     = var.database_max_connections >= (var.web_max_tasks * 2 + 1) * var.database_pool_size
    error_message = "database_max_connections must admit the pools of twice web_max_tasks (a deploy runs old and new) and of a migration."
  }
}

variable "database_pool_size" {
  description = "Most connections of one process (DATABASE_POOL_SIZE)."
  type        = number
  default     = 16

  validation {
    condition     = var.database_pool_size >= 12
    error_message = "database_pool_size must be at least 12: runtimes use 4 to read, 4 to write, 4 to upload."
  }
}

variable "database_notebook_pool_size" {
  description = "Most connections of one open notebook's actor on a node."
  type        = number
  default     = 3

  validation {
    condition     = var.database_notebook_pool_size >= 1
    error_message = "database_notebook_pool_size must be at least 1."
  }
}

variable "database_multi_az" {
  description = "A standby in another zone, taken over within a minute or two."
  type        = bool
  default     = true
}

variable "database_backup_retention_days" {
  description = "How far back point-in-time recovery goes; at least 7 days."
  type        = number
  default     = 7

  validation {
    condition     = var.database_backup_retention_days >= 7 && var.database_backup_retention_days <= 35
    error_message = "database_backup_retention_days must be 7 to 35."
  }
}

variable "database_password_version" {
  description = "Raise by one after a new value was put into the secret: the database takes that value (README.md)."
  type        = number
  default     = 1

  validation {
    condition     = var.database_password_version >= 1
    error_message = "database_password_version must be 1 or more."
  }
}

variable "database_ca_file" {
  description = "Path in the image of RDS's certificate bundle, to verify the database's name; empty: encrypted, not verified."
  type        = string
  default     = ""

  validation {
    condition     = var.database_ca_file == "" || startswith(var.database_ca_file, "/")
    error_message = "database_ca_file must be an absolute path, or empty."
  }
}

variable "cache_node_type" {
  description = "Node type of Redis. It carries wake-ups only, so small ones go far."
  type        = string
  default     = "cache.t4g.small"

  validation {
    condition     = can(regex("^cache\\.[a-z0-9]+\\.[a-z0-9]+$", var.cache_node_type))
    error_message = "cache_node_type must be a node type, such as cache.t4g.small."
  }
}

variable "cache_replicas" {
  description = "Replicas of Redis in other zones; with one or more it fails over by itself."
  type        = number
  default     = 1

  validation {
    condition     = var.cache_replicas >= 0 && var.cache_replicas <= 5
    error_message = "cache_replicas must be 0 to 5."
  }
}

variable "outputs_noncurrent_days" {
  description = "How long deleted or replaced output files can be brought back."
  type        = number
  default     = 30

  validation {
    condition     = var.outputs_noncurrent_days >= 1
    error_message = "outputs_noncurrent_days must be at least 1."
  }
}

# --- Kernels ----------------------------------------------------------------------------------------------------

variable "kernel_instance_type" {
  description = "Instance type of the nodes where kernels run; an open notebook takes some 170 MiB before its data."
  type        = string
  default     = "m7i.xlarge"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", var.kernel_instance_type))
    error_message = "kernel_instance_type must be an instance type, such as m7i.xlarge."
  }
}

variable "kernel_ami_parameter" {
  description = "Public parameter that names the nodes' image: Amazon Linux 2023, of the instance type's architecture."
  type        = string
  default     = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"

  validation {
    condition     = startswith(var.kernel_ami_parameter, "/")
    error_message = "kernel_ami_parameter must be the path of a parameter."
  }
}

variable "kernel_disk_gib" {
  description = "Disk of a node: the image, kernels' work folders, what spills from memory."
  type        = number
  default     = 100

  validation {
    condition     = var.kernel_disk_gib >= 30
    error_message = "kernel_disk_gib must be at least 30."
  }
}

variable "kernel_min_nodes" {
  description = "Nodes that always run."
  type        = number
  default     = 2

  validation {
    condition     = var.kernel_min_nodes >= 1
    error_message = "kernel_min_nodes must be at least 1."
  }
}

variable "kernel_max_nodes" {
  description = "Most nodes that autoscaling starts. It never ends one by itself: kernels live there (README.md)."
  type        = number
  default     = 6

  validation {
    condition     = var.kernel_max_nodes >= var.kernel_min_nodes
    error_message = "kernel_max_nodes must not be below kernel_min_nodes."
  }
}

variable "kernel_memory_gib" {
  description = "Limit of one kernel's memory, in GiB."
  type        = number
  default     = 2

  validation {
    condition     = var.kernel_memory_gib >= 1 && floor(var.kernel_memory_gib) == var.kernel_memory_gib
    error_message = "kernel_memory_gib must be a whole number of at least 1."
  }
}

variable "kernel_pool_size" {
  description = "Kernels kept started on each node."
  type        = number
  default     = 2

  validation {
    condition     = var.kernel_pool_size >= 0
    error_message = "kernel_pool_size must not be negative."
  }
}

variable "head_cpu" {
  description = "CPU units of Ray's head, which runs no kernel."
  type        = number
  default     = 1024

  validation {
    condition     = contains([512, 1024, 2048, 4096], var.head_cpu)
    error_message = "head_cpu must be 512, 1024, 2048 or 4096."
  }
}

variable "head_memory" {
  description = "Memory of Ray's head in MiB; Fargate allows 2 to 8 times head_cpu."
  type        = number
  default     = 4096

  validation {
    condition     = var.head_memory % 1024 == 0 && var.head_memory >= 2 * var.head_cpu && var.head_memory <= 8 * var.head_cpu
    error_message = "head_memory must be a multiple of 1024, from 2 to 8 times head_cpu."
  }
}

# --- Moving notebooks in and out --------------------------------------------------------------------------------

variable "import_tables" {
  description = "DynamoDB tables that import_dynamodb may read (docs/migration.md), by their ARNs: while it is not empty, tasks of release.py --manage may."
  type        = list(string)
  default     = []

  validation {
    condition = alltrue([for arn in var.import_tables :
      can(regex("^arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:[0-9]{12}:table/[A-Za-z0-9._-]+$", arn))
    ])
    error_message = "import_tables must be ARNs of DynamoDB tables, without wildcards."
  }
}

variable "exchange_bucket" {
  description = "A private bucket of yours from which tasks of release.py --manage --files fetch files, and into which they put them; empty: they have none."
  type        = string
  default     = ""

  validation {
    condition     = var.exchange_bucket == "" || can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.exchange_bucket))
    error_message = "exchange_bucket must be the name of a bucket, or empty."
  }
}

# --- Watching ---------------------------------------------------------------------------------------------------

variable "log_level" {
  description = "Level of Rillbook's own loggers."
  type        = string
  default     = "INFO"

  validation {
    condition     = contains(["DEBUG", "INFO", "WARNING", "ERROR"], var.log_level)
    error_message = "log_level must be DEBUG, INFO, WARNING or ERROR."
  }
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([7, 14, 30, 60, 90, 180, 365, 400, 545, 731], var.log_retention_days)
    error_message = "log_retention_days must be a period that CloudWatch knows: 7, 14, 30, 60, 90, 180, 365, 400, 545 or 731."
  }
}

variable "alarm_emails" {
  description = "Who is told of alarms and of the budget; each confirms by a link in the first mail."
  type        = list(string)

  validation {
    condition     = length(var.alarm_emails) > 0 && alltrue([for each in var.alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", each))])
    error_message = "alarm_emails must be mail addresses, at least one."
  }
}

variable "alarm_latency_seconds" {
  description = "Alarm where one request in twenty takes longer than this for a quarter of an hour."
  type        = number
  default     = 2

  validation {
    condition     = var.alarm_latency_seconds > 0
    error_message = "alarm_latency_seconds must be positive."
  }
}

variable "monthly_budget_usd" {
  description = "Cost a month at which, in advance and in fact, alarm_emails are told."
  type        = number

  validation {
    condition     = var.monthly_budget_usd > 0
    error_message = "monthly_budget_usd must be positive."
  }
}

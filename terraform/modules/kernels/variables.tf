variable "name" {
  description = "First part of every name."
  type        = string
}

variable "region" {
  description = "Region, for logs and logins."
  type        = string
}

variable "autoscaling_role_arn" {
  description = "Role that starts nodes and may use the key of their disks."
  type        = string
}

variable "vpc_id" {
  description = "VPC in which the head's name is known."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets of head and nodes."
  type        = list(string)
}

variable "security_group_id" {
  description = "Group of head and nodes."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of disks, logs and secrets."
  type        = string
}

variable "ecs_cluster_id" {
  description = "ECS cluster in which the head runs."
  type        = string
}

variable "image" {
  description = "The image, with its tag; the same as of web tasks, for Ray's versions must be the same."
  type        = string
}

variable "repository_arn" {
  description = "Where the image is."
  type        = string
}

variable "application_policy" {
  description = "What Rillbook may do on AWS, as a policy."
  type        = string
}

variable "environment" {
  description = "Environment of nodes: names of README.md's table of settings."
  type        = map(string)
}

variable "secrets" {
  description = "Variables that nodes fetch, by the ARN of a secret; DATABASE_URL by that of a parameter."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["DATABASE_URL", "RAY_AUTH_TOKEN"], keys(var.secrets))) == 0
    error_message = "DATABASE_URL and RAY_AUTH_TOKEN must be among secrets."
  }
}

variable "head_environment" {
  description = "Further environment of the head, which is told nothing else but Ray's token."
  type        = map(string)
}

variable "head_secrets" {
  description = "Further variables that the head fetches, by the ARN of a secret."
  type        = map(string)
}

variable "instance_type" {
  description = "Instance type of nodes."
  type        = string
}

variable "ami_parameter" {
  description = "Public parameter that names the nodes' image."
  type        = string
}

variable "disk_gib" {
  description = "Disk of a node."
  type        = number
}

variable "min_nodes" {
  description = "Nodes that always run."
  type        = number
}

variable "max_nodes" {
  description = "Most nodes."
  type        = number
}

variable "head_cpu" {
  description = "CPU units of the head."
  type        = number
}

variable "head_memory" {
  description = "Memory of the head in MiB."
  type        = number
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
}

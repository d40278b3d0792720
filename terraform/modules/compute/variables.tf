variable "name" {
  description = "First part of every name; the load balancer allows 32 characters."
  type        = string
}

variable "region" {
  description = "Region, for logs."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the targets."
  type        = string
}

variable "public_subnet_ids" {
  description = "Subnets of the load balancer."
  type        = list(string)
}

variable "private_subnet_ids" {
  description = "Subnets of the tasks."
  type        = list(string)
}

variable "alb_security_group" {
  description = "Group of the load balancer."
  type        = string
}

variable "web_security_group" {
  description = "Group of the tasks."
  type        = string
}

variable "certificate_arn" {
  description = "Certificate of domain_name."
  type        = string
}

variable "domain_name" {
  description = "The host name people use."
  type        = string
}

variable "hosted_zone_id" {
  description = "Zone of domain_name, or empty."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of logs and secrets."
  type        = string
}

variable "image" {
  description = "The image, with its tag."
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
  description = "Environment of the server: names of README.md's table of settings."
  type        = map(string)
}

variable "secrets" {
  description = "Variables whose values ECS fetches, by the ARN of a secret; DATABASE_URL by that of a parameter."
  type        = map(string)

  validation {
    condition     = contains(keys(var.secrets), "DATABASE_URL")
    error_message = "DATABASE_URL must be among secrets."
  }
}

variable "import_tables" {
  description = "DynamoDB tables that commands may read, by their ARNs."
  type        = list(string)
}

variable "exchange_bucket" {
  description = "Bucket from which commands fetch files and into which they put them, or empty."
  type        = string
}

variable "cpu" {
  description = "CPU units of a task."
  type        = number
}

variable "memory" {
  description = "Memory of a task in MiB."
  type        = number
}

variable "min_tasks" {
  description = "Tasks that always run."
  type        = number
}

variable "max_tasks" {
  description = "Most tasks."
  type        = number
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
}

variable "deletion_protection" {
  description = "Whether the load balancer refuses to be destroyed."
  type        = bool
}

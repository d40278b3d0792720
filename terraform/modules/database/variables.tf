variable "name" {
  description = "First part of every name."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets without a way out, in two zones or more."
  type        = list(string)
}

variable "apply_immediately" {
  description = "Whether changes are made at once, or in the maintenance window."
  type        = bool
}

variable "security_group_id" {
  description = "Group that says who may connect."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of the disk, the backups and Performance Insights."
  type        = string
}

variable "password_secret_id" {
  description = "Secret that holds the password."
  type        = string
}

variable "password_version" {
  description = "Raised when the secret holds a new password."
  type        = number
}

variable "engine_version" {
  description = "PostgreSQL version."
  type        = string
}

variable "instance_class" {
  description = "Instance class."
  type        = string
}

variable "storage_gib" {
  description = "Disk at the start."
  type        = number
}

variable "max_storage_gib" {
  description = "To what size the disk grows by itself."
  type        = number
}

variable "max_connections" {
  description = "Most connections."
  type        = number
}

variable "multi_az" {
  description = "Whether there is a standby."
  type        = bool
}

variable "backup_retention_days" {
  description = "How far back point-in-time recovery goes."
  type        = number
}

variable "deletion_protection" {
  description = "Whether it refuses to be destroyed."
  type        = bool
}

variable "ca_file" {
  description = "Certificate bundle in the image, or empty."
  type        = string
}

variable "log_retention_days" {
  description = "How long the database's logs are kept."
  type        = number
}

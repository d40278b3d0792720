variable "name" {
  description = "Name of the cache; ElastiCache allows 40 characters."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets without a way out."
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
  description = "Key of what it holds at rest."
  type        = string
}

variable "node_type" {
  description = "Node type."
  type        = string
}

variable "replicas" {
  description = "Replicas beside the primary."
  type        = number
}

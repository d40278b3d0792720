variable "name" {
  description = "First part of every name."
  type        = string
}

variable "region" {
  description = "Region, for the names of AWS's endpoints."
  type        = string
}

variable "cidr" {
  description = "Address range of the VPC, cut into sixteen."
  type        = string
}

variable "zones" {
  description = "Availability zones, two or three."
  type        = list(string)

  validation {
    condition     = contains([2, 3], length(distinct(var.zones)))
    error_message = "The network needs two or three zones."
  }
}

variable "nat_per_zone" {
  description = "A NAT gateway in each zone, or one."
  type        = bool
}

variable "interface_endpoints" {
  description = "Whether AWS services are reached without NAT."
  type        = bool
}

variable "flow_log_retention_days" {
  description = "How long refused connections are kept."
  type        = number
}

variable "kms_key_arn" {
  description = "Key of the log group."
  type        = string
}

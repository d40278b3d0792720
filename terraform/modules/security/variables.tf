variable "name" {
  description = "First part of every name."
  type        = string
}

variable "region" {
  description = "Region, for the key's policy."
  type        = string
}

variable "account_id" {
  description = "Account, for the key's policy."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the security groups."
  type        = string
}

variable "ingress_cidrs" {
  description = "Who may reach the load balancer."
  type        = list(string)
}

variable "connection_egress" {
  description = "Databases that SQL cells may reach from the nodes."
  type = list(object({
    description = string
    cidr        = string
    port        = number
  }))
}

variable "name" {
  description = "First part of every name."
  type        = string
}

variable "account_id" {
  description = "Account whose alarms may publish."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of the topic."
  type        = string
}

variable "alarm_emails" {
  description = "Who is told."
  type        = list(string)
}

variable "monthly_budget_usd" {
  description = "Cost a month."
  type        = number
}

variable "database_id" {
  description = "The database instance."
  type        = string
}

variable "database_storage_gib" {
  description = "Its disk at the start."
  type        = number
}

variable "max_connections" {
  description = "Connections that it admits."
  type        = number
}

variable "cache_member_ids" {
  description = "Nodes of the cache."
  type        = list(string)
}

variable "load_balancer" {
  description = "The load balancer, as CloudWatch names it."
  type        = string
}

variable "target_group" {
  description = "The target group, as CloudWatch names it."
  type        = string
}

variable "cluster_name" {
  description = "The ECS cluster."
  type        = string
}

variable "service_name" {
  description = "The web service."
  type        = string
}

variable "min_tasks" {
  description = "Web tasks that must run."
  type        = number
}

variable "node_group_name" {
  description = "The nodes' autoscaling group."
  type        = string
}

variable "full_policy_arn" {
  description = "What adds nodes where the cluster is full."
  type        = string
}

variable "min_nodes" {
  description = "Nodes that must run."
  type        = number
}

variable "log_groups" {
  description = "Log groups of servers, by a short name."
  type        = map(string)
}

variable "latency_seconds" {
  description = "What one request in twenty may take."
  type        = number
}

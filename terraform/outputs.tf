output "url" {
  description = "Where people open Rillbook."
  value       = local.origin
}

output "load_balancer_dns_name" {
  description = "Target of the DNS record of domain_name, where hosted_zone_id is not given."
  value       = module.compute.load_balancer_dns_name
}

output "repository_url" {
  description = "Where images are pushed to."
  value       = module.storage.repository_url
}

output "outputs_bucket" {
  description = "The bucket of large outputs."
  value       = module.storage.outputs_bucket
}

output "database_endpoint" {
  description = "Host and port of PostgreSQL, reached from inside the VPC only."
  value       = module.database.endpoint
}

output "secret_arns" {
  description = "Secrets by their purpose; values are read and rotated in Secrets Manager."
  value       = module.security.secret_arns
}

output "alarm_topic_arn" {
  description = "The SNS topic of all alarms, for a pager or chat."
  value       = module.monitoring.topic_arn
}

output "release" {
  description = "What deploy/release.py needs: terraform output -json release."
  value = {
    region                  = var.region
    cluster                 = module.compute.cluster_name
    web_service             = module.compute.service_name
    web_task_definition     = module.compute.web_task_definition_arn
    migrate_task_definition = module.compute.migrate_task_definition_arn
    manage_task_definition  = module.compute.manage_task_definition_arn
    exchange_bucket         = var.exchange_bucket
    head_service            = module.kernels.head_service_name
    head_task_definition    = module.kernels.head_task_definition_arn
    node_group              = module.kernels.node_group_name
    node_template           = module.kernels.node_template_id
    node_template_version   = module.kernels.node_template_version
    min_nodes               = var.kernel_min_nodes
    subnets                 = module.networking.private_subnet_ids
    security_groups         = [module.security.web_security_group_id]
    migrate_log_group       = module.compute.log_group_name
  }
}

output "cluster_id" {
  description = "The ECS cluster."
  value       = aws_ecs_cluster.this.id
}

output "cluster_name" {
  description = "Its name, for alarms and releases."
  value       = aws_ecs_cluster.this.name
}

output "service_name" {
  description = "The web service."
  value       = aws_ecs_service.web.name
}

output "web_task_definition_arn" {
  description = "The newest definition of the web task."
  value       = aws_ecs_task_definition.web.arn
}

output "migrate_task_definition_arn" {
  description = "The newest definition of the migrate task."
  value       = aws_ecs_task_definition.migrate.arn
}

output "manage_task_definition_arn" {
  description = "The newest definition of the task in which commands run."
  value       = aws_ecs_task_definition.manage.arn
}

output "load_balancer_dns_name" {
  description = "Where the DNS record points to."
  value       = aws_lb.this.dns_name
}

output "load_balancer_suffix" {
  description = "The load balancer, as CloudWatch names it."
  value       = aws_lb.this.arn_suffix
}

output "target_group_suffix" {
  description = "The target group, as CloudWatch names it."
  value       = aws_lb_target_group.web.arn_suffix
}

output "log_group_name" {
  description = "Logs of web and migrate tasks."
  value       = aws_cloudwatch_log_group.web.name
}

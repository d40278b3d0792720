output "ray_address" {
  description = "RAY_ADDRESS: name and port of the head."
  value       = local.ray_address
}

output "head_service_name" {
  description = "The head's ECS service."
  value       = aws_ecs_service.head.name
}

output "head_task_definition_arn" {
  description = "The newest definition of the head's task."
  value       = aws_ecs_task_definition.head.arn
}

output "node_group_name" {
  description = "The nodes' autoscaling group."
  value       = aws_autoscaling_group.nodes.name
}

output "full_policy_arn" {
  description = "What an alarm of a full cluster sets off: more nodes."
  value       = aws_autoscaling_policy.full.arn
}

output "node_template_id" {
  description = "The nodes' launch template."
  value       = aws_launch_template.node.id
}

output "node_template_version" {
  description = "Its newest version."
  value       = aws_launch_template.node.latest_version
}

output "log_group_name" {
  description = "Logs of head and nodes."
  value       = aws_cloudwatch_log_group.this.name
}

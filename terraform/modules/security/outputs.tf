output "alb_security_group_id" {
  description = "Group of the load balancer."
  value       = aws_security_group.this["alb"].id
}

output "web_security_group_id" {
  description = "Group of web and migrate tasks."
  value       = aws_security_group.this["web"].id
}

output "cluster_security_group_id" {
  description = "Group of Ray's head and the nodes."
  value       = aws_security_group.this["cluster"].id
}

output "database_security_group_id" {
  description = "Group of PostgreSQL."
  value       = aws_security_group.this["database"].id
}

output "cache_security_group_id" {
  description = "Group of Redis."
  value       = aws_security_group.this["cache"].id
}

output "kms_key_arn" {
  description = "The key of everything at rest."
  value       = aws_kms_key.this.arn
}

output "secret_arns" {
  description = "Secrets by their purpose."
  value       = { for purpose, secret in aws_secretsmanager_secret.this : purpose => secret.arn }
}

output "filled_secret_ids" {
  description = "The same, known once they hold a value."
  value       = { for purpose, version in aws_secretsmanager_secret_version.this : purpose => version.secret_id }
}

output "autoscaling_role_arn" {
  description = "The role that starts nodes with disks encrypted by the key."
  value       = aws_iam_service_linked_role.autoscaling.arn
}

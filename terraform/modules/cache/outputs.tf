output "url" {
  description = "REDIS_URL: the primary, over TLS."
  value       = "rediss://${aws_elasticache_replication_group.this.primary_endpoint_address}:6379/0"
}

output "cache_name" {
  description = "What an IAM token is signed for."
  value       = aws_elasticache_replication_group.this.replication_group_id
}

output "user_name" {
  description = "The user that roles connect as."
  value       = aws_elasticache_user.application.user_name
}

output "cache_arn" {
  description = "The cache, for policies."
  value       = aws_elasticache_replication_group.this.arn
}

output "user_arn" {
  description = "The user, for policies."
  value       = aws_elasticache_user.application.arn
}

# AWS numbers the members of a group without shards from 001; said here so that alarms know them before they exist.
output "member_ids" {
  description = "Names of the cache's nodes, for alarms."
  value       = [for number in range(1, var.replicas + 2) : format("%s-%03d", var.name, number)]
}

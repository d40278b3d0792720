output "identifier" {
  description = "Name of the instance, for alarms."
  value       = aws_db_instance.this.identifier
}

output "endpoint" {
  description = "Host and port."
  value       = aws_db_instance.this.endpoint
}

output "url_parameter_arn" {
  description = "Parameter that holds DATABASE_URL, without the password."
  value       = aws_ssm_parameter.url.arn
}

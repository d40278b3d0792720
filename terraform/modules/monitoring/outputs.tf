output "topic_arn" {
  description = "The topic of all alarms."
  value       = aws_sns_topic.alarms.arn
}

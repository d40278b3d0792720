output "outputs_bucket" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.outputs.bucket
}

output "outputs_bucket_arn" {
  description = "The bucket, for policies."
  value       = aws_s3_bucket.outputs.arn
}

output "repository_url" {
  description = "The repository, without a tag."
  value       = aws_ecr_repository.this.repository_url
}

output "repository_arn" {
  description = "The repository, for policies."
  value       = aws_ecr_repository.this.arn
}

variable "name" {
  description = "Name of the repository."
  type        = string
}

variable "bucket_name" {
  description = "Name of the bucket, unique in the world, without dots."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "A bucket's name has 3 to 63 lower-case letters, digits and hyphens; with dots it has no certificate."
  }
}

variable "kms_key_arn" {
  description = "Key of objects and images."
  type        = string
}

variable "page_origins" {
  description = "Origins of pages that read outputs by script."
  type        = list(string)
}

variable "noncurrent_days" {
  description = "How long deleted and replaced objects can be brought back."
  type        = number
}

variable "images_kept" {
  description = "How many images are kept, and how many of those that head and nodes ran."
  type        = number
}

variable "deletion_protection" {
  description = "Whether a bucket or repository that holds something refuses to be destroyed."
  type        = bool
}

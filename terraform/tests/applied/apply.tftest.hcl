# The whole environment, applied to an AWS-compatible server (moto) at AWS_ENDPOINT_URL. Run by
# tests/terraform/test_real_apply.py, which reads back with boto3 what was made. Its keys are nobody's: AWS itself
# would refuse them.

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "testing"
  secret_key                  = "testing"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true
  max_retries                 = 2

  default_tags {
    tags = { Project = "rillbook", Environment = "production", ManagedBy = "terraform" }
  }
}

# What moto has not: users, parameters and members of ElastiCache, tags of autoscaling targets, subscribers of budgets.
# The plan's tests cover them.
override_module {
  target = module.cache

  outputs = {
    url        = "rediss://rillbook-production.example.com:6379/0"
    cache_name = "rillbook-production"
    user_name  = "rillbook-production"
    cache_arn  = "arn:aws:elasticache:eu-central-1:123456789012:replicationgroup:rillbook-production"
    user_arn   = "arn:aws:elasticache:eu-central-1:123456789012:user:rillbook-production"
    member_ids = ["rillbook-production-001", "rillbook-production-002"]
  }
}

override_resource {
  target = module.compute.aws_appautoscaling_target.web
}

override_resource {
  target = module.compute.aws_appautoscaling_policy.web
}

override_resource {
  target = module.monitoring.aws_budgets_budget.monthly
}

run "apply" {
  command = apply

  assert {
    condition     = startswith(output.repository_url, "123456789012.dkr.ecr.eu-central-1.")
    error_message = "The repository is where images are pushed to."
  }

  assert {
    condition     = output.database_endpoint != "" && endswith(output.database_endpoint, ":5432")
    error_message = "PostgreSQL has an endpoint."
  }

  assert {
    condition     = length(output.release.subnets) == 3 && alltrue([for id in output.release.subnets : startswith(id, "subnet-")])
    error_message = "Tasks run in a private subnet of each zone."
  }

  assert {
    condition     = alltrue([for arn in values(output.secret_arns) : startswith(arn, "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rillbook-production/")])
    error_message = "Secrets are in Secrets Manager, below the environment's name."
  }

  assert {
    condition     = startswith(output.alarm_topic_arn, "arn:aws:sns:") && startswith(output.release.web_task_definition, "arn:aws:ecs:")
    error_message = "Alarms have a topic, and the release its task definitions."
  }
}

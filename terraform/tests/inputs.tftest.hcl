# The example is accepted; wrong inputs are refused before anything is planned. Run by tests/terraform, or by hand
# against an account: terraform test -var-file=production.tfvars.example

run "the_example_is_accepted" {
  command = plan

  assert {
    condition     = output.url == "https://notebooks.example.com"
    error_message = "The URL is made of domain_name."
  }

  assert {
    condition     = startswith(output.outputs_bucket, "rillbook-production-outputs-")
    error_message = "The bucket's name begins with the environment's and ends with the account's."
  }
}

run "wrong_inputs_are_refused" {
  command = plan

  variables {
    project                        = "Rillbook!"
    environment                    = "the-production"
    region                         = "Europe"
    vpc_cidr                       = "10.0.0.0/24"
    zone_count                     = 1
    ingress_cidrs                  = ["everyone"]
    connection_egress              = [{ description = "x", cidr = "10.0.0.0/8", port = 0 }]
    domain_name                    = "https://notebooks.example.com/"
    certificate_arn                = "certificate"
    hosted_zone_id                 = "example.com"
    image_tag                      = "latest"
    images_kept                    = 1
    web_cpu                        = 1000
    web_min_tasks                  = 1
    extra_settings                 = { "kernel idle" = "1" }
    database_engine_version        = "15.8"
    database_instance_class        = "large"
    database_storage_gib           = 10
    database_pool_size             = 4
    database_notebook_pool_size    = 0
    database_backup_retention_days = 3
    database_password_version      = 0
    database_ca_file               = "rds.pem"
    cache_node_type                = "small"
    cache_replicas                 = 6
    outputs_noncurrent_days        = 0
    kernel_instance_type           = "large"
    kernel_ami_parameter           = "ami-1"
    kernel_disk_gib                = 8
    kernel_min_nodes               = 0
    kernel_memory_gib              = 1.5
    kernel_pool_size               = -1
    head_cpu                       = 1
    import_tables                  = ["arn:aws:dynamodb:eu-central-1:123456789012:table/*"]
    exchange_bucket                = "s3://exchange/"
    log_level                      = "LOUD"
    log_retention_days             = 31
    alarm_emails                   = []
    alarm_latency_seconds          = 0
    monthly_budget_usd             = 0
  }

  expect_failures = [
    var.project, var.environment, var.region, var.vpc_cidr, var.zone_count, var.ingress_cidrs, var.connection_egress,
    var.domain_name, var.certificate_arn, var.hosted_zone_id, var.image_tag, var.images_kept, var.web_cpu,
    var.web_min_tasks, var.extra_settings, var.database_engine_version,
    var.database_instance_class, var.database_storage_gib,
    var.database_pool_size, var.database_notebook_pool_size, var.database_backup_retention_days, var.database_password_version, var.database_ca_file,
    var.cache_node_type, var.cache_replicas, var.outputs_noncurrent_days, var.kernel_instance_type,
    var.kernel_ami_parameter, var.kernel_disk_gib, var.kernel_min_nodes, var.kernel_memory_gib,
    var.kernel_pool_size, var.head_cpu, var.import_tables, var.exchange_bucket, var.log_level, var.log_retention_days, var.alarm_emails,
    var.alarm_latency_seconds, var.monthly_budget_usd,
  ]
}

run "sizes_that_do_not_go_together_and_secrets_among_settings_are_refused" {
  command = plan

  variables {
    web_memory               = 16384
    web_max_tasks            = 1
    database_max_storage_gib = 50
    kernel_max_nodes         = 1
    head_memory              = 1000
    extra_settings           = { SECRET_KEY_FALLBACKS = "a key that would stand in the state" }
  }

  expect_failures = [
    var.extra_settings, var.web_memory, var.web_max_tasks, var.database_max_storage_gib, var.kernel_max_nodes, var.head_memory,
  ]
}

run "pools_must_fit_the_database_and_secrets_are_named_not_given" {
  command = plan

  variables {
    database_max_connections = 200
    web_max_tasks            = 8
    extra_secrets            = { EMAIL_URL = "smtp://me:secret@example.com" }
  }

  expect_failures = [var.database_max_connections, var.extra_secrets]
}

run "the_password_of_rays_tables_is_a_secret" {
  command = plan

  variables {
    extra_settings = { RAY_REDIS_PASSWORD = "a word that would stand in the state" }
  }

  expect_failures = [var.extra_settings]
}

run "what_the_environment_makes_is_not_given" {
  command = plan

  variables {
    extra_secrets = { SECRET_KEY = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:mine" }
  }

  expect_failures = [var.extra_secrets]
}

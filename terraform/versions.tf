terraform {
  # 1.11: write-only arguments, which keep secrets out of the state.
  required_version = ">= 1.11.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # Where the state is kept: terraform init -backend-config=FILE (README.md).
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

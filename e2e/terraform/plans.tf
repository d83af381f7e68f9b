# Backup plans with every block, selections, and the settings of a region.
#
# https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/backup_plan
# https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/backup_selection
# https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/backup_region_settings

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

variable "changed" {
  type    = bool
  default = false
}

provider "aws" {
  region                      = "us-east-1"
  skip_requesting_account_id  = false
  skip_credentials_validation = false
  skip_metadata_api_check     = true
}

resource "aws_backup_vault" "home" {
  name = "terraform-plans"
}

resource "aws_backup_vault" "offsite" {
  name = "terraform-offsite"
}

data "aws_iam_role" "default" {
  name = "AWSBackupDefaultServiceRole"
}

resource "aws_backup_plan" "plain" {
  name = "terraform-plain"

  rule {
    rule_name         = "daily"
    target_vault_name = aws_backup_vault.home.name
    schedule          = "cron(0 12 * * ? *)" # without one, AWS answers a default that the provider does not expect
  }
}

resource "aws_backup_plan" "full" {
  name = "terraform-full"

  rule {
    rule_name                    = "daily"
    target_vault_name            = aws_backup_vault.home.name
    schedule                     = "cron(0 ${var.changed ? 6 : 5} ? * * *)"
    schedule_expression_timezone = "Europe/Berlin"
    start_window                 = 90
    completion_window            = 240
    recovery_point_tags          = { made = "by terraform" }

    lifecycle {
      delete_after = var.changed ? 40 : 35
    }

    copy_action {
      destination_vault_arn = aws_backup_vault.offsite.arn

      lifecycle {
        delete_after = 14
      }
    }
  }

  dynamic "rule" {
    for_each = var.changed ? ["monthly"] : ["monthly", "weekly"]

    content {
      rule_name                = rule.value
      target_vault_name        = aws_backup_vault.home.name
      schedule                 = rule.value == "weekly" ? "cron(0 5 ? * SAT *)" : "cron(0 5 1 * ? *)"
      enable_continuous_backup = rule.value == "weekly"

      lifecycle {
        delete_after = 35
      }
    }
  }

  advanced_backup_setting {
    resource_type  = "EC2"
    backup_options = { WindowsVSS = "enabled" }
  }

  tags = { team = var.changed ? "b" : "a" }
}

resource "aws_backup_selection" "resources" {
  name         = "terraform-resources"
  plan_id      = aws_backup_plan.full.id
  iam_role_arn = data.aws_iam_role.default.arn

  resources     = ["arn:aws:elasticfilesystem:*:*:file-system/*"]
  not_resources = var.changed ? ["arn:aws:ec2:*:*:volume/*"] : ["arn:aws:ec2:*:*:volume/*", "arn:aws:rds:*:*:db:*"]

  condition {
    string_equals {
      key   = "aws:ResourceTag/backup"
      value = "daily"
    }

    string_like {
      key   = "aws:ResourceTag/application"
      value = "app*"
    }

    string_not_equals {
      key   = "aws:ResourceTag/stage"
      value = "test"
    }

    string_not_like {
      key   = "aws:ResourceTag/owner"
      value = "test*"
    }
  }
}

resource "aws_backup_selection" "tags" {
  name         = "terraform-tags"
  plan_id      = aws_backup_plan.full.id
  iam_role_arn = data.aws_iam_role.default.arn

  selection_tag {
    type  = "STRINGEQUALS"
    key   = "backup"
    value = "daily"
  }
}

resource "aws_backup_region_settings" "here" {
  resource_type_opt_in_preference = {
    CloudFormation = true
    EFS            = !var.changed
  }

  resource_type_management_preference = {
    CloudFormation = true
    EFS            = true
  }
}

data "aws_backup_plan" "full" {
  plan_id = aws_backup_plan.full.id
}

data "aws_backup_selection" "tags" {
  plan_id      = aws_backup_plan.full.id
  selection_id = aws_backup_selection.tags.id
}

output "plan" {
  value = aws_backup_plan.full.id
}

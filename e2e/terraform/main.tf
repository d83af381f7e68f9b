# Identity and vaults as Terraform users declare them. The Go test of this folder applies it, plans it without a
# difference, changes it (var.changed), and destroys it in one pass while the vault holds recovery points.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {
  region                  = "us-east-1"
  skip_metadata_api_check = true
  skip_region_validation  = true
}

variable "changed" {
  type    = bool
  default = false
}

variable "vault" {
  type    = string
  default = "terraform"
}

data "aws_caller_identity" "me" {}

data "aws_iam_role" "default" {
  name = "AWSBackupDefaultServiceRole"
}

data "aws_iam_policy" "backup" {
  arn = "arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup"
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = var.changed ? ["backup.amazonaws.com", "restore-testing.backup.amazonaws.com"] : ["backup.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "backup" {
  name                 = "terraform-backup"
  path                 = "/team/"
  description          = var.changed ? "backs up, changed" : "backs up"
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  max_session_duration = var.changed ? 7200 : 3600
  permissions_boundary = var.changed ? aws_iam_policy.boundary.arn : null
  tags                 = var.changed ? { team = "b", kept = "yes" } : { team = "a" }
}

resource "aws_iam_policy" "boundary" {
  name        = "terraform-boundary"
  description = "what roles may do at most"
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = var.changed ? ["*"] : ["elasticfilesystem:*"], Resource = "*" }]
  })
}

resource "aws_iam_role_policy" "inline" {
  name = "inline"
  role = aws_iam_role.backup.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = ["tag:GetResources"], Resource = var.changed ? "*" : "arn:aws:tag:*:*:a b+c%d" }]
  })
}

resource "aws_iam_role_policy_attachment" "backup" {
  role       = aws_iam_role.backup.name
  policy_arn = data.aws_iam_policy.backup.arn
}

resource "aws_iam_role_policy_attachment" "restores" {
  role       = aws_iam_role.backup.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForRestores"
}

resource "aws_iam_user" "operator" {
  name          = "terraform-operator"
  path          = "/people/"
  force_destroy = true
  tags          = { who = "operator" }
}

resource "aws_iam_access_key" "operator" {
  user   = aws_iam_user.operator.name
  status = var.changed ? "Inactive" : "Active"
}

resource "aws_iam_user_policy" "operator" {
  name   = "list"
  user   = aws_iam_user.operator.name
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "backup:List*", Resource = "*" }] })
}

resource "aws_iam_user_policy_attachment" "operator" {
  user       = aws_iam_user.operator.name
  policy_arn = "arn:aws:iam::aws:policy/AWSBackupOperatorAccess"
}

resource "aws_iam_group" "operators" {
  name = "terraform-operators"
}

resource "aws_iam_group_membership" "operators" {
  name  = "operators"
  group = aws_iam_group.operators.name
  users = [aws_iam_user.operator.name]
}

resource "aws_iam_group_policy_attachment" "operators" {
  group      = aws_iam_group.operators.name
  policy_arn = aws_iam_policy.boundary.arn
}

resource "aws_iam_service_linked_role" "backup" {
  aws_service_name = "backup.amazonaws.com"
}

resource "aws_iam_instance_profile" "backup" {
  name = "terraform-profile"
  role = aws_iam_role.backup.name
}

# The vault depends on the role's attachments: they outlive it, and with them the authority to delete what is in it.
resource "aws_backup_vault" "vault" {
  name          = var.vault
  force_destroy = true
  tags          = var.changed ? { stage = "two" } : { stage = "one", gone = "soon" }
  depends_on    = [aws_iam_role_policy_attachment.backup, aws_iam_role_policy_attachment.restores, aws_iam_role_policy.inline]
}

resource "aws_backup_vault_policy" "vault" {
  backup_vault_name = aws_backup_vault.vault.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Deny"
      Principal = { AWS = aws_iam_user.operator.arn }
      Action    = var.changed ? ["backup:DeleteRecoveryPoint", "backup:UpdateRecoveryPointLifecycle"] : ["backup:DeleteRecoveryPoint"]
      Resource  = "*"
    }]
  })
}

output "role" {
  value = aws_iam_role.backup.arn
}

output "account" {
  value = data.aws_caller_identity.me.account_id
}

output "default_role" {
  value = data.aws_iam_role.default.arn
}

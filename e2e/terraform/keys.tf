# A key, an alias and a vault that hangs on the key. The Go test of this folder applies it, plans it without a difference,
# changes it (var.changed), and destroys it.

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

data "aws_caller_identity" "me" {}

resource "aws_kms_key" "vault" {
  description             = var.changed ? "key of the vault, changed" : "key of the vault"
  deletion_window_in_days = 7
  enable_key_rotation     = true
  tags                    = var.changed ? { team = "b" } : { team = "a", gone = "soon" }
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = var.changed ? "Account again" : "Account"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::${data.aws_caller_identity.me.account_id}:root" }
      Action    = "kms:*"
      Resource  = "*"
    }]
  })
}

resource "aws_kms_key" "other" {
  deletion_window_in_days = 7
}

resource "aws_kms_alias" "vault" {
  name          = "alias/terraform"
  target_key_id = var.changed ? aws_kms_key.other.key_id : aws_kms_key.vault.key_id
}

data "aws_kms_alias" "vault" {
  name       = "alias/terraform"
  depends_on = [aws_kms_alias.vault]
}

data "aws_kms_key" "vault" {
  key_id     = "alias/terraform"
  depends_on = [aws_kms_alias.vault]
}

resource "aws_backup_vault" "keyed" {
  name        = "terraform-keys"
  kms_key_arn = aws_kms_key.vault.arn
}

resource "aws_backup_vault" "plain" {
  name = "terraform-plain"
}

output "key" {
  value = aws_kms_key.vault.arn
}

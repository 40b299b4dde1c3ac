terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {}

variable "stage" {
  default = "none"
}

variable "expires_at" {}

resource "aws_ssm_patch_baseline" "debian" {
  name                                 = "debian-servers"
  description                          = "Debian, ${var.stage}"
  operating_system                     = "DEBIAN"
  approved_patches                     = var.stage == "second" ? ["openssl"] : ["openssl", "libssl3"]
  approved_patches_compliance_level    = "CRITICAL"
  approved_patches_enable_non_security = true
  rejected_patches                     = var.stage == "second" ? [] : ["nginx", "apache2"]
  rejected_patches_action              = var.stage == "second" ? "ALLOW_AS_DEPENDENCY" : "BLOCK"

  global_filter {
    key    = "PRODUCT"
    values = ["Debian12"]
  }
  global_filter {
    key    = "SECTION"
    values = ["*"]
  }

  approval_rule {
    approve_after_days  = 0
    compliance_level    = var.stage == "second" ? "MEDIUM" : "HIGH"
    enable_non_security = true
    patch_filter {
      key    = "PRODUCT"
      values = ["Debian12"]
    }
    patch_filter {
      key    = "PRIORITY"
      values = ["Required", "Important"]
    }
  }
  approval_rule {
    approve_after_days = 7
    patch_filter {
      key    = "SECTION"
      values = ["net", "web"]
    }
  }

  source {
    name          = "internal"
    products      = ["Debian12"]
    configuration = "deb https://packages.example.com/debian bookworm ${var.stage}"
  }
  source {
    name          = "everywhere"
    products      = ["*"]
    configuration = "deb https://packages.example.com/tools bookworm main"
  }

  tags = {
    Stage       = var.stage
    (var.stage) = "yes"
  }
}

resource "aws_ssm_patch_baseline" "amazon" {
  name             = "amazon-servers-${var.stage}"
  operating_system = "AMAZON_LINUX_2"
  approved_patches = ["CVE-2024-3094", "ALAS2-2024-2500", "kernel-*.x86_64"]

  approval_rule {
    approve_until_date = var.stage == "second" ? "2026-02-28" : "2026-01-31"
    compliance_level   = "CRITICAL"
    patch_filter {
      key    = "CLASSIFICATION"
      values = ["Security"]
    }
    patch_filter {
      key    = "SEVERITY"
      values = ["Critical", "Important"]
    }
  }
}

# The operating system is not said: Windows.
resource "aws_ssm_patch_baseline" "windows" {
  name             = "windows-servers"
  approved_patches = ["KB2032276", "MS10-048"]
  rejected_patches = ["KB999999"]

  global_filter {
    key    = "PRODUCT"
    values = ["WindowsServer2022"]
  }

  approval_rule {
    approve_after_days = var.stage == "second" ? 0 : 7
    patch_filter {
      key    = "PATCH_SET"
      values = ["OS"]
    }
    patch_filter {
      key    = "MSRC_SEVERITY"
      values = ["Critical", "Important"]
    }
  }
}

resource "aws_ssm_default_patch_baseline" "debian" {
  baseline_id      = aws_ssm_patch_baseline.debian.id
  operating_system = "DEBIAN"
}

resource "aws_ssm_patch_group" "web" {
  baseline_id = aws_ssm_patch_baseline.debian.id
  patch_group = "web"
}

resource "aws_ssm_patch_group" "web_windows" {
  baseline_id = aws_ssm_patch_baseline.windows.id
  patch_group = "web"
}

resource "aws_ssm_activation" "web" {
  name               = "web"
  description        = "hosts of the web tier"
  iam_role           = "fleet"
  registration_limit = 5
  expiration_date    = var.expires_at
  tags               = { PatchGroup = "web" }
}

# Without its limit the provider would see a change each time, on AWS too: it takes the answer's 1 for one.
resource "aws_ssm_activation" "minimal" {
  iam_role           = "fleet"
  registration_limit = 1
}

data "aws_ssm_patch_baseline" "predefined" {
  owner            = "AWS"
  name_prefix      = "AWS-"
  operating_system = "UBUNTU"
  default_baseline = true
}

data "aws_ssm_patch_baseline" "own" {
  owner            = "Self"
  operating_system = aws_ssm_patch_baseline.amazon.operating_system
  name_prefix      = aws_ssm_patch_baseline.amazon.name
}

output "debian" {
  value = aws_ssm_patch_baseline.debian.id
}

output "amazon" {
  value = aws_ssm_patch_baseline.amazon.id
}

output "own" {
  value = data.aws_ssm_patch_baseline.own.id
}

output "predefined" {
  value = data.aws_ssm_patch_baseline.predefined.id
}

output "activation" {
  value = aws_ssm_activation.web.id
}

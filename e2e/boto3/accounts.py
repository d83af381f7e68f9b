"""Copies of recovery points into vaults of another account through boto3, and back.

Run by the Go tests of this folder with the environment of story.py, on a server with a second account, whose administrator's
key is in a profile of its name. Rests on
https://docs.aws.amazon.com/aws-backup/latest/devguide/create-cross-account-backup.html,
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_UpdateGlobalSettings.html and
https://docs.aws.amazon.com/aws-backup/latest/devguide/create-a-vault-access-policy.html
"""

import json
import sys

import boto3
import botocore.config

from copies import ended, order, vault_arn
from common import (ACCOUNT, BACKUP, DATA, ENDPOINT, RESOURCE, ROLE, VAULT, assert_same, back_up, gone, refused, restore,
                   restored_directories, step, wait)

THEM = "111111111111"
THEIRS = boto3.Session(profile_name=THEM).client("backup", endpoint_url=ENDPOINT, region_name="us-east-1",
                                                 config=botocore.config.Config(retries={"max_attempts": 1}))
THEIR_ROLE = f"arn:aws:iam::{THEM}:role/service-role/AWSBackupDefaultServiceRole"
LINKED_ROLE = f"arn:aws:iam::{THEM}:role/aws-service-role/backup.amazonaws.com/AWSServiceRoleForBackup"
REFUGE = VAULT + "-refuge"
OFF = {"isCrossAccountBackupEnabled": "false", "isMpaEnabled": "false", "isDelegatedAdministratorEnabled": "false"}


def abroad(point):
    return order(point, vault_arn(REFUGE, account=THEM))


def admit(client, vault, principal, effect="Allow"):
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": effect, "Principal": {"AWS": principal},
                                                      "Action": "backup:CopyIntoBackupVault", "Resource": "*"}]}
    client.put_backup_vault_access_policy(BackupVaultName=vault, Policy=json.dumps(policy))


def failed(point, category, text):
    job = ended(BACKUP.start_copy_job(**abroad(point))["CopyJobId"])
    assert job["State"] == "FAILED" and job["MessageCategory"] == category and text in job["StatusMessage"], job
    assert "DestinationRecoveryPointArn" not in job, job


def settings():
    step("global settings: the management account makes them, for all accounts")
    before = BACKUP.describe_global_settings()
    assert before["GlobalSettings"] == OFF, before
    on = {"isCrossAccountBackupEnabled": "true"}
    refused("InvalidRequestException", THEIRS.update_global_settings, GlobalSettings=on)
    refused("InvalidParameterValueException", BACKUP.update_global_settings, GlobalSettings={"isCrossAccountBackupEnabled": "yes"})
    refused("InvalidParameterValueException", BACKUP.update_global_settings, GlobalSettings={"isAnything": "true"})
    refused("InvalidRequestException", BACKUP.update_global_settings, GlobalSettings={**on, "isMpaEnabled": "true"})
    assert BACKUP.describe_global_settings()["GlobalSettings"] == OFF
    BACKUP.update_global_settings(GlobalSettings=on)
    for client in (BACKUP, THEIRS):
        after = client.describe_global_settings()
        assert after["GlobalSettings"] == {**OFF, **on} and after["LastUpdateTime"], after


def denied(point):
    step("no copy into a vault that does not admit it, nor before it is enabled")
    refused("AccessDeniedException", BACKUP.start_copy_job, status=403, text="backup:CopyIntoBackupVault", **abroad(point))
    admit(THEIRS, REFUGE, "222222222222")
    refused("AccessDeniedException", BACKUP.start_copy_job, status=403, **abroad(point))
    admit(THEIRS, REFUGE, f"arn:aws:iam::{ACCOUNT}:root", "Deny")
    refused("AccessDeniedException", BACKUP.start_copy_job, status=403, **abroad(point))
    admit(THEIRS, REFUGE, f"arn:aws:iam::{ACCOUNT}:root")
    failed(point, "FEATURE_NOT_ENABLED", "is not enabled for the organization")
    refused("AccessDeniedException", BACKUP.start_copy_job, status=403, **order(point, vault_arn("absent", account=THEM)))
    assert THEIRS.describe_backup_vault(BackupVaultName=REFUGE)["NumberOfRecoveryPoints"] == 0


def role_denied(point):
    step("the vault has to admit the role, too")
    caller = boto3.client("sts", endpoint_url=ENDPOINT, region_name="us-east-1").get_caller_identity()["Arn"]
    admit(THEIRS, REFUGE, caller)
    failed(point, "ACCESS_DENIED", "Access Denied trying to call AWS Backup service")
    admit(THEIRS, REFUGE, f"arn:aws:iam::{ACCOUNT}:root")


def copied(point):
    step("a copy belongs to the other account, its job to this one")
    source = BACKUP.describe_recovery_point(BackupVaultName=VAULT, RecoveryPointArn=point)
    job = ended(BACKUP.start_copy_job(**abroad(point))["CopyJobId"])
    assert job["State"] == "COMPLETED" and job["AccountId"] == ACCOUNT and job["IamRoleArn"] == ROLE, job
    made = job["DestinationRecoveryPointArn"]
    assert made.split(":")[4] == THEM, job
    copy = THEIRS.describe_recovery_point(BackupVaultName=REFUGE, RecoveryPointArn=made)
    assert copy["Status"] == "COMPLETED" and copy["IamRoleArn"] == LINKED_ROLE, copy
    assert copy["SourceBackupVaultArn"] == vault_arn(VAULT), copy
    for field in ("CreationDate", "BackupSizeInBytes", "ResourceArn", "ResourceType", "Lifecycle", "CalculatedLifecycle"):
        assert copy[field] == source[field], (field, copy, source)
    assert THEIRS.list_copy_jobs()["CopyJobs"] == []
    refused("ResourceNotFoundException", THEIRS.describe_copy_job, CopyJobId=job["CopyJobId"])
    refused("AccessDeniedException", BACKUP.delete_recovery_point, status=403, BackupVaultName=REFUGE, RecoveryPointArn=made)
    refused("AccessDeniedException", THEIRS.delete_recovery_point, status=403, BackupVaultName=VAULT, RecoveryPointArn=point)
    (listed,) = THEIRS.list_recovery_points_by_resource(ResourceArn=RESOURCE)["RecoveryPoints"]
    assert listed["RecoveryPointArn"] == made, listed
    return made


def back(point, made):
    step("after the deletion of its source a copy is copied back and restores")
    BACKUP.delete_recovery_point(BackupVaultName=VAULT, RecoveryPointArn=point)
    gone(VAULT, point)
    admit(BACKUP, VAULT, f"arn:aws:iam::{THEM}:root")
    started = THEIRS.start_copy_job(RecoveryPointArn=made, SourceBackupVaultName=REFUGE, DestinationBackupVaultArn=vault_arn(VAULT),
                                    IamRoleArn=THEIR_ROLE)
    job = wait(lambda: THEIRS.describe_copy_job(CopyJobId=started["CopyJobId"])["CopyJob"],
               lambda j: j["State"] in ("COMPLETED", "FAILED"), "copy job")
    assert job["State"] == "COMPLETED", job
    before = restored_directories()
    restore(job["DestinationRecoveryPointArn"])
    (landed,) = restored_directories() - before
    assert_same(DATA, landed)
    THEIRS.delete_recovery_point(BackupVaultName=REFUGE, RecoveryPointArn=made)
    wait(lambda: THEIRS.describe_backup_vault(BackupVaultName=REFUGE)["NumberOfRecoveryPoints"], lambda n: n == 0, "deletion of the copy")


def main():
    BACKUP.create_backup_vault(BackupVaultName=VAULT)
    THEIRS.create_backup_vault(BackupVaultName=REFUGE)
    point = back_up(Lifecycle={"DeleteAfterDays": 30})["RecoveryPointArn"]
    denied(point)
    settings()
    role_denied(point)
    back(point, copied(point))
    step("done")


if __name__ == "__main__":
    sys.exit(main())

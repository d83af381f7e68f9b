"""Copies of recovery points through boto3, between two vaults of an account.

Run by the Go tests of this folder with the environment of story.py. Rests on
https://docs.aws.amazon.com/aws-backup/latest/devguide/recov-point-create-a-copy.html and
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_StartCopyJob.html
"""

import datetime
import json
import sys
import uuid

from common import (ACCOUNT, BACKUP, DATA, RESOURCE, ROLE, SESSION, VAULT, ENDPOINT, assert_same, back_up, gone, refused, restore,
                   restored_directories, step, wait)

OFFSITE = VAULT + "-offsite"


def vault_arn(name, region="us-east-1", account=ACCOUNT):
    return f"arn:aws:backup:{region}:{account}:backup-vault:{name}"


def order(point, to=vault_arn(OFFSITE), **more):
    return {"RecoveryPointArn": point, "SourceBackupVaultName": VAULT, "DestinationBackupVaultArn": to, "IamRoleArn": ROLE, **more}


def ended(job_id):
    return wait(lambda: BACKUP.describe_copy_job(CopyJobId=job_id)["CopyJob"],
                lambda j: j["State"] in ("COMPLETED", "FAILED", "PARTIAL"), "copy job")


def copied(point, **more):
    started = BACKUP.start_copy_job(**order(point, **more))
    assert started["CopyJobId"] and started["CreationDate"] and started["IsParent"] is False, started
    job = ended(started["CopyJobId"])
    assert job["State"] == "COMPLETED" and job["MessageCategory"] == "SUCCESS" and not job.get("StatusMessage"), job
    return job


def fields(point):
    step("a copy keeps creation date, tags and retention, and tells where it comes from")
    BACKUP.tag_resource(ResourceArn=point, Tags={"team": "blue"})
    source = BACKUP.describe_recovery_point(BackupVaultName=VAULT, RecoveryPointArn=point)
    job = copied(point)
    assert job["AccountId"] == ACCOUNT and job["IamRoleArn"] == ROLE and job["IsParent"] is False, job
    assert job["SourceBackupVaultArn"] == vault_arn(VAULT) and job["SourceRecoveryPointArn"] == point, job
    assert job["DestinationBackupVaultArn"] == vault_arn(OFFSITE) and job["DestinationVaultType"] == "BACKUP_VAULT", job
    assert job["ResourceArn"] == RESOURCE and job["ResourceType"] == "EFS", job
    assert job["BackupSizeInBytes"] == source["BackupSizeInBytes"] and job["CompletionDate"] >= job["CreationDate"], job
    assert job["DestinationRecoveryPointLifecycle"] == {"DeleteAfterDays": 30}, job
    made = job["DestinationRecoveryPointArn"]
    copy = BACKUP.describe_recovery_point(BackupVaultName=OFFSITE, RecoveryPointArn=made)
    assert copy["Status"] == "COMPLETED" and copy["SourceBackupVaultArn"] == vault_arn(VAULT), copy
    for field in ("CreationDate", "BackupSizeInBytes", "ResourceArn", "ResourceType", "Lifecycle", "CalculatedLifecycle"):
        assert copy[field] == source[field], (field, copy, source)
    assert "SourceBackupVaultArn" not in source, source
    assert BACKUP.list_tags(ResourceArn=made)["Tags"] == BACKUP.list_tags(ResourceArn=point)["Tags"]
    (listed,) = BACKUP.list_recovery_points_by_backup_vault(BackupVaultName=OFFSITE)["RecoveryPoints"]
    assert listed["RecoveryPointArn"] == made and listed["SourceBackupVaultArn"] == vault_arn(VAULT), listed
    return job


def lifecycles(point):
    step("the lifecycle of a copy: another one, or -1 and none for that of the source")
    for given, want in (({"DeleteAfterDays": 365}, 365), ({"DeleteAfterDays": -1}, 30), ({}, 30)):
        made = copied(point, Lifecycle=given)["DestinationRecoveryPointArn"]
        copy = BACKUP.describe_recovery_point(BackupVaultName=OFFSITE, RecoveryPointArn=made)
        assert copy["Lifecycle"] == {"DeleteAfterDays": want}, (given, copy)
        assert copy["CalculatedLifecycle"]["DeleteAt"] - copy["CreationDate"] == datetime.timedelta(days=want), copy
        BACKUP.delete_recovery_point(BackupVaultName=OFFSITE, RecoveryPointArn=made)
        gone(OFFSITE, made)


def refusals(point):
    step("what cannot be copied")
    start = BACKUP.start_copy_job
    absent = f"arn:aws:backup:us-east-1:{ACCOUNT}:recovery-point:{uuid.uuid4()}"
    refused("ResourceNotFoundException", start, **order(absent))
    refused("ResourceNotFoundException", start, **order(point, SourceBackupVaultName="absent-vault"))
    refused("ResourceNotFoundException", start, **order(point, SourceBackupVaultName=OFFSITE))
    refused("ResourceNotFoundException", start, **order(point, vault_arn("absent-vault")))
    refused("InvalidParameterValueException", start, **order(point, "arn:aws:ec2:us-east-1::snapshot/snap-1"))
    refused("InvalidRequestException", start, **order(point, vault_arn(VAULT)))
    refused("InvalidParameterValueException", start, text="cannot be assumed by AWS Backup",
            **order(point, IamRoleArn=f"arn:aws:iam::{ACCOUNT}:role/absent"))
    refused("AccessDeniedException", start, status=403, **order(point, vault_arn("theirs", account="210987654321")))
    refused("ResourceNotFoundException", BACKUP.describe_copy_job, CopyJobId=str(uuid.uuid4()))

    deny = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": "*", "Action": "backup:CopyIntoBackupVault", "Resource": "*"}]}
    BACKUP.put_backup_vault_access_policy(BackupVaultName=OFFSITE, Policy=json.dumps(deny))
    refused("AccessDeniedException", start, status=403, text="backup:CopyIntoBackupVault", **order(point))
    BACKUP.delete_backup_vault_access_policy(BackupVaultName=OFFSITE)


def tokens(point):
    step("a token starts one job")
    token = "copy-" + VAULT
    first = BACKUP.start_copy_job(**order(point, IdempotencyToken=token))
    second = BACKUP.start_copy_job(**order(point, IdempotencyToken=token))
    assert first["CopyJobId"] == second["CopyJobId"], (first, second)
    refused("InvalidParameterValueException", BACKUP.start_copy_job, **order(point, IdempotencyToken=token, Lifecycle={"DeleteAfterDays": 5}))
    return ended(first["CopyJobId"])


def lists(point, jobs):
    step("lists: newest first, filters, pages")
    def listed(**filters):
        pages = BACKUP.get_paginator("list_copy_jobs").paginate(PaginationConfig={"PageSize": 2}, **filters)
        return [j["CopyJobId"] for page in pages for j in page["CopyJobs"]]
    everything = listed()
    assert len(everything) == len(set(everything)) and everything[0] == jobs[-1]["CopyJobId"], everything
    for filters in ({"ByState": "COMPLETED"}, {"ByDestinationVaultArn": vault_arn(OFFSITE)}, {"ByResourceArn": RESOURCE},
                    {"ByResourceType": "EFS"}, {"BySourceRecoveryPointArn": point}, {"ByAccountId": ACCOUNT},
                    {"ByMessageCategory": "SUCCESS"}, {"ByCreatedAfter": jobs[0]["CreationDate"] - datetime.timedelta(days=1)}):
        assert listed(**filters) == everything, filters
    for filters in ({"ByState": "FAILED"}, {"ByDestinationVaultArn": vault_arn(VAULT)}, {"ByResourceType": "EBS"},
                    {"ByParentJobId": jobs[0]["CopyJobId"]}, {"ByMessageCategory": "ACCESS_DENIED"},
                    {"ByCompleteBefore": jobs[0]["CreationDate"]}):
        assert listed(**filters) == [], filters
    refused("InvalidParameterValueException", BACKUP.list_copy_jobs, NextToken="foreign")


def another_region(point):
    step("a vault of another region")
    far = SESSION.client("backup", endpoint_url=ENDPOINT, region_name="eu-west-1")
    far.create_backup_vault(BackupVaultName=OFFSITE)
    made = copied(point, to=vault_arn(OFFSITE, "eu-west-1"))["DestinationRecoveryPointArn"]
    assert far.describe_recovery_point(BackupVaultName=OFFSITE, RecoveryPointArn=made)["Status"] == "COMPLETED"
    assert far.list_copy_jobs()["CopyJobs"] == [], "a copy job belongs to the region of its source"


def independent(point, made):
    step("T-03 after the deletion of its source a copy restores")
    BACKUP.delete_recovery_point(BackupVaultName=VAULT, RecoveryPointArn=point)
    gone(VAULT, point)
    before = restored_directories()
    restore(made)
    (landed,) = restored_directories() - before
    assert_same(DATA, landed)
    assert BACKUP.describe_backup_vault(BackupVaultName=OFFSITE)["NumberOfRecoveryPoints"] == 2


def main():
    for name in (VAULT, OFFSITE):
        BACKUP.create_backup_vault(BackupVaultName=name)
    point = back_up(Lifecycle={"DeleteAfterDays": 30})["RecoveryPointArn"]
    first = fields(point)
    lifecycles(point)
    refusals(point)
    lists(point, [first, tokens(point)])
    another_region(point)
    independent(point, first["DestinationRecoveryPointArn"])
    step("done")


if __name__ == "__main__":
    sys.exit(main())

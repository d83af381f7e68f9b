"""Composite recovery points through boto3: a group of two directories, of which RESOURCE_ARN is the group.

Rests on https://docs.aws.amazon.com/aws-backup/latest/devguide/applicationstackbackups.html and
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DisassociateRecoveryPointFromParent.html
"""

import shutil
import sys
import uuid

from common import ACCOUNT, BACKUP, DATA, RESOURCE, ROLE, VAULT, assert_same, gone, refused, restored_directories, step, wait


def point(arn):
    return BACKUP.describe_recovery_point(BackupVaultName=VAULT, RecoveryPointArn=arn)


def children(parent):
    pages = BACKUP.get_paginator("list_recovery_points_by_backup_vault").paginate(
        BackupVaultName=VAULT, ByParentRecoveryPointArn=parent)
    return {p["CompositeMemberIdentifier"]: p for page in pages for p in page["RecoveryPoints"]}


def back_up(want):
    started = BACKUP.start_backup_job(BackupVaultName=VAULT, ResourceArn=RESOURCE, IamRoleArn=ROLE,
                                      Lifecycle={"DeleteAfterDays": 7})
    assert started["IsParent"], started
    job = wait(lambda: BACKUP.describe_backup_job(BackupJobId=started["BackupJobId"]),
               lambda j: j["State"] in ("COMPLETED", "PARTIAL", "FAILED", "ABORTED", "EXPIRED"), "backup job")
    assert job["State"] == want and job["IsParent"] and job["NumberOfChildJobs"] == 2, job
    jobs = BACKUP.list_backup_jobs(ByParentJobId=job["BackupJobId"])["BackupJobs"]
    assert len(jobs) == 2 and all(j["ParentJobId"] == job["BackupJobId"] for j in jobs), jobs
    return job


def made():
    step("a group makes a parent with a child for each member")
    assert "CloudFormation" in BACKUP.get_supported_resource_types()["ResourceTypes"]
    parent = back_up("COMPLETED")["RecoveryPointArn"]
    p, nested = point(parent), children(parent)
    assert p["Status"] == "COMPLETED" and p["IsParent"] and p["ResourceType"] == "CloudFormation", p
    assert sorted(nested) == ["crm", "web"], nested
    for child in nested.values():
        assert child["ParentRecoveryPointArn"] == parent and not child["IsParent"] and child["Status"] == "COMPLETED", child
    assert RESOURCE in [r["ResourceArn"] for r in BACKUP.list_protected_resources()["Results"]]
    return parent, nested["web"], nested["crm"]


def copied(parent, web):
    step("a copy of the parent has a copy of each child; a child is copied alone, too")
    offsite = VAULT + "-offsite"
    BACKUP.create_backup_vault(BackupVaultName=offsite)

    def copy(source):
        started = BACKUP.start_copy_job(RecoveryPointArn=source, SourceBackupVaultName=VAULT, IamRoleArn=ROLE,
                                        DestinationBackupVaultArn=f"arn:aws:backup:us-east-1:{ACCOUNT}:backup-vault:{offsite}")
        job = wait(lambda: BACKUP.describe_copy_job(CopyJobId=started["CopyJobId"])["CopyJob"],
                   lambda j: j["State"] in ("COMPLETED", "FAILED", "PARTIAL"), "copy job")
        assert job["State"] == "COMPLETED" and job["IsParent"] == started["IsParent"], job
        return job

    def at(arn):
        return BACKUP.describe_recovery_point(BackupVaultName=offsite, RecoveryPointArn=arn)

    job = copy(parent)
    assert job["IsParent"] and job["NumberOfChildJobs"] == 2 and job["ChildJobsInState"] == {"COMPLETED": 2}, job
    whole = at(job["DestinationRecoveryPointArn"])
    assert whole["IsParent"] and whole["Status"] == "COMPLETED" and whole["CreationDate"] == point(parent)["CreationDate"], whole
    jobs = BACKUP.list_copy_jobs(ByParentJobId=job["CopyJobId"])["CopyJobs"]
    assert sorted(j["CompositeMemberIdentifier"] for j in jobs) == ["crm", "web"], jobs
    for j in jobs:
        assert j["State"] == "COMPLETED" and at(j["DestinationRecoveryPointArn"])["ParentRecoveryPointArn"] == whole["RecoveryPointArn"], j
    alone = copy(web["RecoveryPointArn"])
    assert not alone["IsParent"] and "ParentRecoveryPointArn" not in at(alone["DestinationRecoveryPointArn"]), alone


def restored(parent, web):
    step("a child can be restored, the parent cannot")
    metadata = BACKUP.get_recovery_point_restore_metadata(
        BackupVaultName=VAULT, RecoveryPointArn=web["RecoveryPointArn"])["RestoreMetadata"]
    started = BACKUP.start_restore_job(RecoveryPointArn=web["RecoveryPointArn"], IamRoleArn=ROLE,
                                       Metadata={**metadata, "newFileSystem": "false", "CreationToken": str(uuid.uuid4())})
    job = wait(lambda: BACKUP.describe_restore_job(RestoreJobId=started["RestoreJobId"]),
               lambda j: j["Status"] in ("COMPLETED", "FAILED", "ABORTED"), "restore job")
    assert job["Status"] == "COMPLETED", job
    (landed,) = restored_directories()
    assert_same(DATA, landed)
    shutil.rmtree(landed)
    refused("InvalidRequestException", BACKUP.start_restore_job, text="Restore its members", RecoveryPointArn=parent,
            IamRoleArn=ROLE, Metadata={"StackName": "shop", "ChangeSetName": "x"})


def retention(parent, web, crm):
    step("the retention of a parent is the longest of its children")
    for arn, days, want in ((web, 30, 30), (crm, 60, 60), (crm, 5, 30)):
        BACKUP.update_recovery_point_lifecycle(BackupVaultName=VAULT, RecoveryPointArn=arn, Lifecycle={"DeleteAfterDays": days})
        assert point(parent)["Lifecycle"]["DeleteAfterDays"] == want, point(parent)
    refused("InvalidRequestException", BACKUP.update_recovery_point_lifecycle, BackupVaultName=VAULT,
            RecoveryPointArn=parent, Lifecycle={"DeleteAfterDays": 3})


def deleted(parent, web, crm):
    step("a parent is deleted after its children")
    refused("InvalidRequestException", BACKUP.delete_recovery_point, BackupVaultName=VAULT, RecoveryPointArn=parent)
    assert point(parent)["Status"] == "COMPLETED"
    BACKUP.delete_recovery_point(BackupVaultName=VAULT, RecoveryPointArn=web)
    gone(VAULT, web)
    p = point(parent)
    assert p["Status"] == "PARTIAL" and "web" in p["StatusMessage"], p
    refused("InvalidRequestException", BACKUP.delete_recovery_point, BackupVaultName=VAULT, RecoveryPointArn=parent)
    BACKUP.delete_recovery_point(BackupVaultName=VAULT, RecoveryPointArn=crm)
    gone(VAULT, crm)
    assert point(parent)["Status"] == "PARTIAL"
    BACKUP.delete_recovery_point(BackupVaultName=VAULT, RecoveryPointArn=parent)
    gone(VAULT, parent)


def disassociated():
    step("a child that is disassociated stays, and so does the parent")
    parent, web, crm = made()
    arn = web["RecoveryPointArn"]
    unlink = BACKUP.disassociate_recovery_point_from_parent
    answer = unlink(BackupVaultName=VAULT, RecoveryPointArn=arn)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204, answer
    assert list(children(parent)) == ["crm"] and point(parent)["Status"] == "PARTIAL", point(parent)
    p = point(arn)
    assert p["Status"] == "COMPLETED" and not p.get("ParentRecoveryPointArn"), p
    refused("InvalidRequestException", unlink, BackupVaultName=VAULT, RecoveryPointArn=arn)
    refused("InvalidRequestException", unlink, BackupVaultName=VAULT, RecoveryPointArn=parent)
    refused("ResourceNotFoundException", unlink, BackupVaultName=VAULT, RecoveryPointArn=arn[:-4] + "ffff")
    unlink(BackupVaultName=VAULT, RecoveryPointArn=crm["RecoveryPointArn"])
    BACKUP.delete_recovery_point(BackupVaultName=VAULT, RecoveryPointArn=parent)
    gone(VAULT, parent)
    assert point(arn)["Status"] == "COMPLETED"


def partial():
    step("a member that cannot be backed up makes a parent PARTIAL")
    shutil.rmtree(DATA)
    job = back_up("PARTIAL")
    assert "Member web was not backed up" in job["StatusMessage"], job
    assert job["ChildJobsInState"] == {"COMPLETED": 1, "FAILED": 1}, job
    p = point(job["RecoveryPointArn"])
    assert p["Status"] == "PARTIAL" and "web" in p["StatusMessage"], p
    assert list(children(job["RecoveryPointArn"])) == ["crm"]


def main():
    BACKUP.create_backup_vault(BackupVaultName=VAULT)
    parent, web, crm = made()
    copied(parent, web)
    restored(parent, web)
    retention(parent, web["RecoveryPointArn"], crm["RecoveryPointArn"])
    deleted(parent, web["RecoveryPointArn"], crm["RecoveryPointArn"])
    disassociated()
    partial()
    step("done")


if __name__ == "__main__":
    sys.exit(main())

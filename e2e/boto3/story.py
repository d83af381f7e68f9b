"""The main job through boto3: a directory is backed up, restored and deleted.

Run by story_test.go with AWS_ENDPOINT_URL, credentials and what a story consists of in the environment, and with
the part to go through, "work" or "end". The test compares what is restored. Rests on the operation pages of
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_Operations.html
"""

import json
import os
import pathlib
import subprocess
import sys
import threading
import urllib.parse
import uuid

import botocore.exceptions

from common import ACCOUNT, BACKUP, DATA, RESOURCE, ROLE, VAULT, back_up, gone, raw, refused, restore, step


def restore_as(name, arn, **metadata):
    """Restores, and moves the directory that this makes to its name among what the test compares."""
    job = restore(arn, **metadata)
    (made,) = DATA.glob("aws-backup-restore_*")
    made.rename(pathlib.Path(os.environ["RESTORED"]) / name)
    return job


def vaults():
    step("vaults: create, describe, list, errors")
    made = BACKUP.create_backup_vault(BackupVaultName=VAULT, BackupVaultTags={"team": "größe"})
    assert made["BackupVaultArn"] == f"arn:aws:backup:us-east-1:{ACCOUNT}:backup-vault:{VAULT}", made
    described = BACKUP.describe_backup_vault(BackupVaultName=VAULT)
    assert described["NumberOfRecoveryPoints"] == 0 and described["Locked"] is False, described
    assert BACKUP.list_tags(ResourceArn=made["BackupVaultArn"])["Tags"] == {"team": "größe"}
    again = refused("AlreadyExistsException", BACKUP.create_backup_vault, BackupVaultName=VAULT)
    assert again["Arn"] == made["BackupVaultArn"], again
    assert VAULT in [v["BackupVaultName"] for v in BACKUP.list_backup_vaults()["BackupVaultList"]]
    refused("ResourceNotFoundException", BACKUP.describe_backup_vault, BackupVaultName="absent-vault")
    refused("ResourceNotFoundException", BACKUP.delete_backup_vault, BackupVaultName="absent-vault")
    refused("InvalidParameterValueException", BACKUP.create_backup_vault, BackupVaultName="x!!")
    return made["BackupVaultArn"]


def backups():
    step("backup, change, backup again")
    first = back_up(RecoveryPointTags={"kind": "first"}, IdempotencyToken="story-" + VAULT)
    same = BACKUP.start_backup_job(BackupVaultName=VAULT, ResourceArn=RESOURCE, IamRoleArn=ROLE,
                                   RecoveryPointTags={"kind": "first"}, IdempotencyToken="story-" + VAULT)
    assert same["BackupJobId"] == first["BackupJobId"], same
    subprocess.run(["sh", "change.sh"], check=True)
    second = back_up(Lifecycle={"DeleteAfterDays": 30})
    assert first["RecoveryPointArn"] != second["RecoveryPointArn"]

    point = BACKUP.describe_recovery_point(BackupVaultName=VAULT, RecoveryPointArn=second["RecoveryPointArn"])
    assert point["Status"] == "COMPLETED" and point["ResourceArn"] == RESOURCE and point["ResourceType"] == "EFS", point
    kept = point["CalculatedLifecycle"]["DeleteAt"] - point["CreationDate"]
    assert kept.days == 30 and kept.seconds == 0, point
    assert BACKUP.list_tags(ResourceArn=first["RecoveryPointArn"])["Tags"]["kind"] == "first"
    assert BACKUP.describe_backup_vault(BackupVaultName=VAULT)["NumberOfRecoveryPoints"] == 2
    refused("InvalidRequestException", BACKUP.delete_backup_vault, BackupVaultName=VAULT,
            text="Backup vault cannot be deleted because it contains recovery points.")
    assert RESOURCE in [r["ResourceArn"] for r in BACKUP.list_protected_resources()["Results"]]
    assert BACKUP.describe_protected_resource(ResourceArn=RESOURCE)["ResourceType"] == "EFS"
    jobs = BACKUP.list_backup_jobs(ByBackupVaultName=VAULT, ByState="COMPLETED")["BackupJobs"]
    assert [j["BackupJobId"] for j in jobs] == [second["BackupJobId"], first["BackupJobId"]], jobs
    assert "EFS" in BACKUP.get_supported_resource_types()["ResourceTypes"]
    refused("ResourceNotFoundException", BACKUP.start_backup_job, BackupVaultName="absent-vault",
            ResourceArn=RESOURCE, IamRoleArn=ROLE)
    refused("InvalidParameterValueException", BACKUP.start_backup_job, BackupVaultName=VAULT,
            ResourceArn="foo", IamRoleArn=ROLE)
    refused("InvalidParameterValueException", BACKUP.start_backup_job, BackupVaultName=VAULT, ResourceArn=RESOURCE,
            IamRoleArn=f"arn:aws:iam::{ACCOUNT}:role/absent", text="cannot be assumed by AWS Backup")
    return first["RecoveryPointArn"], second["RecoveryPointArn"]


def paging():
    step("paging is stable")
    pages = BACKUP.get_paginator("list_recovery_points_by_backup_vault").paginate(
        BackupVaultName=VAULT, PaginationConfig={"PageSize": 1})
    listed = [p["RecoveryPointArn"] for page in pages for p in page["RecoveryPoints"]]
    assert len(listed) == 2 and len(set(listed)) == 2, listed
    refused("InvalidParameterValueException", BACKUP.list_recovery_points_by_backup_vault,
            BackupVaultName=VAULT, NextToken="foreign")
    by_resource = BACKUP.list_recovery_points_by_resource(ResourceArn=RESOURCE)["RecoveryPoints"]
    assert set(listed) <= {p["RecoveryPointArn"] for p in by_resource}, by_resource


def restores(first, second):
    step("restore both recovery points whole")
    metadata = BACKUP.get_recovery_point_restore_metadata(BackupVaultName=VAULT, RecoveryPointArn=second)
    assert metadata["RestoreMetadata"]["file-system-id"] == RESOURCE.rsplit("/", 1)[1], metadata
    restore_as("first", first)
    job = restore_as("second", second)
    if hasattr(BACKUP, "get_restore_job_metadata"):  # unknown to older clients
        assert BACKUP.get_restore_job_metadata(RestoreJobId=job["RestoreJobId"])["Metadata"]["newFileSystem"] == "false"

    step("restore one item of the first")
    restore_as("item", first, ItemsToRestore=json.dumps([os.environ["ITEM"]]))
    if hasattr(BACKUP, "list_restore_jobs_by_protected_resource"):
        by_resource = BACKUP.list_restore_jobs_by_protected_resource(ResourceArn=RESOURCE)["RestoreJobs"]
        assert job["RestoreJobId"] in [j["RestoreJobId"] for j in by_resource]
    refused("InvalidParameterValueException", BACKUP.start_restore_job, RecoveryPointArn=first, IamRoleArn=ROLE,
            Metadata={"file-system-id": RESOURCE.rsplit("/", 1)[1], "newFileSystem": "false", "Colour": "red"}, text="Colour")


def lifecycle(arn):
    step("lifecycle: what is left out becomes absent; a past date is refused")
    updated = BACKUP.update_recovery_point_lifecycle(
        BackupVaultName=VAULT, RecoveryPointArn=arn, Lifecycle={"DeleteAfterDays": 10})
    assert updated["Lifecycle"] == {"DeleteAfterDays": 10}, updated
    BACKUP.update_recovery_point_lifecycle(BackupVaultName=VAULT, RecoveryPointArn=arn, Lifecycle={})
    point = BACKUP.describe_recovery_point(BackupVaultName=VAULT, RecoveryPointArn=arn)
    assert not point.get("Lifecycle") and not point.get("CalculatedLifecycle"), point
    refused("InvalidParameterValueException", BACKUP.update_recovery_point_lifecycle, BackupVaultName=VAULT,
            RecoveryPointArn=arn, Lifecycle={"DeleteAfterDays": 0})


def tags(arn):
    step("tags of a recovery point")
    BACKUP.tag_resource(ResourceArn=arn, Tags={"a": "1", "b": "2"})
    BACKUP.untag_resource(ResourceArn=arn, TagKeyList=["a"])
    have = BACKUP.list_tags(ResourceArn=arn)["Tags"]
    assert have.get("b") == "2" and "a" not in have, have


def deletion(first):
    step("DeleteRecoveryPoint: errors")
    refused("InvalidParameterValueException", BACKUP.delete_recovery_point, BackupVaultName="x!!", RecoveryPointArn=first)
    refused("InvalidParameterValueException", BACKUP.delete_recovery_point, BackupVaultName=VAULT, RecoveryPointArn="foo")
    refused("ResourceNotFoundException", BACKUP.delete_recovery_point, BackupVaultName=VAULT,
            RecoveryPointArn=f"arn:aws:backup:us-east-1:{ACCOUNT}:recovery-point:{uuid.uuid4()}")
    refused("ResourceNotFoundException", BACKUP.delete_recovery_point, BackupVaultName=VAULT,
            RecoveryPointArn="arn:aws:ec2:us-east-1::snapshot/snap-0123456789abcdef0")
    refused("ResourceNotFoundException", BACKUP.delete_recovery_point, BackupVaultName="absent-vault", RecoveryPointArn=first)
    quoted = urllib.parse.quote(first, safe="")
    for path in (f"/backup-vaults//recovery-points/{quoted}", f"/backup-vaults/{VAULT}/recovery-points//"):
        status, headers, body = raw("DELETE", path)
        assert status == 400 and headers["x-amzn-ErrorType"] == "MissingParameterValueException", (path, status, body)

    step("DeleteRecoveryPoint: 200 with an empty body, then gone")
    status, headers, body = raw("DELETE", f"/backup-vaults/{VAULT}/recovery-points/{quoted}")
    assert status == 200 and body == b"" and "x-amzn-ErrorType" not in headers, (status, body)
    gone(VAULT, first)
    refused("ResourceNotFoundException", BACKUP.delete_recovery_point, BackupVaultName=VAULT, RecoveryPointArn=first)
    assert BACKUP.describe_backup_vault(BackupVaultName=VAULT)["NumberOfRecoveryPoints"] == 1


def end():
    step("the second restores without the first")
    (point,) = BACKUP.list_recovery_points_by_backup_vault(BackupVaultName=VAULT)["RecoveryPoints"]
    second = point["RecoveryPointArn"]
    restore_as("again", second)

    step("two deletions at once: one is accepted")
    results = []

    def attempt():
        try:
            BACKUP.delete_recovery_point(BackupVaultName=VAULT, RecoveryPointArn=second)
            results.append("accepted")
        except botocore.exceptions.ClientError as err:
            results.append(err.response["Error"]["Code"])
    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count("accepted") == 1, results
    assert set(results) <= {"accepted", "InvalidResourceStateException", "ResourceNotFoundException"}, results
    gone(VAULT, second)
    points = BACKUP.list_recovery_points_by_resource(ResourceArn=RESOURCE)["RecoveryPoints"]
    assert not [p for p in points if p["BackupVaultName"] == VAULT], points


def unimplemented():
    step("what Lockfast lacks says so")
    refused("UnknownOperationException", BACKUP.list_legal_holds)
    status, headers, _ = raw("GET", "/no/such/path")
    assert status == 404 and headers["x-amzn-ErrorType"] == "UnknownOperationException", status


def work():
    vaults()
    first, second = backups()
    paging()
    restores(first, second)
    lifecycle(second)
    tags(second)
    deletion(first)


def main():
    if sys.argv[1] == "work":
        work()
    else:
        end()
        BACKUP.delete_backup_vault(BackupVaultName=VAULT)
        refused("ResourceNotFoundException", BACKUP.describe_backup_vault, BackupVaultName=VAULT)
        unimplemented()
    step("done")


if __name__ == "__main__":
    sys.exit(main())

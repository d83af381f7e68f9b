"""The test catalogue of stored data through boto3: each rule that AWS documents, tried against the real server.

Run by the Go tests of this folder with the environment of story.py, on a server with a placement. Every function names
the item of the catalogue and the page that it rests on, below
https://docs.aws.amazon.com/aws-backup/latest/devguide/
"""

import datetime
import json
import sys
import uuid
import urllib.parse

from common import (ACCOUNT, BACKUP, DATA, RESOURCE, ROLE, VAULT, assert_same, back_up, gone, raw, refused, restore,
                   restored_directories, step, wait)

FILE_SYSTEM = RESOURCE.rsplit("/", 1)[1]
POINTS, PAGE = 2500, 1000  # recovery points of the test of pages


def point(arn, vault=VAULT):
    return BACKUP.describe_recovery_point(BackupVaultName=vault, RecoveryPointArn=arn)


def deleted_point():
    """T-01, T-21: API_DeleteRecoveryPoint.html"""
    step("T-01 a deletion answers 200 without a body, and the count falls with the row")
    arn = back_up()["RecoveryPointArn"]
    before = BACKUP.describe_backup_vault(BackupVaultName=VAULT)["NumberOfRecoveryPoints"]
    path = f"/backup-vaults/{VAULT}/recovery-points/{urllib.parse.quote(arn, safe='')}"
    status, headers, body = raw("DELETE", path)
    assert (status, body) == (200, b"") and not headers["x-amzn-ErrorType"] and headers["x-amzn-RequestId"], (status, body)
    gone(VAULT, arn)
    assert BACKUP.describe_backup_vault(BackupVaultName=VAULT)["NumberOfRecoveryPoints"] == before - 1
    refused("ResourceNotFoundException", BACKUP.delete_recovery_point, BackupVaultName=VAULT, RecoveryPointArn=arn)


def shared_chunks():
    """T-02: creating-a-backup.html (incremental backups)"""
    step("T-02 the second of two increments restores after the first is deleted")
    first = back_up()["RecoveryPointArn"]
    (DATA / "increment").write_bytes(b"increment" * 50_000)
    second = back_up()["RecoveryPointArn"]
    BACKUP.delete_recovery_point(BackupVaultName=VAULT, RecoveryPointArn=first)
    gone(VAULT, first)
    before = restored_directories()
    restore(second)
    (made,) = restored_directories() - before
    assert_same(DATA, made)
    return second


def errors_of_deletion(arn):
    """T-30 to T-33, T-64: API_DeleteRecoveryPoint.html"""
    step("T-30, T-31 what is not there is not found: unknown, native, in another vault, in no vault")
    other = VAULT + "-other"
    BACKUP.create_backup_vault(BackupVaultName=other)
    natives = ["arn:aws:ec2:us-east-1::snapshot/snap-0123456789abcdef0", "arn:aws:ec2:us-east-1::image/ami-0123456789abcdef0",
               f"arn:aws:rds:us-east-1:{ACCOUNT}:snapshot:awsbackup:job-{uuid.uuid4()}",
               f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/t/backup/01234567890123-01234567"]
    for vault, absent in [(other, arn), ("absent-vault", arn), (VAULT, arn[:-1] + "x"), *((VAULT, n) for n in natives)]:
        named = {"BackupVaultName": vault, "RecoveryPointArn": absent}
        for call in (BACKUP.delete_recovery_point, BACKUP.describe_recovery_point,
                     BACKUP.get_recovery_point_restore_metadata):
            refused("ResourceNotFoundException", call, **named)
        refused("ResourceNotFoundException", BACKUP.update_recovery_point_lifecycle, **named, Lifecycle={"DeleteAfterDays": 3})
    for native in natives:
        refused("InvalidParameterValueException", BACKUP.tag_resource, ResourceArn=native, Tags={"a": "b"})
    BACKUP.delete_backup_vault(BackupVaultName=other)

    step("T-32 malformed names")
    for vault, malformed in (("x!!", arn), ("x", arn), ("y" * 51, arn), (VAULT, "foo"), (VAULT, "arn:aws:backup")):
        refused("InvalidParameterValueException", BACKUP.delete_recovery_point, BackupVaultName=vault, RecoveryPointArn=malformed)
    for path in ("/backup-vaults/%ff", "/backup-vaults/a%00b", "/backup-jobs/%00", "/backup-jobs/%ff", "/restore-jobs/%00"):
        status, headers, body = raw("GET", path)
        assert (status, headers["x-amzn-ErrorType"]) == (400, "InvalidParameterValueException"), (path, status, body)

    step("a snapshot cannot be disassociated: API_DisassociateRecoveryPoint.html")
    refused("InvalidRequestException", BACKUP.disassociate_recovery_point, BackupVaultName=VAULT, RecoveryPointArn=arn)

    step("T-33 empty labels are missing parameters")
    quoted = urllib.parse.quote(arn, safe="")
    for path in (f"/backup-vaults//recovery-points/{quoted}", f"/backup-vaults/{VAULT}/recovery-points/",
                 "/backup-vaults//recovery-points//"):
        status, headers, body = raw("DELETE", path)
        assert (status, headers["x-amzn-ErrorType"]) == (400, "MissingParameterValueException"), (path, status, body)
    assert point(arn)["Status"] == "COMPLETED"


def busy(arn):
    """T-34, T-35: API_DeleteRecoveryPoint.html (InvalidResourceStateException)"""
    step("T-35 while a restore waits or runs, a deletion is refused, and succeeds afterwards")
    jobs, states = [], set()
    before = restored_directories()
    for _ in range(20):  # several start in the same millisecond
        jobs.append(BACKUP.start_restore_job(RecoveryPointArn=arn, IamRoleArn=ROLE, Metadata={
            "file-system-id": FILE_SYSTEM, "newFileSystem": "false"})["RestoreJobId"])
    refused("InvalidResourceStateException", BACKUP.delete_recovery_point, BackupVaultName=VAULT, RecoveryPointArn=arn)
    assert point(arn)["Status"] == "COMPLETED"
    for job in jobs:
        done = wait(lambda: BACKUP.describe_restore_job(RestoreJobId=job), lambda j: "CompletionDate" in j, "restore")
        states.add(done["Status"])
    assert states == {"COMPLETED"}, states
    assert len(restored_directories() - before) == 20, "two restores share a directory"


def lifecycles(arn):
    """T-61: API_UpdateRecoveryPointLifecycle.html, API_Lifecycle.html"""
    step("T-61 lifecycle arithmetic")
    named = {"BackupVaultName": VAULT, "RecoveryPointArn": arn}
    created = point(arn)["CreationDate"]
    changed = BACKUP.update_recovery_point_lifecycle(**named, Lifecycle={"DeleteAfterDays": 36500})
    assert changed["CalculatedLifecycle"]["DeleteAt"] - created == datetime.timedelta(days=36500), changed
    for forever in ({"DeleteAfterDays": -1, "MoveToColdStorageAfterDays": -1}, {}):
        BACKUP.update_recovery_point_lifecycle(**named, Lifecycle={"DeleteAfterDays": 9})
        BACKUP.update_recovery_point_lifecycle(**named, Lifecycle=forever)
        assert "Lifecycle" not in point(arn) and "CalculatedLifecycle" not in point(arn), point(arn)
    for wrong in ({"DeleteAfterDays": 0}, {"DeleteAfterDays": -2}, {"DeleteAfterDays": 36501},
                  {"DeleteAfterDays": 100, "MoveToColdStorageAfterDays": 20}):
        refused("InvalidParameterValueException", BACKUP.update_recovery_point_lifecycle, **named, Lifecycle=wrong)
    status, headers, body = raw("POST", f"/backup-vaults/{VAULT}/recovery-points/{urllib.parse.quote(arn, safe='')}",
                                b'{"Lifecycle":{"DeleteAfterEvent":"DELETE_AFTER_COPY"}}')  # unknown to older clients
    assert (status, headers["x-amzn-ErrorType"]) == (400, "InvalidParameterValueException"), (status, body)
    refused("MissingParameterValueException", BACKUP.update_recovery_point_lifecycle, **named)
    changed = BACKUP.update_recovery_point_lifecycle(
        **named, Lifecycle={"DeleteAfterDays": 110, "MoveToColdStorageAfterDays": 20})["CalculatedLifecycle"]
    assert changed["MoveToColdStorageAt"] - created == datetime.timedelta(days=20), changed
    assert point(arn)["StorageClass"] == "WARM", point(arn)
    BACKUP.update_recovery_point_lifecycle(**named, Lifecycle={})


def by_resource(arn):
    """API_ListRecoveryPointsByResource.html"""
    step("recovery points of a resource: all are managed, each names its vault")
    quoted = urllib.parse.quote(RESOURCE, safe="")
    for only in ("", "?managedByAWSBackupOnly=true", "?managedByAWSBackupOnly=false"):
        status, _, body = raw("GET", f"/resources/{quoted}/recovery-points/{only}")
        points = json.loads(body)["RecoveryPoints"]
        assert status == 200 and [p["BackupVaultName"] for p in points if p["RecoveryPointArn"] == arn] == [VAULT], body


def full_vault():
    """T-62: API_DeleteBackupVault.html"""
    step("T-62 a vault with recovery points stays")
    count = BACKUP.describe_backup_vault(BackupVaultName=VAULT)["NumberOfRecoveryPoints"]
    status, headers, body = raw("DELETE", f"/backup-vaults/{VAULT}")
    assert (status, headers["x-amzn-ErrorType"]) == (400, "InvalidRequestException"), (status, body)
    assert json.loads(body) == {"Code": "ERROR_9101", "Context": str(count),
                                "Message": "Backup vault cannot be deleted because it contains recovery points."}, body


def round_trip(arn):
    """restoring-efs.html: what GetRecoveryPointRestoreMetadata answers starts a restore."""
    step("restore metadata round trip into a new file system, and into the same")
    known = BACKUP.get_recovery_point_restore_metadata(BackupVaultName=VAULT, RecoveryPointArn=arn)["RestoreMetadata"]
    made = restore_with(arn, {**known, "newFileSystem": "true"})
    assert made["CreatedResourceArn"] != RESOURCE, made
    assert restore_with(arn, {**known, "newFileSystem": "false"})["CreatedResourceArn"] == RESOURCE


def restore_with(arn, metadata):
    job = BACKUP.start_restore_job(RecoveryPointArn=arn, IamRoleArn=ROLE, Metadata=metadata)["RestoreJobId"]
    done = wait(lambda: BACKUP.describe_restore_job(RestoreJobId=job), lambda j: "CompletionDate" in j, "restore")
    assert done["Status"] == "COMPLETED" and done["PercentDone"] == "100.00%", done
    return done


def starting_jobs():
    """API_StartBackupJob.html"""
    step("StartBackupJob: windows, tokens, retries")
    named = {"BackupVaultName": VAULT, "ResourceArn": RESOURCE, "IamRoleArn": ROLE}
    for wrong in ({"StartWindowMinutes": 59}, {"CompleteWindowMinutes": 0}, {"StartWindowMinutes": 52560001},
                  {"RecoveryPointTags": {"aws:x": "y"}}, {"ResourceArn": "arn:aws:s3:::bucket"}):
        refused("InvalidParameterValueException", BACKUP.start_backup_job, **{**named, **wrong})
    token = str(uuid.uuid4())
    first = BACKUP.start_backup_job(**named, StartWindowMinutes=60, IdempotencyToken=token)
    again = BACKUP.start_backup_job(**named, StartWindowMinutes=60, IdempotencyToken=token)
    assert first["BackupJobId"] == again["BackupJobId"], (first, again)
    refused("InvalidParameterValueException", BACKUP.start_backup_job, **named, StartWindowMinutes=61, IdempotencyToken=token)
    done = wait(lambda: BACKUP.describe_backup_job(BackupJobId=first["BackupJobId"]), lambda j: "CompletionDate" in j, "backup")
    assert done["StartBy"] - done["CreationDate"] == datetime.timedelta(hours=1), done
    assert done.get("MessageCategory", "SUCCESS") == "SUCCESS" and "StatusMessage" not in done, done
    refused("InvalidRequestException", BACKUP.stop_backup_job, BackupJobId=first["BackupJobId"])
    lost = BACKUP.start_backup_job(**{**named, "ResourceArn": RESOURCE[:-17] + "0" * 17})["BackupJobId"]
    failed = wait(lambda: BACKUP.describe_backup_job(BackupJobId=lost), lambda j: "CompletionDate" in j, "failure")
    category = failed.get("MessageCategory", "RESOURCE_NOT_FOUND")  # older clients do not show it
    assert (failed["State"], category) == ("FAILED", "RESOURCE_NOT_FOUND"), failed
    assert "RecoveryPointArn" not in failed, failed


def paging():
    """T-65: API_ListRecoveryPointsByBackupVault.html"""
    step(f"T-65 {POINTS} recovery points, pages of {PAGE}, deletions in between: no duplicates, no gaps")
    vault = VAULT + "-pages"
    BACKUP.create_backup_vault(BackupVaultName=vault)
    jobs = [BACKUP.start_backup_job(BackupVaultName=vault, ResourceArn=RESOURCE, IamRoleArn=ROLE) for _ in range(POINTS)]
    want = {job["RecoveryPointArn"] for job in jobs}
    def done():
        pages = BACKUP.get_paginator("list_backup_jobs").paginate(ByBackupVaultName=vault, ByState="COMPLETED")
        return sum(len(page["BackupJobs"]) for page in pages)
    wait(done, lambda n: n == POINTS, "backups", seconds=60 + POINTS)
    seen, token, removed = [], {}, set()
    while True:
        page = BACKUP.list_recovery_points_by_backup_vault(BackupVaultName=vault, MaxResults=PAGE, **token)
        seen += [p["RecoveryPointArn"] for p in page["RecoveryPoints"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
        refused("InvalidParameterValueException", BACKUP.list_recovery_points_by_backup_vault, BackupVaultName=VAULT, **token)
        before = next(p for p in seen[-20:] if p not in removed)  # one that was about to be deleted may still be listed
        for victim in {seen[-1], before, next(iter(want - set(seen) - removed))} - removed:  # the token's own, one before, one after
            BACKUP.delete_recovery_point(BackupVaultName=vault, RecoveryPointArn=victim)
            removed.add(victim)
    assert len(seen) == len(set(seen)), "a recovery point was listed twice"
    assert want - removed <= set(seen) <= want, "a recovery point was left out"
    dates = [p["CreationDate"] for p in BACKUP.list_recovery_points_by_backup_vault(BackupVaultName=vault)["RecoveryPoints"]]
    assert dates == sorted(dates, reverse=True), "not newest first"


def main():
    BACKUP.create_backup_vault(BackupVaultName=VAULT)
    deleted_point()
    arn = shared_chunks()
    errors_of_deletion(arn)
    busy(arn)
    lifecycles(arn)
    by_resource(arn)
    full_vault()
    round_trip(arn)
    starting_jobs()
    paging()
    step("done")


if __name__ == "__main__":
    sys.exit(main())

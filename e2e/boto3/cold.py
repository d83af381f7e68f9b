"""Cold storage through boto3, in two parts: a recovery point is made that is to be moved, and what can be done with it
when its time has come. The arguments of the second part are the vault and the recovery point.

Run by the Go tests of this folder with the environment of story.py. Rests on
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_Lifecycle.html,
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_UpdateRecoveryPointLifecycle.html and
https://docs.aws.amazon.com/aws-backup/latest/devguide/recov-point-create-a-copy.html
"""

import datetime
import sys

from common import (ACCOUNT, BACKUP, DATA, RESOURCE, ROLE, assert_same, back_up, gone, refused, restore, restored_directories, step,
                   wait)

DAYS = {"MoveToColdStorageAfterDays": 30, "DeleteAfterDays": 120}


def prepare(vault):
    BACKUP.create_backup_vault(BackupVaultName=vault)
    step("a transition and a deletion that are less than 90 days apart are refused")
    refused("InvalidParameterValueException", BACKUP.start_backup_job, BackupVaultName=vault, ResourceArn=RESOURCE, IamRoleArn=ROLE,
            Lifecycle={"MoveToColdStorageAfterDays": 30, "DeleteAfterDays": 119},
            text="DeleteAfterDays cannot be less than 90 days apart from MoveToColdStorageAfterDays")
    step("a recovery point knows when it is moved, and is warm until then")
    job = back_up(vault, Lifecycle={**DAYS, "OptInToArchiveForSupportedResources": True})
    assert job["RecoveryPointLifecycle"] == DAYS, job
    made = BACKUP.describe_recovery_point(BackupVaultName=vault, RecoveryPointArn=job["RecoveryPointArn"])
    assert made["StorageClass"] == "WARM" and made["Lifecycle"] == DAYS, made
    for member, days in (("MoveToColdStorageAt", 30), ("DeleteAt", 120)):
        assert made["CalculatedLifecycle"][member] - made["CreationDate"] == datetime.timedelta(days=days), made


def moved(vault, arn):
    step("the recovery point is moved when its time has come")
    named = {"BackupVaultName": vault, "RecoveryPointArn": arn}
    found = wait(lambda: BACKUP.describe_recovery_point(**named), lambda p: p["StorageClass"] == "COLD", "move to cold storage")
    assert found["Status"] == "COMPLETED" and found["Lifecycle"] == DAYS, found
    assert datetime.datetime.now(datetime.timezone.utc) >= found["CalculatedLifecycle"]["MoveToColdStorageAt"], found
    (listed,) = BACKUP.list_recovery_points_by_backup_vault(BackupVaultName=vault)["RecoveryPoints"]
    assert listed["CalculatedLifecycle"] == found["CalculatedLifecycle"], listed

    step("what is cold is restored, not copied")
    before = restored_directories()
    restore(arn)
    (landed,) = restored_directories() - before
    assert_same(DATA, landed)
    BACKUP.create_backup_vault(BackupVaultName=vault + "-offsite")
    refused("InvalidRequestException", BACKUP.start_copy_job, RecoveryPointArn=arn, SourceBackupVaultName=vault, IamRoleArn=ROLE,
            DestinationBackupVaultArn=f"arn:aws:backup:us-east-1:{ACCOUNT}:backup-vault:{vault}-offsite", text="cold storage")

    step("the transition cannot be changed any more, the deletion can")
    for change in ({"MoveToColdStorageAfterDays": 40}, {"MoveToColdStorageAfterDays": -1}, {}):
        refused("InvalidRequestException", BACKUP.update_recovery_point_lifecycle, **named,
                Lifecycle={"DeleteAfterDays": 400, **change}, text="MoveToColdStorageAfterDays")
    refused("InvalidParameterValueException", BACKUP.update_recovery_point_lifecycle, **named,
            Lifecycle={**DAYS, "DeleteAfterDays": 119})
    kept = BACKUP.update_recovery_point_lifecycle(**named, Lifecycle={**DAYS, "DeleteAfterDays": -1})
    assert kept["Lifecycle"] == {"MoveToColdStorageAfterDays": 30} and "DeleteAt" not in kept["CalculatedLifecycle"], kept

    step("it is deleted by hand before 90 days are over")
    BACKUP.delete_recovery_point(**named)
    gone(vault, arn)


def main():
    if len(sys.argv) == 2:
        prepare(sys.argv[1])
    else:
        moved(*sys.argv[1:])
    step("done")


if __name__ == "__main__":
    sys.exit(main())

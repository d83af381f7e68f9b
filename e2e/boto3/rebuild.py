"""Makes vaults and recovery points with tags, lifecycle and access policy, and describes all of it as JSON.

rebuild.py make|describe FILE. Documents: https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DescribeRecoveryPoint.html,
API_ListTags.html, API_GetBackupVaultAccessPolicy.html, API_UpdateRecoveryPointLifecycle.html.
"""

import json
import os
import sys
import time

import boto3

client = boto3.client("backup")
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Deny", "Principal": "*", "Action": "backup:DeleteBackupVault", "Resource": "*"}]})


def backed_up():
    """Backs the resource up and returns the recovery point's ARN."""
    job = client.start_backup_job(
        BackupVaultName="home", ResourceArn=os.environ["RESOURCE_ARN"], RecoveryPointTags={"job": "e2e"},
        IamRoleArn="arn:aws:iam::000000000000:role/service-role/AWSBackupDefaultServiceRole")
    for _ in range(600):
        state = client.describe_backup_job(BackupJobId=job["BackupJobId"])
        if state["State"] == "COMPLETED":
            return job["RecoveryPointArn"]
        assert state["State"] in ("CREATED", "PENDING", "RUNNING"), state
        time.sleep(0.1)
    raise AssertionError("the backup job does not end")


def make():
    client.create_backup_vault(BackupVaultName="home", BackupVaultTags={"of": "vault"}, CreatorRequestId="once")
    client.create_backup_vault(BackupVaultName="empty")
    first = backed_up()
    with open(os.path.join(os.environ["DATA"], "later"), "w", encoding="utf-8") as f:
        f.write("later\n" * 1000)
    backed_up()
    client.tag_resource(ResourceArn=first, Tags={"keep": "long", "not": "so"})
    client.untag_resource(ResourceArn=first, TagKeyList=["not"])
    client.update_recovery_point_lifecycle(BackupVaultName="home", RecoveryPointArn=first, Lifecycle={"DeleteAfterDays": 400})
    client.put_backup_vault_access_policy(BackupVaultName="home", Policy=POLICY)


def bare(answer):
    answer.pop("ResponseMetadata", None)
    return answer


def describe():
    """Returns everything that there is to know."""
    known = {"protected": client.list_protected_resources()["Results"]}
    for vault in client.list_backup_vaults()["BackupVaultList"]:
        name = vault["BackupVaultName"]
        known[name] = [bare(client.describe_backup_vault(BackupVaultName=name)),
                       bare(client.list_tags(ResourceArn=vault["BackupVaultArn"]))]
        for point in client.list_recovery_points_by_backup_vault(BackupVaultName=name)["RecoveryPoints"]:
            arn = point["RecoveryPointArn"]
            metadata = bare(client.get_recovery_point_restore_metadata(BackupVaultName=name, RecoveryPointArn=arn))
            metadata["RestoreMetadata"].pop("aws:backup:request-id")
            known[arn] = [bare(client.describe_recovery_point(BackupVaultName=name, RecoveryPointArn=arn)),
                          bare(client.list_tags(ResourceArn=arn)), metadata]
    known["policy"] = bare(client.get_backup_vault_access_policy(BackupVaultName="home"))
    return json.dumps(known, default=str, indent=1, sort_keys=True)


if sys.argv[1] == "make":
    make()
with open(sys.argv[2], "w", encoding="utf-8") as out:
    out.write(describe())

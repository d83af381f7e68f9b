"""The main job through boto3: a directory is backed up, restored and deleted.

Run by story_test.go with AWS_ENDPOINT_URL, credentials and what a story consists of in the environment, and with
the part to go through, "work" or "end". The test compares what is restored. Rests on the operation pages of
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_Operations.html
"""

import http.client
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.exceptions

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
DATA = pathlib.Path(os.environ["DATA"])
RESOURCE = os.environ["RESOURCE_ARN"]
RESTORED = pathlib.Path(os.environ["RESTORED"])
VAULT = os.environ["VAULT"]
SESSION = boto3.session.Session()
BACKUP = SESSION.client("backup", endpoint_url=ENDPOINT, region_name="us-east-1",
                        config=botocore.config.Config(retries={"max_attempts": 1}))
STS = SESSION.client("sts", endpoint_url=ENDPOINT, region_name="us-east-1")
ACCOUNT = STS.get_caller_identity()["Account"]
ROLE = f"arn:aws:iam::{ACCOUNT}:role/service-role/AWSBackupDefaultServiceRole"


def step(text):
    print("boto3:", text, flush=True)


def refused(code, call, *, status=400, text=None, **kwargs):
    """Calls and expects an error of AWS's shape with this code."""
    try:
        call(**kwargs)
    except botocore.exceptions.ClientError as err:
        answer = err.response
        assert answer["Error"]["Code"] == code, answer
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == status, answer
        assert answer["ResponseMetadata"].get("RequestId"), answer
        assert answer["Error"]["Message"], answer
        if text:
            assert text in answer["Error"]["Message"], answer
        return answer
    raise AssertionError(f"{call} with {kwargs} succeeded, want {code}")


def wait(read, done, what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = read()
        if done(value):
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {seconds} s; last: {value}")


def gone(vault, arn):
    def read():
        try:
            return BACKUP.describe_recovery_point(BackupVaultName=vault, RecoveryPointArn=arn)["Status"]
        except BACKUP.exceptions.ResourceNotFoundException:
            return None
    wait(read, lambda status: status is None, f"deletion of {arn}")


def back_up(vault=VAULT, **more):
    started = BACKUP.start_backup_job(BackupVaultName=vault, ResourceArn=RESOURCE, IamRoleArn=ROLE, **more)
    job = wait(lambda: BACKUP.describe_backup_job(BackupJobId=started["BackupJobId"]),
               lambda j: j["State"] in ("COMPLETED", "FAILED", "ABORTED", "EXPIRED"), "backup job")
    assert job["State"] == "COMPLETED", job
    assert job["PercentDone"] == "100.0", job
    assert job["RecoveryPointArn"] and job["CompletionDate"] >= job["CreationDate"], job
    return job


def restore(arn, name, **metadata):
    """Restores, and moves the directory that this makes to its name among what the test compares."""
    started = BACKUP.start_restore_job(
        RecoveryPointArn=arn, IamRoleArn=ROLE, ResourceType="EFS",
        Metadata={"file-system-id": RESOURCE.rsplit("/", 1)[1], "newFileSystem": "false", "Encrypted": "false",
                  "PerformanceMode": "generalPurpose", "CreationToken": str(uuid.uuid4()), **metadata})
    job = wait(lambda: BACKUP.describe_restore_job(RestoreJobId=started["RestoreJobId"]),
               lambda j: j["Status"] in ("COMPLETED", "FAILED", "ABORTED"), "restore job")
    assert job["Status"] == "COMPLETED", job
    (made,) = DATA.glob("aws-backup-restore_*")
    made.rename(RESTORED / name)
    return job


def raw(method, path, body=b""):
    """Sends a signed request with exactly this path: what no SDK would send."""
    url = ENDPOINT + path
    request = botocore.awsrequest.AWSRequest(method=method, url=url, data=body)
    botocore.auth.SigV4Auth(SESSION.get_credentials(), "backup", "us-east-1").add_auth(request)
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    connection.request(method, path, body=body, headers=dict(request.headers.items()))
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


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
    restore(first, "first")
    job = restore(second, "second")
    if hasattr(BACKUP, "get_restore_job_metadata"):  # unknown to older clients
        assert BACKUP.get_restore_job_metadata(RestoreJobId=job["RestoreJobId"])["Metadata"]["newFileSystem"] == "false"

    step("restore one item of the first")
    restore(first, "item", ItemsToRestore=json.dumps([os.environ["ITEM"]]))
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
    restore(second, "again")

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

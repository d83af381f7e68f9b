"""What the scripts of this folder have in common: clients, waiting, backups, restores and comparisons.

They are run by the Go tests with AWS_ENDPOINT_URL, credentials, DATA (a directory to protect) and RESOURCE_ARN (its
ARN) in the environment.
"""

import http.client
import os
import pathlib
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
SESSION = boto3.session.Session()
BACKUP = SESSION.client("backup", endpoint_url=ENDPOINT, region_name="us-east-1",
                        config=botocore.config.Config(retries={"max_attempts": 1}))
STS = SESSION.client("sts", endpoint_url=ENDPOINT, region_name="us-east-1")
ACCOUNT = STS.get_caller_identity()["Account"]
ROLE = f"arn:aws:iam::{ACCOUNT}:role/service-role/AWSBackupDefaultServiceRole"
VAULT = os.environ.get("VAULT") or "boto3-" + uuid.uuid4().hex[:8]


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


def restore(arn, **metadata):
    started = BACKUP.start_restore_job(
        RecoveryPointArn=arn, IamRoleArn=ROLE, ResourceType="EFS",
        Metadata={"file-system-id": RESOURCE.rsplit("/", 1)[1], "newFileSystem": "false", "Encrypted": "false",
                  "PerformanceMode": "generalPurpose", "CreationToken": str(uuid.uuid4()), **metadata})
    job = wait(lambda: BACKUP.describe_restore_job(RestoreJobId=started["RestoreJobId"]),
               lambda j: j["Status"] in ("COMPLETED", "FAILED", "ABORTED"), "restore job")
    assert job["Status"] == "COMPLETED", job
    return job


def restored_directories():
    return {p for p in DATA.iterdir() if p.name.startswith("aws-backup-restore_")}


def entries(root):
    """What a directory holds, without what was restored into it: the bytes of files, the targets of links."""
    found = {}
    for path in root.rglob("*"):
        name = path.relative_to(root)
        if name.parts[0].startswith("aws-backup-restore_"):
            continue
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def assert_same(left, right):
    want, got = entries(left), entries(right)
    differ = sorted(str(n) for n in want.keys() | got.keys() if want.get(n, "absent") != got.get(n, "absent"))
    assert not differ, differ


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

"""Roles, policies and DeleteRecoveryPoint through boto3: who may do what, and what becomes of a recovery point whose
role no longer allows its deletion.

Run by the Go tests of this folder with the environment of story.py. Every function names the item of the catalogue and
the page that it rests on, below https://docs.aws.amazon.com/aws-backup/latest/devguide/ where no other is given.
"""

import contextlib
import json
import sys
import urllib.parse
import uuid

import boto3
import botocore.config

from common import ACCOUNT, BACKUP, DATA, ENDPOINT, RESOURCE, ROLE, STS, VAULT, assert_same, gone, raw, refused, restored_directories, step, wait

IAM = boto3.client("iam", endpoint_url=ENDPOINT, region_name="us-east-1")
FILE_SYSTEM = RESOURCE.rsplit("/", 1)[1]
MANAGED = "arn:aws:iam::aws:policy/"
FOR_BACKUP = MANAGED + "service-role/AWSBackupServiceRolePolicyForBackup"
FOR_RESTORES = MANAGED + "service-role/AWSBackupServiceRolePolicyForRestores"
SERVICE_LINKED = "AWSServiceRoleForBackup"
OTHER_ACCOUNT = "111111111111"  # made by the Go test, which leaves its administrator's key in a profile of that name


def trust(principal):
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}]})


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action, resource="*", **more):
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


BY_SERVICE = {"Service": "backup.amazonaws.com"}


def make_role(name, *policies):
    name = f"{name}-{uuid.uuid4().hex[:6]}"
    IAM.create_role(RoleName=name, AssumeRolePolicyDocument=trust(BY_SERVICE))
    for arn in policies:
        IAM.attach_role_policy(RoleName=name, PolicyArn=arn)
    return name, f"arn:aws:iam::{ACCOUNT}:role/{name}"


def drop_role(name):
    for policy in IAM.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        IAM.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
    for policy in IAM.list_role_policies(RoleName=name)["PolicyNames"]:
        IAM.delete_role_policy(RoleName=name, PolicyName=policy)
    IAM.delete_role(RoleName=name)


@contextlib.contextmanager
def user(name, *statements, groups=()):
    """A user with an inline policy; yields (ARN, client of AWS Backup, credentials)."""
    name = f"{name}-{uuid.uuid4().hex[:6]}"
    arn = IAM.create_user(UserName=name)["User"]["Arn"]
    if statements:
        IAM.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=document(*statements))
    key = IAM.create_access_key(UserName=name)["AccessKey"]
    yield arn, client("backup", key), key
    for key in IAM.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        IAM.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    for policy in IAM.list_user_policies(UserName=name)["PolicyNames"]:
        IAM.delete_user_policy(UserName=name, PolicyName=policy)
    for policy in IAM.list_attached_user_policies(UserName=name)["AttachedPolicies"]:
        IAM.detach_user_policy(UserName=name, PolicyArn=policy["PolicyArn"])
    IAM.delete_user(UserName=name)


def client(service, key):
    return boto3.client(service, endpoint_url=ENDPOINT, region_name="us-east-1", aws_access_key_id=key["AccessKeyId"],
                        aws_secret_access_key=key["SecretAccessKey"], aws_session_token=key.get("SessionToken"),
                        config=botocore.config.Config(retries={"max_attempts": 1}))


def back_up(role, vault=VAULT, want="COMPLETED"):
    started = BACKUP.start_backup_job(BackupVaultName=vault, ResourceArn=RESOURCE, IamRoleArn=role)
    job = wait(lambda: BACKUP.describe_backup_job(BackupJobId=started["BackupJobId"]), lambda j: "CompletionDate" in j, "backup")
    assert job["State"] == want, job
    return job


def point(arn, vault=VAULT):
    return BACKUP.describe_recovery_point(BackupVaultName=vault, RecoveryPointArn=arn)


def delete(arn, vault=VAULT):
    return BACKUP.delete_recovery_point(BackupVaultName=vault, RecoveryPointArn=arn)


def expires(arn, role, vault=VAULT):
    """A deletion that answers 200 and leaves the recovery point EXPIRED, with the reason."""
    answer = delete(arn, vault)
    assert set(answer) == {"ResponseMetadata"} and answer["ResponseMetadata"]["HTTPStatusCode"] == 200, answer
    described = point(arn, vault)
    assert described["Status"] == "EXPIRED" and role in described["StatusMessage"], described
    return described


def restores(arn):
    before = restored_directories()
    job = BACKUP.start_restore_job(RecoveryPointArn=arn, IamRoleArn=ROLE, Metadata={
        "file-system-id": FILE_SYSTEM, "newFileSystem": "false"})["RestoreJobId"]
    done = wait(lambda: BACKUP.describe_restore_job(RestoreJobId=job), lambda j: "CompletionDate" in j, "restore")
    assert done["Status"] == "COMPLETED", done
    (made,) = restored_directories() - before
    assert_same(DATA, made)


def role_without_rights():
    """T-20, T-21, T-22: deleting-backups.html, API_DeleteRecoveryPoint.html"""
    step("T-20 the role has no policies: 200 without a body, EXPIRED with the reason, the data is still there")
    name, role = make_role("bare", FOR_BACKUP)
    arn = back_up(role)["RecoveryPointArn"]
    IAM.detach_role_policy(RoleName=name, PolicyArn=FOR_BACKUP)
    count = BACKUP.describe_backup_vault(BackupVaultName=VAULT)["NumberOfRecoveryPoints"]
    described = expires(arn, role)
    assert "elasticfilesystem:Backup" in described["StatusMessage"], described
    assert BACKUP.describe_backup_vault(BackupVaultName=VAULT)["NumberOfRecoveryPoints"] == count
    restores(arn)

    step("T-21 the same on the wire: status 200, no body, no error header; still EXPIRED")
    status, headers, body = raw("DELETE", f"/backup-vaults/{VAULT}/recovery-points/{urllib.parse.quote(arn, safe='')}")
    assert (status, body) == (200, b"") and not headers["x-amzn-ErrorType"], (status, body)
    assert headers.get("Content-Length", "0") == "0" and headers["x-amzn-RequestId"], headers.items()
    assert point(arn)["Status"] == "EXPIRED"

    step("T-22 iam:CreateServiceLinkedRole makes it deletable, and the service-linked role exists afterwards")
    drop_service_linked_role()
    IAM.put_role_policy(RoleName=name, PolicyName="link", PolicyDocument=document(allow("iam:CreateServiceLinkedRole")))
    delete(arn)
    gone(VAULT, arn)
    made = IAM.get_role(RoleName=SERVICE_LINKED)["Role"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/backup.amazonaws.com/{SERVICE_LINKED}", made
    refused("ResourceNotFoundException", BACKUP.delete_recovery_point, BackupVaultName=VAULT, RecoveryPointArn=arn)
    drop_role(name)


def drop_service_linked_role():
    with contextlib.suppress(IAM.exceptions.NoSuchEntityException):
        task = IAM.delete_service_linked_role(RoleName=SERVICE_LINKED)["DeletionTaskId"]
        wait(lambda: IAM.get_service_linked_role_deletion_status(DeletionTaskId=task)["Status"],
             lambda status: status == "SUCCEEDED", "deletion of the service-linked role")


def repaired_role():
    """T-23: deleting-backups.html"""
    step("T-23 attaching the managed policy again makes it deletable")
    name, role = make_role("repaired", FOR_BACKUP)
    arn = back_up(role)["RecoveryPointArn"]
    IAM.detach_role_policy(RoleName=name, PolicyArn=FOR_BACKUP)
    expires(arn, role)
    IAM.attach_role_policy(RoleName=name, PolicyArn=FOR_BACKUP)
    delete(arn)
    gone(VAULT, arn)
    drop_role(name)


def deleted_role():
    """T-24: deleting-backups.html, backup-iam (role deleted)"""
    step("T-24 the role is deleted: EXPIRED; a role made anew under its name restores the authority")
    name, role = make_role("gone", FOR_BACKUP)
    arn = back_up(role)["RecoveryPointArn"]
    drop_role(name)
    described = expires(arn, role)
    assert "does not exist or cannot be assumed" in described["StatusMessage"], described
    expires(arn, role)
    IAM.create_role(RoleName=name, AssumeRolePolicyDocument=trust(BY_SERVICE))
    IAM.attach_role_policy(RoleName=name, PolicyArn=FOR_BACKUP)
    delete(arn)
    gone(VAULT, arn)
    drop_role(name)


def denying_role():
    """T-25: access-control.html"""
    step("T-25 an explicit Deny in the role: EXPIRED")
    name, role = make_role("denying", FOR_BACKUP)
    arn = back_up(role)["RecoveryPointArn"]
    IAM.put_role_policy(RoleName=name, PolicyName="deny", PolicyDocument=document(
        deny(["elasticfilesystem:Backup", "backup:DeleteRecoveryPoint"])))
    expires(arn, role)
    IAM.delete_role_policy(RoleName=name, PolicyName="deny")
    delete(arn)
    gone(VAULT, arn)

    step("T-25 a boundary that leaves no room: EXPIRED")
    arn = back_up(role)["RecoveryPointArn"]
    boundary = IAM.create_policy(PolicyName="bound-" + uuid.uuid4().hex[:6], PolicyDocument=document(allow("s3:GetObject")))
    IAM.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=boundary["Policy"]["Arn"])
    expires(arn, role)
    IAM.delete_role_permissions_boundary(RoleName=name)
    delete(arn)
    gone(VAULT, arn)
    IAM.delete_policy(PolicyArn=boundary["Policy"]["Arn"])
    drop_role(name)


def untrusting_role():
    """T-26: iam-service-roles.html"""
    step("T-26 the trust policy loses backup.amazonaws.com: EXPIRED, and no new jobs")
    name, role = make_role("untrusting", FOR_BACKUP)
    arn = back_up(role)["RecoveryPointArn"]
    IAM.update_assume_role_policy(RoleName=name, PolicyDocument=trust({"Service": "ec2.amazonaws.com"}))
    expires(arn, role)
    refused("InvalidParameterValueException", BACKUP.start_backup_job, BackupVaultName=VAULT, ResourceArn=RESOURCE,
            IamRoleArn=role, text="cannot be assumed by AWS Backup")
    IAM.update_assume_role_policy(RoleName=name, PolicyDocument=trust(BY_SERVICE))
    delete(arn)
    gone(VAULT, arn)
    drop_role(name)


def permission_removed_meanwhile():
    """T-27: deleting-backups.html"""
    step("T-27 a permission removed between acceptance and work: gone or EXPIRED, never anything else")
    name, role = make_role("hasty", FOR_BACKUP)
    seen = set()
    for _ in range(20):
        arns = [back_up(role)["RecoveryPointArn"] for _ in range(2)]
        IAM.attach_role_policy(RoleName=name, PolicyArn=FOR_BACKUP)
        for arn in arns:
            delete(arn)
        IAM.detach_role_policy(RoleName=name, PolicyArn=FOR_BACKUP)
        for arn in arns:
            seen.add(wait(lambda: status(arn), lambda s: s != "DELETING", "end of the deletion"))
            IAM.attach_role_policy(RoleName=name, PolicyArn=FOR_BACKUP)
            if status(arn):
                delete(arn)
            gone(VAULT, arn)
        if seen == {None, "EXPIRED"}:
            break
    assert seen <= {None, "EXPIRED"}, seen
    drop_role(name)


def status(arn, vault=VAULT):
    try:
        return point(arn, vault)["Status"]
    except BACKUP.exceptions.ResourceNotFoundException:
        return None


def jobs_without_rights():
    """iam-service-roles.html: the service acts only with the role it was given."""
    step("a backup and a restore whose role lacks the actions fail, and say which")
    name, role = make_role("idle")
    job = back_up(role, want="FAILED")
    assert job.get("MessageCategory", "ACCESS_DENIED") == "ACCESS_DENIED", job
    assert role in job["StatusMessage"] and "elasticfilesystem:Backup" in job["StatusMessage"], job
    arn = back_up(ROLE)["RecoveryPointArn"]
    started = BACKUP.start_restore_job(RecoveryPointArn=arn, IamRoleArn=role, Metadata={
        "file-system-id": FILE_SYSTEM, "newFileSystem": "false"})["RestoreJobId"]
    done = wait(lambda: BACKUP.describe_restore_job(RestoreJobId=started), lambda j: "CompletionDate" in j, "restore")
    assert done["Status"] == "FAILED" and "elasticfilesystem:Restore" in done["StatusMessage"], done
    refused("InvalidParameterValueException", BACKUP.start_restore_job, RecoveryPointArn=arn, text="cannot be assumed",
            IamRoleArn=f"arn:aws:iam::{ACCOUNT}:role/absent", Metadata={"file-system-id": FILE_SYSTEM, "newFileSystem": "false"})
    IAM.attach_role_policy(RoleName=name, PolicyArn=FOR_RESTORES)
    job = BACKUP.start_restore_job(RecoveryPointArn=arn, IamRoleArn=role, Metadata={
        "file-system-id": FILE_SYSTEM, "newFileSystem": "false"})["RestoreJobId"]
    done = wait(lambda: BACKUP.describe_restore_job(RestoreJobId=job), lambda j: "CompletionDate" in j, "restore")
    assert done["Status"] == "COMPLETED", done
    delete(arn)
    gone(VAULT, arn)
    drop_role(name)


def callers():
    """T-50: access-control.html"""
    arn = back_up(ROLE)["RecoveryPointArn"]
    named = {"BackupVaultName": VAULT, "RecoveryPointArn": arn}

    step("T-50 a caller without backup:DeleteRecoveryPoint, an operator, and one with it")
    with user("nobody") as (who, backup, key):
        answer = refused("AccessDeniedException", backup.delete_recovery_point, status=403, **named)
        assert answer["Error"]["Message"] == (
            f"User: {who} is not authorized to perform: backup:DeleteRecoveryPoint on resource: {arn} because no "
            "identity-based policy allows the backup:DeleteRecoveryPoint action"), answer
        assert client("sts", key).get_caller_identity()["Arn"] == who
        IAM.attach_user_policy(UserName=who.rsplit("/", 1)[1], PolicyArn=MANAGED + "AWSBackupOperatorAccess")
        assert backup.describe_recovery_point(**named)["RecoveryPointArn"] == arn
        refused("AccessDeniedException", backup.delete_recovery_point, status=403, **named)
        refused("AccessDeniedException", backup.delete_backup_vault, status=403, BackupVaultName=VAULT)
    assert point(arn)["Status"] == "COMPLETED"

    step("T-50 vault policies that deny: on everything, on the recovery point, on the vault")
    vault_arn = BACKUP.describe_backup_vault(BackupVaultName=VAULT)["BackupVaultArn"]
    for resource in ("*", arn, vault_arn, f"arn:aws:backup:*:{ACCOUNT}:recovery-point:*"):
        put_vault_policy({**deny("backup:DeleteRecoveryPoint", resource), "Principal": "*"})
        answer = refused("AccessDeniedException", BACKUP.delete_recovery_point, status=403, **named)
        assert "with an explicit deny in a resource-based policy" in answer["Error"]["Message"], answer
        assert point(arn)["Status"] == "COMPLETED"

    step("T-50 a vault policy with an exception by aws:PrincipalArn")
    with user("excepted", allow("backup:DeleteRecoveryPoint")) as (who, backup, _):
        put_vault_policy({**deny("backup:DeleteRecoveryPoint"), "Principal": "*",
                          "Condition": {"ArnNotEquals": {"aws:PrincipalArn": who}}})
        refused("AccessDeniedException", BACKUP.delete_recovery_point, status=403, **named)
        backup.delete_recovery_point(**named)
        gone(VAULT, arn)

    step("a vault policy that allows is enough in its own account")
    arn = back_up(ROLE)["RecoveryPointArn"]
    with user("invited") as (who, backup, _):
        put_vault_policy({**allow(["backup:DeleteRecoveryPoint", "backup:DescribeRecoveryPoint"]), "Principal": {"AWS": who}})
        backup.delete_recovery_point(BackupVaultName=VAULT, RecoveryPointArn=arn)
        gone(VAULT, arn)
    BACKUP.delete_backup_vault_access_policy(BackupVaultName=VAULT)


def put_vault_policy(*statements, vault=VAULT):
    BACKUP.put_backup_vault_access_policy(BackupVaultName=vault, Policy=document(*statements))


def vault_policies():
    """T-51: create-a-vault-access-policy.html"""
    step("T-51 vault policies: wildcards in actions, malformed ones, and none")
    refused("ResourceNotFoundException", BACKUP.get_backup_vault_access_policy, BackupVaultName=VAULT)
    for action in ("*", "backup:*", "s3:GetObject"):
        refused("InvalidParameterValueException", BACKUP.put_backup_vault_access_policy, BackupVaultName=VAULT,
                Policy=document({**deny(action), "Principal": "*"}))
    for text in ("{", "[]", document(deny("backup:DeleteRecoveryPoint")), document({"Effect": "Perhaps", "Principal": "*",
                 "Action": "backup:DeleteRecoveryPoint", "Resource": "*"})):
        refused("InvalidParameterValueException", BACKUP.put_backup_vault_access_policy, BackupVaultName=VAULT, Policy=text)
    refused("InvalidParameterValueException", BACKUP.put_backup_vault_access_policy, BackupVaultName=VAULT,
            text="Provided principal is not valid", Policy=document({**deny("backup:DeleteRecoveryPoint"), "Principal": {
                "AWS": f"arn:aws:iam::{ACCOUNT}:role/absent"}}))
    policy = document({**deny("backup:DeleteRecoveryPoint"), "Principal": {"AWS": "*"}})
    BACKUP.put_backup_vault_access_policy(BackupVaultName=VAULT, Policy=policy)
    assert BACKUP.get_backup_vault_access_policy(BackupVaultName=VAULT)["Policy"] == policy
    for _ in range(2):
        BACKUP.delete_backup_vault_access_policy(BackupVaultName=VAULT)
    refused("ResourceNotFoundException", BACKUP.delete_backup_vault_access_policy, BackupVaultName="absent-vault")


def passing_roles():
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html"""
    step("handing a role over needs iam:PassRole to backup.amazonaws.com")
    start = {"BackupVaultName": VAULT, "ResourceArn": RESOURCE, "IamRoleArn": ROLE}
    elsewhere = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    here = {"StringEquals": {"iam:PassedToService": "backup.amazonaws.com"}}
    with user("starter", allow("backup:*")) as (who, backup, _):
        name = who.rsplit("/", 1)[1]
        answer = refused("AccessDeniedException", backup.start_backup_job, status=403, **start)
        assert "iam:PassRole" in answer["Error"]["Message"] and ROLE in answer["Error"]["Message"], answer
        IAM.put_user_policy(UserName=name, PolicyName="pass", PolicyDocument=document(allow("iam:PassRole", ROLE, Condition=elsewhere)))
        refused("AccessDeniedException", backup.start_backup_job, status=403, **start)
        IAM.put_user_policy(UserName=name, PolicyName="pass", PolicyDocument=document(allow("iam:PassRole", ROLE, Condition=here)))
        job = backup.start_backup_job(**start)["BackupJobId"]
        done = wait(lambda: backup.describe_backup_job(BackupJobId=job), lambda j: "CompletionDate" in j, "backup")
        assert done["State"] == "COMPLETED", done
        backup.delete_recovery_point(BackupVaultName=VAULT, RecoveryPointArn=done["RecoveryPointArn"])
        gone(VAULT, done["RecoveryPointArn"])


def sessions():
    """https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html"""
    step("AssumeRole: sessions, session policies, tags; the role goes, and so does the session")
    me = STS.get_caller_identity()["Arn"]
    name = "session-" + uuid.uuid4().hex[:6]
    role = IAM.create_role(RoleName=name, Path="/team/", AssumeRolePolicyDocument=trust({"AWS": me}))["Role"]["Arn"]
    IAM.put_role_policy(RoleName=name, PolicyName="do", PolicyDocument=document(allow(["backup:List*", "backup:CreateBackupVault", "backup-storage:*"])))
    session = STS.assume_role(RoleArn=role, RoleSessionName="s1")
    backup = client("backup", session["Credentials"])
    identity = client("sts", session["Credentials"]).get_caller_identity()
    assert identity["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/s1" == session["AssumedRoleUser"]["Arn"], identity
    assert identity["UserId"].endswith(":s1") and identity["UserId"].startswith("AROA"), identity
    backup.list_backup_vaults()
    answer = refused("AccessDeniedException", backup.delete_backup_vault, status=403, BackupVaultName=VAULT)
    assert f"User: {identity['Arn']} is not authorized" in answer["Error"]["Message"], answer

    limited = STS.assume_role(RoleArn=role, RoleSessionName="s2", Policy=document(allow("backup:ListBackupJobs")))
    backup = client("backup", limited["Credentials"])
    backup.list_backup_jobs()
    answer = refused("AccessDeniedException", backup.list_backup_vaults, status=403)
    assert "no session policy allows" in answer["Error"]["Message"], answer

    with user("stranger", allow("sts:AssumeRole")) as (_, _, key):
        refused("AccessDenied", client("sts", key).assume_role, status=403, RoleArn=role, RoleSessionName="s3")
    refused("AccessDenied", STS.assume_role, status=403, RoleArn=role[:-1] + "zz", RoleSessionName="s3")
    refused("ValidationError", STS.assume_role, RoleArn=role, RoleSessionName="s3", DurationSeconds=43200)

    token = STS.get_session_token()["Credentials"]
    assert client("sts", token).get_caller_identity()["Arn"] == me
    refused("UnrecognizedClientException", client("backup", {**token, "SessionToken": token["SessionToken"][:-4] + "AAAA"}).list_backup_vaults, status=403)
    drop_role(name)
    refused("UnrecognizedClientException", client("backup", session["Credentials"]).list_backup_vaults, status=403)


def keys():
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateAccessKey.html"""
    step("an access key that is made inactive, or deleted, stops at once")
    with user("keyed", allow("backup:ListBackupVaults")) as (who, backup, key):
        name = who.rsplit("/", 1)[1]
        backup.list_backup_vaults()
        IAM.update_access_key(UserName=name, AccessKeyId=key["AccessKeyId"], Status="Inactive")
        refused("UnrecognizedClientException", backup.list_backup_vaults, status=403)
        IAM.update_access_key(UserName=name, AccessKeyId=key["AccessKeyId"], Status="Active")
        backup.list_backup_vaults()
        IAM.create_access_key(UserName=name)
        refused("LimitExceeded", IAM.create_access_key, status=409, UserName=name)


def administrator_is_never_locked_out():
    """create-a-vault-access-policy.html"""
    step("a vault policy that denies itself to everybody can be removed by the administrator")
    put_vault_policy({**deny(["backup:PutBackupVaultAccessPolicy", "backup:DeleteBackupVaultAccessPolicy"]), "Principal": "*"})
    with user("locked-out", allow("backup:*")) as (_, backup, _):
        refused("AccessDeniedException", backup.delete_backup_vault_access_policy, status=403, BackupVaultName=VAULT)
    BACKUP.delete_backup_vault_access_policy(BackupVaultName=VAULT)


def other_account():
    """T-52: create-a-vault-access-policy.html"""
    step("T-52 another account gets nothing, whatever the vault policy allows")
    other = boto3.Session(profile_name=OTHER_ACCOUNT)
    config = botocore.config.Config(retries={"max_attempts": 1})
    backup = other.client("backup", endpoint_url=ENDPOINT, region_name="us-east-1", config=config)
    them = other.client("sts", endpoint_url=ENDPOINT, region_name="us-east-1").get_caller_identity()
    assert them["Account"] == OTHER_ACCOUNT, them
    arn = back_up(ROLE)["RecoveryPointArn"]
    put_vault_policy({**allow(["backup:DeleteRecoveryPoint", "backup:DescribeRecoveryPoint", "backup:StartRestoreJob",
                               "backup:DescribeBackupVault", "backup:ListRecoveryPointsByBackupVault"]),
                      "Principal": {"AWS": [OTHER_ACCOUNT, them["Arn"]]}})
    for call in (backup.delete_recovery_point, backup.describe_recovery_point, backup.get_recovery_point_restore_metadata):
        refused("AccessDeniedException", call, status=403, BackupVaultName=VAULT, RecoveryPointArn=arn)
    theirs = f"arn:aws:iam::{OTHER_ACCOUNT}:role/service-role/AWSBackupDefaultServiceRole"
    for role in (ROLE, theirs):
        refused("AccessDeniedException", backup.start_restore_job, status=403, RecoveryPointArn=arn, IamRoleArn=role,
                Metadata={"file-system-id": FILE_SYSTEM, "newFileSystem": "false"})
    if "BackupVaultAccountId" in backup.meta.service_model.operation_model("DescribeBackupVault").input_shape.members:
        refused("AccessDeniedException", backup.describe_backup_vault, status=403, BackupVaultName=VAULT, BackupVaultAccountId=ACCOUNT)
    refused("AccessDeniedException", backup.list_tags, status=403, ResourceArn=arn)
    refused("AccessDeniedException", BACKUP.start_backup_job, status=403, BackupVaultName=VAULT, ResourceArn=RESOURCE, IamRoleArn=theirs)

    step("the same names are other things there")
    refused("ResourceNotFoundException", backup.describe_backup_vault, BackupVaultName=VAULT)
    backup.create_backup_vault(BackupVaultName=VAULT)
    assert backup.describe_backup_vault(BackupVaultName=VAULT)["NumberOfRecoveryPoints"] == 0
    assert backup.list_recovery_points_by_backup_vault(BackupVaultName=VAULT)["RecoveryPoints"] == []
    assert backup.list_recovery_points_by_resource(ResourceArn=RESOURCE)["RecoveryPoints"] == []
    assert backup.list_protected_resources()["Results"] == [] and backup.list_backup_jobs()["BackupJobs"] == []
    iam = other.client("iam", endpoint_url=ENDPOINT, region_name="us-east-1", config=config)
    assert {u["Arn"].split(":")[4] for u in iam.list_users()["Users"]} == {OTHER_ACCOUNT}
    assert ":" + ACCOUNT + ":" not in str(iam.list_roles()["Roles"]), iam.list_roles()
    backup.delete_backup_vault(BackupVaultName=VAULT)
    assert point(arn)["Status"] == "COMPLETED"
    BACKUP.delete_backup_vault_access_policy(BackupVaultName=VAULT)
    delete(arn)
    gone(VAULT, arn)


def fallback():
    """T-29: deleting-backups.html, on a server with slr_fallback"""
    BACKUP.create_backup_vault(BackupVaultName=VAULT)
    step("T-29 with slr_fallback and the service-linked role there, a deleted role does not matter")
    name, role = make_role("gone", FOR_BACKUP)
    first, second = (back_up(role)["RecoveryPointArn"] for _ in range(2))
    drop_role(name)
    expires(first, role)
    IAM.create_service_linked_role(AWSServiceName="backup.amazonaws.com")
    for arn in (first, second):
        delete(arn)
        gone(VAULT, arn)
    BACKUP.delete_backup_vault(BackupVaultName=VAULT)
    step("done")


def main():
    BACKUP.create_backup_vault(BackupVaultName=VAULT)
    role_without_rights()
    repaired_role()
    deleted_role()
    denying_role()
    untrusting_role()
    permission_removed_meanwhile()
    jobs_without_rights()
    callers()
    vault_policies()
    passing_roles()
    sessions()
    keys()
    administrator_is_never_locked_out()
    other_account()
    BACKUP.delete_backup_vault(BackupVaultName=VAULT)
    step("done")


if __name__ == "__main__":
    sys.exit({"main": main, "fallback": fallback}[sys.argv[1]]())

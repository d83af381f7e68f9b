"""Encryption keys through boto3: what becomes of the vaults of a key that is disabled, scheduled for deletion, rotated.

Run by the Go tests of this folder with the environment of story.py. Pages are below
https://docs.aws.amazon.com/kms/latest/ where no other is given.
"""

import json
import sys
import uuid

import boto3

from identity import ROLE, allow, assert_same, client, restored_directories, user
from common import ACCOUNT, BACKUP, DATA, ENDPOINT, RESOURCE, back_up, gone, refused, restore, step, wait

KMS = boto3.client("kms", endpoint_url=ENDPOINT, region_name="us-east-1")


def name():
    return "keys-" + uuid.uuid4().hex[:8]


def make_key(**more):
    return KMS.create_key(**more)["KeyMetadata"]["Arn"]


def fails(vault, text):
    started = BACKUP.start_backup_job(BackupVaultName=vault, ResourceArn=RESOURCE, IamRoleArn=ROLE)
    job = wait(lambda: BACKUP.describe_backup_job(BackupJobId=started["BackupJobId"]), lambda j: "CompletionDate" in j, "backup")
    assert job["State"] == "FAILED" and job["MessageCategory"] == "KMS_KEY_ERROR" and text in job["StatusMessage"], job


def fails_to_restore(arn, text):
    started = BACKUP.start_restore_job(RecoveryPointArn=arn, IamRoleArn=ROLE, Metadata={
        "file-system-id": RESOURCE.rsplit("/", 1)[1], "newFileSystem": "false"})
    job = wait(lambda: BACKUP.describe_restore_job(RestoreJobId=started["RestoreJobId"]), lambda j: "CompletionDate" in j, "restore")
    assert job["Status"] == "FAILED" and text in job["StatusMessage"], job


def restores(arn):
    before = restored_directories()
    restore(arn)
    (made,) = restored_directories() - before
    assert_same(DATA, made)


def drop(vault):
    for point in BACKUP.list_recovery_points_by_backup_vault(BackupVaultName=vault)["RecoveryPoints"]:
        BACKUP.delete_recovery_point(BackupVaultName=vault, RecoveryPointArn=point["RecoveryPointArn"])
        gone(vault, point["RecoveryPointArn"])
    BACKUP.delete_backup_vault(BackupVaultName=vault)


def life_of_a_key():
    """APIReference/API_CreateKey.html, API_DescribeKey.html, API_CreateAlias.html, developerguide/key-state.html"""
    step("a key is found by its id, ARN, alias and alias ARN")
    made = KMS.create_key(Description="homes", Tags=[{"TagKey": "a", "TagValue": "1"}])["KeyMetadata"]
    arn, alias = made["Arn"], "alias/" + name()
    assert made["KeyState"] == "Enabled" and made["Enabled"] and made["KeyManager"] == "CUSTOMER", made
    KMS.create_alias(AliasName=alias, TargetKeyId=made["KeyId"])
    for ref in (made["KeyId"], arn, alias, f"arn:aws:kms:us-east-1:{ACCOUNT}:{alias}"):
        assert KMS.describe_key(KeyId=ref)["KeyMetadata"] == made, ref
    refused("AlreadyExistsException", KMS.create_alias, AliasName=alias, TargetKeyId=arn)
    refused("NotFoundException", KMS.describe_key, KeyId="alias/none")
    refused("NotFoundException", KMS.describe_key, KeyId=str(uuid.uuid4()))
    assert [a["AliasName"] for a in KMS.list_aliases(KeyId=arn)["Aliases"]] == [alias]
    assert made["KeyId"] in {k["KeyId"] for page in KMS.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 1})
                             for k in page["Keys"]}
    KMS.tag_resource(KeyId=arn, Tags=[{"TagKey": "b", "TagValue": "2"}])
    KMS.untag_resource(KeyId=arn, TagKeys=["a"])
    assert KMS.list_resource_tags(KeyId=arn)["Tags"] == [{"TagKey": "b", "TagValue": "2"}]
    assert f"arn:aws:iam::{ACCOUNT}:root" in KMS.get_key_policy(KeyId=arn, PolicyName="default")["Policy"]

    step("what it encrypts is bound to the encryption context, and stays readable when the key is rotated")
    blob = KMS.encrypt(KeyId=alias, Plaintext=b"secret", EncryptionContext={"vault": "home"})["CiphertextBlob"]
    KMS.enable_key_rotation(KeyId=arn, RotationPeriodInDays=90)
    assert KMS.get_key_rotation_status(KeyId=arn)["KeyRotationEnabled"]
    assert KMS.decrypt(CiphertextBlob=blob, EncryptionContext={"vault": "home"})["Plaintext"] == b"secret"
    refused("InvalidCiphertextException", KMS.decrypt, CiphertextBlob=blob)
    data = KMS.generate_data_key(KeyId=arn, KeySpec="AES_256")
    assert KMS.decrypt(CiphertextBlob=data["CiphertextBlob"])["Plaintext"] == data["Plaintext"] and len(data["Plaintext"]) == 32

    step("what is not supported says so")
    refused("UnsupportedOperationException", KMS.create_key, KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
    refused("UnknownOperationException", KMS.list_grants, KeyId=arn)
    refused("UnknownOperationException", KMS.generate_random, NumberOfBytes=8)
    KMS.delete_alias(AliasName=alias)
    KMS.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)


def vault_of_a_key():
    """create-a-vault.html, encryption.html; developerguide/key-state.html"""
    step("a vault for which no key is named gets alias/aws/backup, and always the same")
    first, second = name(), name()
    for vault in (first, second):
        BACKUP.create_backup_vault(BackupVaultName=vault)
    default = KMS.describe_key(KeyId="alias/aws/backup")["KeyMetadata"]
    assert default["KeyManager"] == "AWS", default
    for vault in (first, second):
        described = BACKUP.describe_backup_vault(BackupVaultName=vault)
        assert described["EncryptionKeyArn"] == default["Arn"] and described["EncryptionKeyType"] == "AWS_OWNED_KMS_KEY", described
        BACKUP.delete_backup_vault(BackupVaultName=vault)
    refused("AccessDeniedException", KMS.disable_key, KeyId=default["Arn"])
    refused("AccessDeniedException", KMS.schedule_key_deletion, KeyId=default["Arn"])

    step("its key stops the jobs of a vault when it is disabled, and lets them go on when it is enabled")
    key, vault = make_key(), name()
    BACKUP.create_backup_vault(BackupVaultName=vault, EncryptionKeyArn=key)
    arn = back_up(vault)["RecoveryPointArn"]
    for described in (BACKUP.describe_backup_vault(BackupVaultName=vault),
                      BACKUP.describe_recovery_point(BackupVaultName=vault, RecoveryPointArn=arn),
                      BACKUP.list_recovery_points_by_backup_vault(BackupVaultName=vault)["RecoveryPoints"][0],
                      next(v for v in BACKUP.list_backup_vaults()["BackupVaultList"] if v["BackupVaultName"] == vault)):
        assert described["EncryptionKeyArn"] == key and described["EncryptionKeyType"] == "CUSTOMER_MANAGED_KMS_KEY", described
    KMS.disable_key(KeyId=key)
    refused("DisabledException", KMS.encrypt, KeyId=key, Plaintext=b"x")
    fails(vault, f"KMS key {key} is disabled")
    fails_to_restore(arn, f"KMS key {key} is disabled")
    KMS.enable_key(KeyId=key)
    back_up(vault)
    restores(arn)

    step("the same when its deletion is scheduled, until that is cancelled and the key enabled")
    refused("ValidationException", KMS.schedule_key_deletion, KeyId=key, PendingWindowInDays=6)
    scheduled = KMS.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert scheduled["KeyState"] == "PendingDeletion" and scheduled["DeletionDate"], scheduled
    refused("KMSInvalidStateException", KMS.enable_key, KeyId=key)
    fails(vault, f"KMS key {key} is pending deletion")
    refused("InvalidParameterValueException", BACKUP.create_backup_vault, BackupVaultName=name(), EncryptionKeyArn=key)
    KMS.cancel_key_deletion(KeyId=key)
    assert KMS.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"
    KMS.enable_key(KeyId=key)
    restores(arn)
    drop(vault)


def wrong_keys():
    """API_CreateBackupVault.html of AWS Backup"""
    step("what is no usable key of the account in the Region is refused, and no vault is made")
    key, disabled, alias = make_key(), make_key(), "alias/" + name()
    KMS.disable_key(KeyId=disabled)
    KMS.create_alias(AliasName=alias, TargetKeyId=key)
    uid, vault = key.rsplit("/", 1)[1], name()
    for wrong in (uid, alias, f"arn:aws:kms:us-east-1:{ACCOUNT}:{alias}", f"arn:aws:kms:us-east-1:111111111111:key/{uid}",
                  f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/{uid}", f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{uuid.uuid4()}", disabled,
                  f"arn:aws:backup:us-east-1:{ACCOUNT}:backup-vault:x"):
        refused("InvalidParameterValueException", BACKUP.create_backup_vault, BackupVaultName=vault, EncryptionKeyArn=wrong)
    refused("ResourceNotFoundException", BACKUP.describe_backup_vault, BackupVaultName=vault)


def permissions():
    """create-a-vault.html of AWS Backup; developerguide/key-policies.html"""
    key = make_key()
    needed = ["kms:CreateGrant", "kms:DescribeKey", "kms:RetireGrant", "kms:Decrypt", "kms:GenerateDataKey"]
    storage = ["backup:*", "backup-storage:MountCapsule"]
    step("a vault with a key takes five permissions on it; one with the default key takes none")
    with user("five", allow([*storage, *needed])) as (_, backup, _):
        vault = name()
        backup.create_backup_vault(BackupVaultName=vault, EncryptionKeyArn=key)
        backup.delete_backup_vault(BackupVaultName=vault)
    for missing in needed:
        with user("four", allow([*storage, *(a for a in needed if a != missing)])) as (_, backup, _):
            refused("AccessDeniedException", backup.create_backup_vault, status=403, text=missing,
                    BackupVaultName=name(), EncryptionKeyArn=key)
    with user("none", allow(storage)) as (_, backup, credentials):
        vault = name()
        backup.create_backup_vault(BackupVaultName=vault)
        backup.delete_backup_vault(BackupVaultName=vault)
        refused("AccessDeniedException", client("kms", credentials).describe_key, KeyId=key)

    step("the key policy decides: who it does not leave to the account may do nothing, whatever their own policies say")
    with user("owner") as (owner, _, credentials), user("full", allow("*")) as (_, _, other):
        mine, theirs = client("kms", credentials), client("kms", other)
        refused("AccessDeniedException", mine.describe_key, KeyId=key)
        policy = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": owner}, "Action": "kms:*", "Resource": "*"}]}
        refused("MalformedPolicyDocumentException", KMS.put_key_policy, KeyId=key, PolicyName="default", Policy=json.dumps(policy))
        KMS.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy), BypassPolicyLockoutSafetyCheck=True)
        assert mine.describe_key(KeyId=key)["KeyMetadata"]["Arn"] == key
        refused("AccessDeniedException", theirs.describe_key, KeyId=key, text="resource-based policy")
        refused("AccessDeniedException", KMS.disable_key, KeyId=key)
        policy["Statement"].append({"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*",
                                    "Resource": "*"})
        mine.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))
        assert theirs.describe_key(KeyId=key)["KeyMetadata"]["Arn"] == key
        policy["Statement"][1:] = [{**policy["Statement"][1]}, {"Effect": "Deny", "Principal": "*", "Action": "kms:DisableKey",
                                                               "Resource": "*"}]
        mine.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))
        refused("AccessDeniedException", KMS.disable_key, KeyId=key, text="explicit deny in a resource-based policy")


def main():
    life_of_a_key()
    vault_of_a_key()
    wrong_keys()
    permissions()
    step("done")


if __name__ == "__main__":
    sys.exit(main())

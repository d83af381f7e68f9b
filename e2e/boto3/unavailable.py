"""T-36: a deletion while the store is away is refused for now, and changes nothing.

Run by the Go tests of this folder, which take the store away, with the vault and the recovery point as arguments. Rests on
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteRecoveryPoint.html
"""

import sys

from common import BACKUP, refused


def main(vault, arn):
    named = {"BackupVaultName": vault, "RecoveryPointArn": arn}
    refused("ServiceUnavailableException", BACKUP.delete_recovery_point, status=500, **named)
    assert BACKUP.describe_recovery_point(**named)["Status"] == "COMPLETED"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

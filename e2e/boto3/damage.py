"""A bit that flips on the disk: verification names the file, the next backup that reads the file heals it.

Run by the Go tests of this folder with the environment of story.py; the arguments are the program and its data directory.
Rests on https://docs.aws.amazon.com/aws-backup/latest/devguide/API_StartBackupJob.html and
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_StartRestoreJob.html
"""

import os
import pathlib
import random
import shutil
import subprocess
import sys

from common import BACKUP, DATA, VAULT, assert_same, back_up, restore, restored_directories, step

BINARY, HOME = sys.argv[1:]


def verify(code, *flags):
    done = subprocess.run([BINARY, "vault", "verify", VAULT, *flags], env={**os.environ, "LOCKFAST_DATA": HOME}, capture_output=True,
                          text=True, check=False)
    text = done.stdout + done.stderr
    assert done.returncode == code, (done.returncode, text)
    return text


def flip():
    """Changes one bit in the middle of each pack of data."""
    packs = list(pathlib.Path(HOME, "store").glob("*/d/*/*"))
    assert packs
    for pack in packs:
        content = bytearray(pack.read_bytes())
        content[len(content) // 2] ^= 1
        pack.unlink()
        pack.write_bytes(content)


def main():
    BACKUP.create_backup_vault(BackupVaultName=VAULT)
    big = DATA / "a" / "big"
    big.write_bytes(random.Random(1).randbytes(3 << 20))

    step("a sound vault verifies")
    point = back_up()["RecoveryPointArn"]
    assert "sound" in verify(0)

    step("a flipped bit is found, with the file that it hits and no other")
    flip()
    text = verify(1)
    assert "misses a/big" in text and point in text and "a/one" not in text, text

    assert "damaged" in verify(1, "--status")

    step("the next backup that reads the file makes the older recovery point whole again")
    os.utime(big, (1, 1))
    later = back_up()["RecoveryPointArn"]
    assert "sound" in verify(0)
    for arn in (point, later):
        before = restored_directories()
        restore(arn)
        (made,) = restored_directories() - before
        assert_same(DATA, made)
        shutil.rmtree(made)


main()

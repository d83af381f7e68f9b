// The main job through the AWS SDK for JavaScript v3. Run by the Go tests of
// this folder with AWS_ENDPOINT_URL, credentials, DATA and RESOURCE_ARN set.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import {
  BackupClient, CreateBackupVaultCommand, DeleteBackupVaultCommand, DeleteRecoveryPointCommand,
  DescribeBackupJobCommand, DescribeBackupVaultCommand, DescribeRecoveryPointCommand, DescribeRestoreJobCommand,
  ListRecoveryPointsByBackupVaultCommand, ListTagsCommand, ResourceNotFoundException, StartBackupJobCommand,
  StartRestoreJobCommand, TagResourceCommand, paginateListRecoveryPointsByBackupVault,
} from "@aws-sdk/client-backup";

const { AWS_ENDPOINT_URL, DATA, RESOURCE_ARN } = process.env;
const client = new BackupClient({ endpoint: AWS_ENDPOINT_URL, region: "us-east-1", maxAttempts: 1 });
const send = (command) => client.send(command);
const step = (text) => console.log("js:", text);
const vault = { BackupVaultName: `js-${process.pid}` };
const account = RESOURCE_ARN.split(":")[4];
const role = `arn:aws:iam::${account}:role/service-role/AWSBackupDefaultServiceRole`;

async function until(read, done, what) {
  let value;
  for (let i = 0; i < 600; i++) {
    value = await read();
    if (done(value)) return value;
    await pause(50);
  }
  throw new Error(`${what} did not happen; last: ${JSON.stringify(value)}`);
}

async function backUp() {
  const { BackupJobId } = await send(new StartBackupJobCommand({ ...vault, ResourceArn: RESOURCE_ARN, IamRoleArn: role }));
  const job = await until(() => send(new DescribeBackupJobCommand({ BackupJobId })),
    (j) => ["COMPLETED", "FAILED", "ABORTED", "EXPIRED"].includes(j.State), "backup");
  assert.equal(job.State, "COMPLETED", job.StatusMessage);
  assert.ok(job.CreationDate instanceof Date && job.CompletionDate instanceof Date);
  return job.RecoveryPointArn;
}

step("create a vault, back up twice");
await send(new CreateBackupVaultCommand(vault));
writeFileSync(join(DATA, "js.txt"), "one");
const first = await backUp();
writeFileSync(join(DATA, "js.txt"), "two");
const second = await backUp();
const listed = [];
for await (const page of paginateListRecoveryPointsByBackupVault({ client, pageSize: 1 }, vault)) {
  listed.push(...page.RecoveryPoints.map((p) => p.RecoveryPointArn));
}
assert.deepEqual(listed, [second, first]);

step("tags travel in both directions");
await send(new TagResourceCommand({ ResourceArn: first, Tags: { "größe": "4 µm" } }));
assert.equal((await send(new ListTagsCommand({ ResourceArn: first }))).Tags["größe"], "4 µm");

step("restore the first");
const before = new Set(readdirSync(DATA));
const { RestoreJobId } = await send(new StartRestoreJobCommand({
  RecoveryPointArn: first, IamRoleArn: role,
  Metadata: { "file-system-id": RESOURCE_ARN.split("/")[1], newFileSystem: "false" },
}));
const job = await until(() => send(new DescribeRestoreJobCommand({ RestoreJobId })),
  (j) => ["COMPLETED", "FAILED", "ABORTED"].includes(j.Status), "restore");
assert.equal(job.Status, "COMPLETED", job.StatusMessage);
const made = readdirSync(DATA).filter((name) => !before.has(name) && name.startsWith("aws-backup-restore_"));
assert.equal(made.length, 1);
assert.equal(readFileSync(join(DATA, made[0], "js.txt"), "utf8"), "one");

step("delete both, then the vault");
for (const RecoveryPointArn of [first, second]) {
  await send(new DeleteRecoveryPointCommand({ ...vault, RecoveryPointArn }));
  await until(() => send(new DescribeRecoveryPointCommand({ ...vault, RecoveryPointArn })).catch((err) => err),
    (answer) => answer instanceof ResourceNotFoundException, "deletion");
}
assert.deepEqual((await send(new ListRecoveryPointsByBackupVaultCommand(vault))).RecoveryPoints, []);
await send(new DeleteBackupVaultCommand(vault));
await assert.rejects(send(new DescribeBackupVaultCommand(vault)), ResourceNotFoundException);
step("done");

// The main job through the AWS SDK for JavaScript v3. Run by story_test.go with
// AWS_ENDPOINT_URL, credentials and what a story consists of in the environment,
// and with the part to go through, "work" or "end". The test compares what is
// restored.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import {
  BackupClient, CreateBackupVaultCommand, DeleteBackupVaultCommand, DeleteRecoveryPointCommand,
  DescribeBackupJobCommand, DescribeBackupVaultCommand, DescribeRecoveryPointCommand, DescribeRestoreJobCommand,
  ListBackupJobsCommand, ListProtectedResourcesCommand, ListRecoveryPointsByBackupVaultCommand,
  ListRecoveryPointsByResourceCommand, ListTagsCommand, ResourceNotFoundException, StartBackupJobCommand,
  StartRestoreJobCommand, TagResourceCommand, UntagResourceCommand, UpdateRecoveryPointLifecycleCommand,
  paginateListRecoveryPointsByBackupVault,
} from "@aws-sdk/client-backup";

const { AWS_ENDPOINT_URL, DATA, ITEM, RESOURCE_ARN, RESTORED, VAULT } = process.env;
const client = new BackupClient({ endpoint: AWS_ENDPOINT_URL, region: "us-east-1", maxAttempts: 1 });
const send = (command) => client.send(command);
const step = (text) => console.log("js:", text);
const vault = { BackupVaultName: VAULT };
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

// restore moves the directory that the restore makes to its name among what the test compares.
async function restore(RecoveryPointArn, name, more) {
  const { RestoreJobId } = await send(new StartRestoreJobCommand({
    RecoveryPointArn, IamRoleArn: role,
    Metadata: { "file-system-id": RESOURCE_ARN.split("/")[1], newFileSystem: "false", ...more },
  }));
  const job = await until(() => send(new DescribeRestoreJobCommand({ RestoreJobId })),
    (j) => ["COMPLETED", "FAILED", "ABORTED"].includes(j.Status), "restore");
  assert.equal(job.Status, "COMPLETED", job.StatusMessage);
  const made = readdirSync(DATA).filter((entry) => entry.startsWith("aws-backup-restore_"));
  assert.equal(made.length, 1);
  renameSync(join(DATA, made[0]), join(RESTORED, name));
}

async function remove(RecoveryPointArn) {
  await send(new DeleteRecoveryPointCommand({ ...vault, RecoveryPointArn }));
  await until(() => send(new DescribeRecoveryPointCommand({ ...vault, RecoveryPointArn })).catch((err) => err),
    (answer) => answer instanceof ResourceNotFoundException, "deletion");
}

const points = (list) => list.map((entry) => entry.RecoveryPointArn);

async function work() {
  step("create a vault, back up, change, back up again");
  await send(new CreateBackupVaultCommand(vault));
  const first = await backUp();
  execFileSync("sh", ["change.sh"]);
  const second = await backUp();

  step("list");
  const listed = [];
  for await (const page of paginateListRecoveryPointsByBackupVault({ client, pageSize: 1 }, vault)) {
    listed.push(...points(page.RecoveryPoints));
  }
  assert.deepEqual(listed, [second, first]);
  const ofResource = await send(new ListRecoveryPointsByResourceCommand({ ResourceArn: RESOURCE_ARN }));
  assert.deepEqual(points(ofResource.RecoveryPoints), [second, first]);
  const jobs = await send(new ListBackupJobsCommand({ ByBackupVaultName: VAULT, ByState: "COMPLETED" }));
  assert.deepEqual(points(jobs.BackupJobs), [second, first]);
  const { Results } = await send(new ListProtectedResourcesCommand({}));
  assert.deepEqual(Results.map((r) => r.ResourceArn), [RESOURCE_ARN]);

  step("tags travel in both directions; lifecycle");
  await send(new TagResourceCommand({ ResourceArn: first, Tags: { "größe": "4 µm", too: "much" } }));
  await send(new UntagResourceCommand({ ResourceArn: first, TagKeyList: ["too"] }));
  assert.deepEqual((await send(new ListTagsCommand({ ResourceArn: first }))).Tags, { "größe": "4 µm" });
  await send(new UpdateRecoveryPointLifecycleCommand({ ...vault, RecoveryPointArn: second, Lifecycle: { DeleteAfterDays: 30 } }));
  const point = await send(new DescribeRecoveryPointCommand({ ...vault, RecoveryPointArn: second }));
  assert.equal(point.Status, "COMPLETED");
  assert.equal(point.ResourceArn, RESOURCE_ARN);
  assert.equal(point.CalculatedLifecycle.DeleteAt - point.CreationDate, 30 * 24 * 3600 * 1000);

  step("restore both, and one item");
  await restore(first, "first");
  await restore(second, "second");
  await restore(first, "item", { ItemsToRestore: JSON.stringify([ITEM]) });

  step("delete the first");
  await remove(first);
}

async function end() {
  step("restore and delete the second, then the vault");
  const { RecoveryPoints } = await send(new ListRecoveryPointsByBackupVaultCommand(vault));
  assert.equal(RecoveryPoints.length, 1);
  const [second] = points(RecoveryPoints);
  await restore(second, "again");
  await remove(second);
  assert.deepEqual((await send(new ListRecoveryPointsByBackupVaultCommand(vault))).RecoveryPoints, []);
  await send(new DeleteBackupVaultCommand(vault));
  await assert.rejects(send(new DescribeBackupVaultCommand(vault)), ResourceNotFoundException);
}

await { work, end }[process.argv[2]]();
step("done");

"""Backup plans through boto3, on a server whose clock starts at the beginning of 2026. RESOURCE_ARN is a directory without tags; two
others are declared with the tag backup=daily, one of them with stage=test, too.

Rests on https://docs.aws.amazon.com/aws-backup/latest/devguide/creating-a-backup-plan.html,
https://docs.aws.amazon.com/aws-backup/latest/devguide/assigning-resources.html and
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
"""

import base64
import datetime
import json
import os
import urllib.parse
import uuid

import botocore.auth
import botocore.awsrequest
import botocore.httpsession

from common import ACCOUNT, BACKUP, DATA, ENDPOINT, RESOURCE, ROLE, SESSION, refused, step, wait

TAGGING = SESSION.client("resourcegroupstaggingapi", endpoint_url=ENDPOINT, region_name="us-east-1")
IAM = SESSION.client("iam", endpoint_url=ENDPOINT, region_name="us-east-1")
HOME = "home"
HOURLY = "cron(0 * ? * * *)"


def told(**filters):
    """The details of events, oldest first."""
    details, token = [], {}
    while True:
        query = urllib.parse.urlencode({**filters, **token}, quote_via=urllib.parse.quote)
        request = botocore.awsrequest.AWSRequest(method="GET", url=f"{ENDPOINT}/lockfast/v1/events?{query}")
        botocore.auth.SigV4Auth(SESSION.get_credentials(), "lockfast", "us-east-1").add_auth(request)
        answer = botocore.httpsession.URLLib3Session(timeout=120).send(request.prepare())
        assert answer.status_code == 200, answer.text
        page = json.loads(answer.text)
        details += [json.loads(e["Document"])["detail"] for e in page["Events"]]
        if not page.get("NextToken"):
            return details[::-1]
        token = {"nextToken": page["NextToken"]}


def clock(seconds=None):
    """Moves the server's clock, or only reads it."""
    request = botocore.awsrequest.AWSRequest(
        method="POST" if seconds else "GET", url=ENDPOINT + "/lockfast/v1/clock",
        data=json.dumps({"Seconds": seconds}) if seconds else None)
    botocore.auth.SigV4Auth(SESSION.get_credentials(), "lockfast", "us-east-1").add_auth(request)
    answer = botocore.httpsession.URLLib3Session(timeout=120).send(request.prepare())
    assert answer.status_code == 200, answer.text
    return datetime.datetime.fromtimestamp(json.loads(answer.text)["Now"], datetime.timezone.utc)


def advance_to(year, month, day, hour=0):
    target = datetime.datetime(year, month, day, hour, tzinfo=datetime.timezone.utc)
    return clock(int((target - clock()).total_seconds()) + 1)


def rule(name="daily", **more):
    return {"RuleName": name, "TargetBackupVaultName": HOME, **more}


def create(name, *rules, token=None, **more):
    token = {"CreatorRequestId": token} if token else {}
    return BACKUP.create_backup_plan(BackupPlan={"BackupPlanName": name, "Rules": list(rules) or [rule()], **more}, **token)


def delete(plan):
    for s in BACKUP.list_backup_selections(BackupPlanId=plan)["BackupSelectionsList"]:
        BACKUP.delete_backup_selection(BackupPlanId=plan, SelectionId=s["SelectionId"])
    BACKUP.delete_backup_plan(BackupPlanId=plan)


def select(plan, name="all", role=ROLE, **more):
    return BACKUP.create_backup_selection(BackupPlanId=plan, BackupSelection={
        "SelectionName": name, "IamRoleArn": role, **more})["SelectionId"]


def all_jobs(**filters):
    pages = BACKUP.get_paginator("list_backup_jobs").paginate(**filters)
    return [j for page in pages for j in page["BackupJobs"]]


def jobs_of(plan):
    return [j for j in all_jobs() if j.get("CreatedBy", {}).get("BackupPlanId") == plan]


def created():
    step("plans are made once")
    doc = rule(Lifecycle={"DeleteAfterDays": 35}, RecoveryPointTags={"made": "by plan"})
    first = create("servers", doc, token="one", AdvancedBackupSettings=[
        {"ResourceType": "EC2", "BackupOptions": {"WindowsVSS": "enabled"}}])
    plan = first["BackupPlanId"]
    again = create("servers", doc, token="one", AdvancedBackupSettings=[
        {"ResourceType": "EC2", "BackupOptions": {"WindowsVSS": "enabled"}}])
    assert again["BackupPlanId"] == plan, again
    try:
        create("servers", doc, token="two", AdvancedBackupSettings=[
            {"ResourceType": "EC2", "BackupOptions": {"WindowsVSS": "enabled"}}])
        raise AssertionError("the same document made two plans")
    except BACKUP.exceptions.AlreadyExistsException as err:
        answer = err.response
        assert answer["Arn"] == first["BackupPlanArn"] and answer["CreatorRequestId"] == "one", answer
    got = BACKUP.get_backup_plan(BackupPlanId=plan)
    (r,) = got["BackupPlan"]["Rules"]
    assert r["ScheduleExpression"] == "cron(0 5 ? * * *)" and r["ScheduleExpressionTimezone"] == "Etc/UTC", r
    assert r["StartWindowMinutes"] == 480 and r["CompletionWindowMinutes"] == 10080 and uuid.UUID(r["RuleId"]), r
    assert "AdvancedBackupSettings" not in got["BackupPlan"] and got["AdvancedBackupSettings"], got
    assert got["BackupPlanArn"] == f"arn:aws:backup:us-east-1:{ACCOUNT}:backup-plan:{plan}", got
    uuid.UUID(base64.b64decode(got["VersionId"]).decode())
    return plan, got


def versions(plan, before):
    step("an update makes a version, and the old one stays")
    new = BACKUP.update_backup_plan(BackupPlanId=plan, BackupPlan={"BackupPlanName": "servers", "Rules": [rule(StartWindowMinutes=60)]})
    assert new["VersionId"] != before["VersionId"], new
    same = BACKUP.update_backup_plan(BackupPlanId=plan, BackupPlan={"BackupPlanName": "servers", "Rules": [rule(StartWindowMinutes=60)]})
    assert same["VersionId"] == new["VersionId"], same
    now = BACKUP.get_backup_plan(BackupPlanId=plan)
    assert now["VersionId"] == new["VersionId"] and now["BackupPlan"]["Rules"][0]["StartWindowMinutes"] == 60, now
    assert now["BackupPlan"]["Rules"][0]["RuleId"] == before["BackupPlan"]["Rules"][0]["RuleId"], now
    old = BACKUP.get_backup_plan(BackupPlanId=plan, VersionId=before["VersionId"])
    assert old["BackupPlan"] == before["BackupPlan"], old
    pages = BACKUP.get_paginator("list_backup_plan_versions").paginate(BackupPlanId=plan, PaginationConfig={"PageSize": 1})
    ids = [v["VersionId"] for page in pages for v in page["BackupPlanVersionsList"]]
    assert ids == [new["VersionId"], before["VersionId"]], ids
    refused("ResourceNotFoundException", BACKUP.get_backup_plan, BackupPlanId=str(uuid.uuid4()),
            text="Failed reading Backup plan with provided version")


def deleted(plan):
    step("a plan is deleted after its selections")
    selection = select(plan)
    refused("InvalidRequestException", BACKUP.delete_backup_plan, BackupPlanId=plan,
            text="Related backup plan selections must be deleted prior to backup plan deletion")
    BACKUP.delete_backup_selection(BackupPlanId=plan, SelectionId=selection)
    BACKUP.delete_backup_plan(BackupPlanId=plan)
    listed = [p["BackupPlanId"] for p in BACKUP.list_backup_plans()["BackupPlansList"]]
    assert plan not in listed, listed
    (gone,) = [p for p in BACKUP.list_backup_plans(IncludeDeleted=True)["BackupPlansList"] if p["BackupPlanId"] == plan]
    assert gone["DeletionDate"], gone


def templates():
    step("templates, export and import")
    listed = BACKUP.list_backup_plan_templates()["BackupPlanTemplatesList"]
    assert [t["BackupPlanTemplateName"] for t in listed][0] == "Daily-35day-Retention" and len(listed) == 4, listed
    doc = BACKUP.get_backup_plan_from_template(BackupPlanTemplateId="87c0c1ef-254d-4180-8fef-2e76a2c38aaa")["BackupPlanDocument"]
    assert doc["Rules"][0]["Lifecycle"]["DeleteAfterDays"] == 35, doc
    plan = create("exported", rule(Lifecycle={"DeleteAfterDays": 35}))["BackupPlanId"]
    text = BACKUP.export_backup_plan_template(BackupPlanId=plan)["BackupPlanTemplateJson"]
    read = BACKUP.get_backup_plan_from_json(BackupPlanTemplateJson=text)["BackupPlan"]
    assert read["BackupPlanName"] == "exported" and read["Rules"][0]["Lifecycle"] == {"DeleteAfterDays": 35}, read
    refused("InvalidRequestException", BACKUP.get_backup_plan_from_json, BackupPlanTemplateJson=text.replace("35", "36"))
    delete(plan)


def schedules(vectors):
    for n, (expression, zone, want) in enumerate(vectors):
        plan = create(f"schedule-{uuid.uuid4()}", rule(ScheduleExpression=expression, ScheduleExpressionTimezone=zone))["BackupPlanId"]
        preview = BACKUP.get_backup_plan(BackupPlanId=plan, MaxScheduledRunsPreview=10).get("ScheduledRunsPreview", [])
        got = [r["ExecutionTime"].astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M") for r in preview]
        assert got[:len(want)] == want and bool(got) == bool(want), (expression, zone, got, want)
        assert len(got) == 10 or not want or "2026-2027" in expression, (expression, got)
        delete(plan)


def january():
    step("schedules")
    schedules([
        ("cron(0 5 ? * * *)", "UTC", ["2026-01-01T05:00", "2026-01-02T05:00"]),
        ("cron(15 * ? * * *)", "UTC", ["2026-01-01T00:15", "2026-01-01T01:15", "2026-01-01T02:15"]),
        ("cron(0 14/12 * * ? *)", "UTC", ["2026-01-01T14:00", "2026-01-02T14:00"]),
        ("cron(0 0/12 * * ? *)", "UTC", ["2026-01-01T12:00", "2026-01-02T00:00", "2026-01-02T12:00"]),
        ("cron(15 10 ? * 6L 2026-2027)", "UTC", [f"2026-{d}T10:15" for d in ("01-30", "02-27", "03-27", "04-24")]),
        ("cron(0 9 ? * 3#2 *)", "UTC", [f"2026-{d}T09:00" for d in ("01-13", "02-10", "03-10", "04-14")]),
        ("cron(0 3 ? * 2#5 *)", "UTC", [f"2026-{d}T03:00" for d in ("03-30", "06-29", "08-31", "11-30")]),
        ("cron(0 3 L * ? *)", "UTC", [f"2026-{d}T03:00" for d in ("01-31", "02-28", "03-31", "04-30")]),
        ("cron(0 3 15W * ? *)", "UTC", [f"2026-{d}T03:00" for d in ("01-15", "02-16", "03-16", "04-15")]),
        ("cron(0 3 1W * ? *)", "UTC", [f"2026-{d}T03:00" for d in ("01-01", "02-02", "03-02", "04-01")]),
        ("cron(0 3 LW * ? *)", "UTC", [f"2026-{d}T03:00" for d in ("01-30", "02-27", "03-31", "04-30")]),
        ("cron(0 0 ? * L *)", "UTC", [f"2026-{d}T00:00" for d in ("01-03", "01-10", "01-17")]),
        ("cron(0 6 29 2 ? *)", "UTC", ["2028-02-29T06:00", "2032-02-29T06:00"]),
        ("cron(0 6 31 * ? *)", "UTC", [f"2026-{d}T06:00" for d in ("01-31", "03-31", "05-31", "07-31")]),
        ("cron(0 5 ? * SUN 2025)", "UTC", []),
    ])
    for bad in ("cron(0 5 * * * *)", "cron(0 5 * * *)", "cron(0 5 ? * 8 *)", "cron(0 5 ? * 3#1,6#3 *)", "cron(60 5 ? * * *)",
                "rate(1 day)", "cron(0 5 1 * 2 *)", "cron(0/30 * ? * * *)"):
        refused("InvalidParameterValueException", BACKUP.create_backup_plan,
                BackupPlan={"BackupPlanName": "bad", "Rules": [rule(ScheduleExpression=bad)]})
    refused("InvalidParameterValueException", BACKUP.create_backup_plan,
            BackupPlan={"BackupPlanName": "bad", "Rules": [rule(ScheduleExpressionTimezone="Mars/Olympus")]})


def daylight():
    step("daylight saving")
    pacific = "America/Los_Angeles"
    advance_to(2026, 3, 7)
    schedules([
        ("cron(0 1 ? * * *)", pacific, ["2026-03-07T09:00", "2026-03-08T09:00", "2026-03-09T08:00"]),
        ("cron(30 2 * * ? *)", pacific, ["2026-03-07T10:30", "2026-03-09T09:30"]),
    ])
    advance_to(2026, 10, 31)
    schedules([("cron(30 1 * * ? *)", pacific, ["2026-10-31T08:30", "2026-11-01T08:30", "2026-11-02T09:30"])])


def limits():
    step("windows and lifecycles")

    def attempt(**more):
        return BACKUP.create_backup_plan(BackupPlan={"BackupPlanName": "limits-" + uuid.uuid4().hex, "Rules": [rule(**more)]})
    for bad in ({"StartWindowMinutes": 59}, {"CompletionWindowMinutes": 100}, {"TargetBackupVaultName": "nowhere"},
                {"Lifecycle": {"DeleteAfterDays": 100, "MoveToColdStorageAfterDays": 20}},
                {"EnableContinuousBackup": True, "Lifecycle": {"DeleteAfterDays": 36}}):
        refused("InvalidParameterValueException", attempt, **bad)
    for good in ({"StartWindowMinutes": 60}, {"Lifecycle": {"DeleteAfterDays": 110, "MoveToColdStorageAfterDays": 20}},
                 {"EnableContinuousBackup": True, "Lifecycle": {"DeleteAfterDays": 35}}):
        delete(attempt(**good)["BackupPlanId"])


def roles():
    step("selections need a role that AWS Backup can assume")
    plan = create("roles")["BackupPlanId"]
    for name, service in (("untrusting", "ec2"), ("weak", "backup")):
        IAM.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}]}))
    for name, text, more in (("untrusting", "cannot be assumed", {}), ("nobody", "cannot be assumed", {}),
                             ("weak", "is not authorized to call tag:GetResources", {"ListOfTags": [
                                 {"ConditionType": "STRINGEQUALS", "ConditionKey": "a", "ConditionValue": "b"}]})):
        refused("InvalidParameterValueException", BACKUP.create_backup_selection, text=text, BackupPlanId=plan, BackupSelection={
            "SelectionName": name, "IamRoleArn": f"arn:aws:iam::{ACCOUNT}:role/{name}", **more})
    delete(plan)


def selected():
    step("which resources selections select")
    tagged = {m["ResourceARN"]: {t["Key"]: t["Value"] for t in m["Tags"]} for m in TAGGING.get_resources()["ResourceTagMappingList"]}
    (daily,) = [a for a, t in tagged.items() if t == {"backup": "daily"}]
    (test,) = [a for a, t in tagged.items() if t == {"backup": "daily", "stage": "test"}]
    TAGGING.tag_resources(ResourceARNList=[RESOURCE], Tags={"given": "later"})
    everything = {daily, test, RESOURCE}

    def tags(*pairs):
        return [{"ConditionType": "STRINGEQUALS", "ConditionKey": k, "ConditionValue": v} for k, v in pairs]

    def conditions(kind, *pairs):
        return {kind: [{"ConditionKey": "aws:ResourceTag/" + k, "ConditionValue": v} for k, v in pairs]}
    table = [
        ({}, everything), ({"Resources": ["*"]}, everything), ({"Resources": [RESOURCE]}, {RESOURCE}),
        ({"Resources": ["arn:aws:elasticfilesystem:*:*:file-system/*"]}, everything), ({"Resources": ["arn:aws:ec2:*"]}, set()),
        ({"ListOfTags": tags(("backup", "daily"))}, {daily, test}), ({"ListOfTags": tags(("given", "later"))}, {RESOURCE}),
        ({"ListOfTags": tags(("backup", "weekly"), ("stage", "test"))}, {test}),
        ({"Resources": [RESOURCE], "ListOfTags": tags(("stage", "test"))}, {RESOURCE, test}),
        ({"Resources": ["*"], "NotResources": [daily]}, {RESOURCE, test}),
        ({"Conditions": conditions("StringEquals", ("stage", "test"))}, {test}),
        ({"Conditions": conditions("StringLike", ("stage", "t*"))}, {test}),
        ({"Conditions": conditions("StringNotEquals", ("stage", "test"))}, {daily, RESOURCE}),
        ({"Conditions": conditions("StringNotLike", ("stage", "*"))}, {daily, RESOURCE}),
        ({"Resources": ["*"], "Conditions": {**conditions("StringEquals", ("backup", "daily")), **conditions("StringNotEquals", ("stage", "test"))}},
         {daily}),
    ]
    plans = []
    for n, (selection, _) in enumerate(table):
        plans.append(create(f"selects-{n}", rule(ScheduleExpression=HOURLY, StartWindowMinutes=60))["BackupPlanId"])
        select(plans[n], **selection)
    clock(3600)
    for plan, (selection, want) in zip(plans, table):
        got = {j["ResourceArn"] for j in jobs_of(plan)}
        assert got == want, (selection, got, want)
    opted_out(plans[1], plans[2], daily, test)
    for plan in plans:
        delete(plan)
    wait(lambda: [j for j in all_jobs() if j["State"] in ("CREATED", "RUNNING")], lambda waiting: not waiting, "end of all jobs", seconds=120)
    return daily


def opted_out(everything, named, daily, test):
    step("opting out")
    assert BACKUP.describe_region_settings()["ResourceTypeOptInPreference"]["EFS"] is True
    BACKUP.update_region_settings(ResourceTypeOptInPreference={"EFS": False})
    before = len(jobs_of(everything)), len(jobs_of(named))
    clock(3600)
    after = len(jobs_of(everything)), len(jobs_of(named))
    assert after == (before[0], before[1] + 1), (before, after)
    refused("InvalidRequestException", BACKUP.start_backup_job, BackupVaultName=HOME, ResourceArn=RESOURCE, IamRoleArn=ROLE)
    refused("InvalidParameterValueException", BACKUP.update_region_settings, ResourceTypeOptInPreference={"Nonsense": True})
    BACKUP.update_region_settings(ResourceTypeOptInPreference={"EFS": True})


def planned(daily):
    step("a planned job says who made it")
    BACKUP.create_backup_vault(BackupVaultName="offsite")
    offsite = BACKUP.describe_backup_vault(BackupVaultName="offsite")["BackupVaultArn"]
    created = create("nightly", rule(Lifecycle={"DeleteAfterDays": 7}, RecoveryPointTags={"made": "by plan"}, CopyActions=[
        {"DestinationBackupVaultArn": offsite, "Lifecycle": {"DeleteAfterDays": -1}}]))
    plan = created["BackupPlanId"]
    select(plan, Resources=[daily])
    day = clock()
    advance_to(day.year, day.month, day.day + 1, 5)
    job = wait(lambda: jobs_of(plan)[0], lambda j: j["State"] == "COMPLETED", "planned job")
    by = job["CreatedBy"]
    assert by["BackupPlanVersion"] == created["VersionId"] and by["BackupRuleName"] == "daily", by
    assert by["BackupRuleCron"] == "cron(0 5 ? * * *)" and by["BackupRuleTimezone"] == "Etc/UTC", by
    assert job["StartBy"] - job["CreationDate"] == datetime.timedelta(hours=8), job
    point = BACKUP.describe_recovery_point(BackupVaultName=HOME, RecoveryPointArn=job["RecoveryPointArn"])
    assert point["CreatedBy"]["BackupPlanId"] == plan and point["Lifecycle"]["DeleteAfterDays"] == 7, point
    listed = BACKUP.list_recovery_points_by_backup_vault(BackupVaultName=HOME, ByBackupPlanId=plan)["RecoveryPoints"]
    assert [p["RecoveryPointArn"] for p in listed] == [job["RecoveryPointArn"]], listed
    tags = BACKUP.list_tags(ResourceArn=job["RecoveryPointArn"])["Tags"]
    assert tags == {"backup": "daily", "made": "by plan"}, tags
    (copy,) = wait(lambda: BACKUP.list_copy_jobs(BySourceRecoveryPointArn=job["RecoveryPointArn"])["CopyJobs"],
                   lambda jobs: jobs and jobs[0]["State"] == "COMPLETED", "copy")
    assert copy["CreatedBy"]["BackupPlanId"] == plan, copy
    copied = BACKUP.describe_recovery_point(BackupVaultName="offsite", RecoveryPointArn=copy["DestinationRecoveryPointArn"])
    assert copied["CreationDate"] == point["CreationDate"], (copied, point)
    assert copied["CalculatedLifecycle"] == point["CalculatedLifecycle"], (copied, point)
    assert BACKUP.get_backup_plan(BackupPlanId=plan)["LastExecutionDate"], "a plan that ran has no LastExecutionDate"
    delete(plan)
    events_of(plan, created["VersionId"], job)
    step("its retention is over, and not before")
    clock(7 * 24 * 3600 - 3600)
    assert BACKUP.describe_recovery_point(BackupVaultName=HOME, RecoveryPointArn=job["RecoveryPointArn"])["Status"] == "COMPLETED"
    clock(2 * 3600)

    def there():
        try:
            return BACKUP.describe_recovery_point(BackupVaultName=HOME, RecoveryPointArn=job["RecoveryPointArn"])
        except BACKUP.exceptions.ResourceNotFoundException:
            return None
    wait(there, lambda p: p is None, "expiry")


def events_of(plan, version, job):
    """Shapes: https://docs.aws.amazon.com/aws-backup/latest/devguide/eventbridge.html"""
    step("events tell of the job and of its plan")
    events = [e for e in told(eventType="Backup Job State Change", recoveryPointArn=job["RecoveryPointArn"])]
    assert [e["state"] for e in events] == ["CREATED", "RUNNING", "COMPLETED"], events
    assert {e["backupJobId"] for e in events} == {job["BackupJobId"]} and set(events[0]) == {"backupJobId", "state", "creationDate"}, events
    over = events[-1]
    assert job["PercentDone"] == "100.0" and over["percentDone"] == 100 and isinstance(over["percentDone"], (int, float)), (job, over)
    assert isinstance(job["BytesTransferred"], int) and over["bytesTransferred"] == str(job["BytesTransferred"]), (job, over)
    assert over["backupSizeInBytes"] == str(job["BackupSizeInBytes"]), (job, over)
    by = over["createdBy"]
    assert by["backupPlanId"] == plan and by["backupPlanVersion"] == version and by["backupPlanRuleId"] == job["CreatedBy"]["BackupRuleId"], by
    done = told(eventType="BACKUP_JOB_COMPLETED", backupVaultName=HOME, recoveryPointArn=job["RecoveryPointArn"])
    assert done == [over], done
    plans = [e for e in told(eventType="Backup Plan State Change") if e["backupPlanId"] == plan]
    assert [(e["state"], e["versionId"]) for e in plans] == [("CREATED", version), ("DELETED", version)], plans
    changes = [e["ResourceTypeOptInPreference"]["EFS"] for e in told(eventType="Region Setting State Change")]
    assert changes[-2:] == [False, True], changes
    vaults = told(eventType="Backup Vault State Change", backupVaultName=HOME)
    assert [e["state"] for e in vaults] == ["CREATED"], vaults


def overlapping(daily):
    step("of overlapping rules the one with the longer retention backs up")
    plan = create("overlap", rule("hourly", ScheduleExpression=HOURLY, StartWindowMinutes=60, Lifecycle={"DeleteAfterDays": 1}),
                  rule("long", ScheduleExpression="cron(0 0/12 ? * * *)", StartWindowMinutes=480, Lifecycle={"DeleteAfterDays": 7}))["BackupPlanId"]
    day = clock()
    start = advance_to(day.year, day.month, day.day, 23)
    select(plan, Resources=[daily])
    for _ in range(24):
        clock(3600)
    got = [j["CreatedBy"]["BackupRuleName"] for j in jobs_of(plan)]
    assert got.count("long") == 2 and got.count("hourly") == 8, (start, got)
    delete(plan)
    wait(lambda: all_jobs(ByState="CREATED") + all_jobs(ByState="RUNNING"), lambda waiting: not waiting, "end of all jobs")


def state(job):
    return BACKUP.describe_backup_job(BackupJobId=job)["State"]


def large():
    """Starts a backup that takes a while, and returns its job when it runs; None if it is over already."""
    (DATA / "large").write_bytes(os.urandom(300 << 20))
    token = str(uuid.uuid4())
    first = BACKUP.start_backup_job(BackupVaultName=HOME, ResourceArn=RESOURCE, IamRoleArn=ROLE, IdempotencyToken=token)
    again = BACKUP.start_backup_job(BackupVaultName=HOME, ResourceArn=RESOURCE, IamRoleArn=ROLE, IdempotencyToken=token)
    assert again["BackupJobId"] == first["BackupJobId"], again
    job = first["BackupJobId"]
    return job if wait(lambda: state(job), lambda s: s != "CREATED", "start") == "RUNNING" else None


def until_seen(attempt, what):
    """Repeats what depends on a backup that takes a while, on machines that are fast."""
    for _ in range(10):
        job = large()
        if job and attempt(job):
            (DATA / "large").unlink()
            return
        if job:
            wait(lambda: state(job), lambda s: s in ("COMPLETED", "ABORTED"), "first job")
    raise AssertionError(f"{what}: never seen")


def second():
    return BACKUP.start_backup_job(BackupVaultName=HOME, ResourceArn=RESOURCE, IamRoleArn=ROLE, StartWindowMinutes=60)["BackupJobId"]


def busy():
    step("a second job of a resource waits, and then runs")

    def waits(first):
        job = second()
        waited = (state(job), state(first)) == ("CREATED", "RUNNING")
        wait(lambda: state(job), lambda s: s == "COMPLETED", "second job")
        return waited
    until_seen(waits, "a job that waits for another one")
    step("a second job of a resource whose time is over while it waits")

    def expires(first):
        job = second()
        clock(2 * 3600)
        over = wait(lambda: BACKUP.describe_backup_job(BackupJobId=job), lambda j: j["State"] in ("COMPLETED", "EXPIRED"), "second job")
        wait(lambda: state(first), lambda s: s == "COMPLETED", "first job")
        if over["State"] == "COMPLETED":
            return False
        assert over["MessageCategory"] == "CONCURRENT_JOB", over
        assert over["StatusMessage"] == "Backup job failed because there was a running job for the same resource.", over
        return True
    until_seen(expires, "a job that expires behind another one")


def stopped():
    step("a job that is stopped leaves nothing")

    def stops(job):
        try:
            BACKUP.stop_backup_job(BackupJobId=job)
        except BACKUP.exceptions.InvalidRequestException:
            return False  # it was faster
        assert state(job) in ("ABORTING", "ABORTED"), state(job)
        over = wait(lambda: BACKUP.describe_backup_job(BackupJobId=job), lambda j: j["State"] == "ABORTED", "end")
        assert over["StatusMessage"] == "Backup job was stopped by user." and "RecoveryPointArn" not in over, over
        assert over["CompletionDate"], over
        refused("InvalidRequestException", BACKUP.stop_backup_job, BackupJobId=job)
        return True
    until_seen(stops, "a running job that is stopped")
    done = [j for j in all_jobs(ByState="COMPLETED")][0]["BackupJobId"]
    refused("InvalidRequestException", BACKUP.stop_backup_job, BackupJobId=done)


def summaries():
    step("summaries")
    clock(24 * 3600)
    now = clock()
    listed = [j for j in all_jobs() if (now - j["CreationDate"]).days < 15]
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    counted = [j for j in listed if midnight - datetime.timedelta(days=14) <= j["CreationDate"] < midnight]

    def rows(**filters):
        return BACKUP.list_backup_job_summaries(**filters)["BackupJobSummaries"]
    assert sum(r["Count"] for r in rows(State="AGGREGATE_ALL", MessageCategory="AGGREGATE_ALL", ResourceType="AGGREGATE_ALL",
                                        AggregationPeriod="FOURTEEN_DAYS")) == len(counted), len(counted)
    by_state = {}
    for r in rows(State="ANY", MessageCategory="AGGREGATE_ALL", AggregationPeriod="FOURTEEN_DAYS"):
        by_state[r["State"]] = by_state.get(r["State"], 0) + r["Count"]
        assert r["MessageCategory"] == "AGGREGATE_ALL" and r["ResourceType"] == "EFS" and r["AccountId"] == ACCOUNT, r
    want = {}
    for j in counted:
        want[j["State"]] = want.get(j["State"], 0) + 1
    assert by_state == want, (by_state, want)
    before = sum(r["Count"] for r in rows())
    job = BACKUP.start_backup_job(BackupVaultName=HOME, ResourceArn=RESOURCE, IamRoleArn=ROLE)["BackupJobId"]
    assert sum(r["Count"] for r in rows()) == before, "today is counted"
    wait(lambda: BACKUP.describe_backup_job(BackupJobId=job)["State"], lambda s: s == "COMPLETED", "backup")


def paged():
    step("pages while jobs are added")
    completed = {j["BackupJobId"] for j in all_jobs(ByState="COMPLETED", ByResourceArn=RESOURCE)}
    assert completed and completed < {j["BackupJobId"] for j in all_jobs(ByState="COMPLETED")}, completed
    seen, token = [], {}
    while True:
        page = BACKUP.list_backup_jobs(ByState="COMPLETED", ByResourceArn=RESOURCE, MaxResults=1, **token)
        seen += [j["BackupJobId"] for j in page["BackupJobs"]]
        if len(seen) < 3:
            job = BACKUP.start_backup_job(BackupVaultName=HOME, ResourceArn=RESOURCE, IamRoleArn=ROLE)["BackupJobId"]
            wait(lambda: BACKUP.describe_backup_job(BackupJobId=job)["State"], lambda s: s == "COMPLETED", "backup")
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert len(seen) == len(set(seen)) and completed <= set(seen), (seen, completed)


def main():
    BACKUP.create_backup_vault(BackupVaultName=HOME)
    january()
    plan, before = created()
    versions(plan, before)
    deleted(plan)
    templates()
    limits()
    roles()
    daily = selected()
    planned(daily)
    overlapping(daily)
    busy()
    stopped()
    summaries()
    paged()
    daylight()


if __name__ == "__main__":
    main()

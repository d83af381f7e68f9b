package iam_test

import (
	"errors"
	"testing"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iam"
	"github.com/lockfast/lockfast/internal/meta"
)

const (
	trustsService = `{"Service":"backup.amazonaws.com"}`
	fileSystem    = "arn:aws:elasticfilesystem:us-east-1:000000000000:file-system/fs-1"
	linkedRole    = "arn:aws:iam::000000000000:role/aws-service-role/backup.amazonaws.com/AWSServiceRoleForBackup"
)

func trust(principal string, members ...string) string {
	return statement("Allow", append([]string{"Principal", principal, "Action", "sts:AssumeRole"}, members...)...)
}

func TestRoleUsable(t *testing.T) {
	t.Parallel()
	w := sqlite(t)
	if _, err := w.EnsureAccount(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	usable := []string{
		iam.DefaultRole(account),
		w.role(account, "mine", trust(trustsService)),
		w.role(account, "guarded", trust(trustsService, "Condition", `{"StringEquals":{"aws:SourceAccount":"000000000000"},
			"ArnLike":{"aws:SourceArn":"arn:aws:backup:us-east-1:000000000000:*"}}`)),
	}
	for _, r := range usable {
		if err := w.RoleUsable(t.Context(), account, r); err != nil {
			t.Errorf("RoleUsable(%s) = %v", r, err)
		}
	}
	for _, r := range []string{
		"", "*", "nonsense", "arn:aws:iam::000000000000:role/none", "arn:aws:iam::000000000000:role/mine",
		"arn:aws:iam::000000000000:user/p/mine", "arn:aws:iam::000000000000:role/p/MINE", iam.DefaultRole(other),
		w.role(other, "theirs", trust(trustsService)),
		w.role(account, "ec2", trust(`{"Service":"ec2.amazonaws.com"}`)),
		w.role(account, "people", trust(`{"AWS":"000000000000"}`)),
		w.role(account, "foreign", trust(trustsService, "Condition", `{"StringEquals":{"aws:SourceAccount":"111111111111"}}`)),
		w.role(account, "denying", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":`+trustsService+
			`,"Action":"sts:AssumeRole"},{"Effect":"Deny","Principal":"*","Action":"sts:*"}]}`),
	} {
		err := w.RoleUsable(t.Context(), account, r)
		if !errors.Is(err, iam.ErrRole) || err.Error() != "IAM Role "+r+" cannot be assumed by AWS Backup" {
			t.Errorf("RoleUsable(%q) = %v", r, err)
		}
	}
}

func TestRoleMay(t *testing.T) {
	t.Parallel()
	w := sqlite(t)
	w.tags[fileSystem] = map[string]string{"backup": "daily"}
	arn := w.role(account, "r", trust(trustsService),
		statement("Allow", "Action", "elasticfilesystem:Backup", "Resource", fileSystem,
			"Condition", `{"StringEquals":{"aws:ResourceTag/backup":"daily","aws:PrincipalAccount":"000000000000"},"Bool":{"aws:ViaAWSService":"true"}}`),
		statement("Allow", "Action", "backup:*", "Resource", "*"))
	backup, copies := caller.On("elasticfilesystem:Backup", fileSystem), caller.On("backup:CopyIntoBackupVault", foreign)
	may := func(asked []caller.Access) error { return w.RoleMay(t.Context(), account, arn, asked) }
	if err := may(append(backup, caller.On("backup:CopyIntoBackupVault", vault)...)); err != nil {
		t.Error(err)
	}
	w.attach(vault, statement("Deny", "Principal", "*", "Action", "backup:DeleteRecoveryPoint", "Resource", "*"))
	if err := may(caller.On("backup:DeleteRecoveryPoint", vault)); err != nil {
		t.Errorf("a vault's policy keeps the service from deleting: %v", err)
	}
	wantLack(t, may(copies), arn, copies[0])
	w.attach(foreign, statement("Allow", "Principal", `{"AWS":"000000000000"}`, "Action", "backup:CopyIntoBackupVault", "Resource", "*"))
	if err := may(copies); err != nil {
		t.Error(err)
	}
	wantLack(t, may(caller.On("s3:GetObject", "arn:aws:s3:::b/k")), arn, caller.Access{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k"})
	w.exec("UPDATE iam_role SET boundary = ?", w.managed(account, "Bounds", statement("Allow", "Action", "backup:*", "Resource", "*")))
	wantLack(t, may(backup), arn, backup[0])
	w.exec("UPDATE iam_role SET trust = ?", trust(`{"AWS":"000000000000"}`))
	if err := may(copies); !errors.Is(err, iam.ErrRole) {
		t.Errorf("RoleMay of a role that trusts people only = %v", err)
	}
}

func wantLack(t *testing.T, err error, role string, a caller.Access) {
	t.Helper()
	d, ok := errors.AsType[*iam.RoleDenied](err)
	if !ok || d.RoleARN != role || d.Action != a.Action || d.Resource != a.Resource {
		t.Errorf("error = %v, want the lack of %s", err, a.Action)
	}
}

func TestDeleteAuthority(t *testing.T) {
	t.Parallel()
	const (
		deletes   = `{"Effect":"Allow","Action":"ec2:DeleteSnapshot","Resource":"*"}`
		forbids   = `{"Effect":"Deny","Action":"ec2:DeleteSnapshot","Resource":"*"}`
		creates   = `{"Effect":"Allow","Action":"iam:CreateServiceLinkedRole","Resource":"` + linkedRole + `","Condition":{"StringEquals":{"iam:AWSServiceName":"backup.amazonaws.com"}}}`
		elsewhere = `{"Effect":"Allow","Action":"iam:CreateServiceLinkedRole","Resource":"*","Condition":{"StringEquals":{"iam:AWSServiceName":"ec2.amazonaws.com"}}}`
	)
	tests := []struct {
		name       string
		statements string
		ok, linked bool // the service-linked role is there afterwards
	}{
		{"the right", deletes, true, false},
		{"no right", elsewhere, false, false},
		{"an explicit deny", deletes + "," + forbids, false, false},
		{"no right, but the one to create the role", creates, true, true},
		{"an explicit deny, and the right to create the role", forbids + "," + creates, true, true},
		{"the right to create another role", elsewhere, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			run(t, func(t *testing.T, db *meta.DB) {
				w := newWorld(t, db)
				arn := w.role(account, "r", trust(trustsService), `{"Version":"2012-10-17","Statement":[`+test.statements+`]}`)
				for range 2 {
					err := w.DeleteAuthority(t.Context(), account, arn, caller.On("ec2:DeleteSnapshot", point))
					if test.ok && err != nil {
						t.Error(err)
					}
					if !test.ok {
						wantLack(t, err, arn, caller.Access{Action: "ec2:DeleteSnapshot", Resource: point})
					}
					if linked := w.RoleUsable(t.Context(), account, linkedRole) == nil; linked != test.linked {
						t.Errorf("service-linked role = %v, want %v", linked, test.linked)
					}
				}
			})
		})
	}
}

// Anybody who may make roles can take the name of the service-linked role in other letters. That must leave recovery points
// EXPIRED, and not stop the work on all others by an error.
func TestDeleteAuthority_WhenTheNameOfTheServiceLinkedRoleIsTaken(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		w := newWorld(t, db)
		w.role(account, "awsserviceroleforbackup", trust(trustsService))
		arn := w.role(account, "r", trust(trustsService), `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Action":"iam:CreateServiceLinkedRole","Resource":"*"}]}`)
		err := w.DeleteAuthority(t.Context(), account, arn, caller.On("ec2:DeleteSnapshot", point))
		wantLack(t, err, arn, caller.Access{Action: "ec2:DeleteSnapshot", Resource: point})
	})
}

func TestDeleteAuthority_WithoutTheRole(t *testing.T) {
	t.Parallel()
	w := sqlite(t)
	lenient := w.options
	lenient.SLRFallback = true
	l := iam.New(lenient)
	powerless := w.role(account, "powerless", trust(trustsService))
	gone := "arn:aws:iam::000000000000:role/gone"
	rights := caller.On("ec2:DeleteSnapshot", point)
	for _, r := range []string{powerless, gone} {
		if l.DeleteAuthority(t.Context(), account, r, rights) == nil {
			t.Errorf("%s deletes without a service-linked role", r)
		}
	}
	creator := w.role(account, "creator", trust(trustsService), allowsAll, statement("Deny", "Action", "ec2:*", "Resource", "*"))
	if err := w.DeleteAuthority(t.Context(), account, creator, rights); err != nil {
		t.Fatal(err)
	}
	l.Forget()
	for _, r := range []string{powerless, gone} {
		if err := l.DeleteAuthority(t.Context(), account, r, rights); err != nil {
			t.Errorf("%s with the lenient rule: %v", r, err)
		}
	}
	if err := w.DeleteAuthority(t.Context(), account, gone, rights); !errors.Is(err, iam.ErrRole) {
		t.Errorf("a role that is gone = %v", err)
	}
	wantLack(t, w.DeleteAuthority(t.Context(), account, powerless, rights), powerless, rights[0])
}

func TestServiceRole_DeletesWhatWasMadeWithIt(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		w := newWorld(t, db)
		rights := caller.On("elasticfilesystem:Backup", "arn:aws:elasticfilesystem:us-east-1:222222222222:file-system/fs-1")
		if err := w.DeleteAuthority(t.Context(), account, linkedRole, rights); !errors.Is(err, iam.ErrRole) {
			t.Errorf("DeleteAuthority before there is the role = %v, want %v", err, iam.ErrRole)
		}
		for range 2 {
			if arn, err := w.ServiceRole(t.Context(), account); err != nil || arn != linkedRole {
				t.Fatalf("ServiceRole = %s, %v", arn, err)
			}
		}
		w.Forget()
		if err := w.DeleteAuthority(t.Context(), account, linkedRole, rights); err != nil {
			t.Errorf("DeleteAuthority of the service-linked role = %v", err)
		}
		theirs := "arn:aws:iam::" + other + ":role/aws-service-role/backup.amazonaws.com/AWSServiceRoleForBackup"
		if err := w.DeleteAuthority(t.Context(), account, theirs, rights); !errors.Is(err, iam.ErrRole) {
			t.Errorf("DeleteAuthority of the service-linked role of another account = %v, want %v", err, iam.ErrRole)
		}
	})
}

func TestRoleMay_RecordsTheUseOnceAnHour(t *testing.T) {
	t.Parallel()
	w := sqlite(t)
	arn := w.role(account, "r", trust(trustsService), allowsAll)
	var first, second, hour int64
	for _, used := range []*int64{&first, &second} {
		if err := w.RoleMay(t.Context(), account, arn, caller.On("elasticfilesystem:Backup", fileSystem)); err != nil {
			t.Fatal(err)
		}
		row(w, used, "SELECT used_at FROM iam_role")
		w.Forget()
	}
	if first == 0 || second != first {
		t.Errorf("used_at = %d, then %d, want the same time", first, second)
	}
	w.exec("UPDATE iam_role SET used_at = used_at - 3600000000")
	if err := w.RoleMay(t.Context(), account, arn, nil); err != nil {
		t.Fatal(err)
	}
	if row(w, &hour, "SELECT used_at FROM iam_role"); hour < first {
		t.Errorf("used_at = %d after an hour, want %d at least", hour, first)
	}
}

package server_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/server"
)

// healthy expects that the server still makes recovery points, and that an old one still restores.
func (f *fixture) healthy(arn, old string) {
	f.Helper()
	f.backup("home", arn)
	if got := f.restoredInto(old); len(got) < 2 {
		f.Errorf("restore of %s made %v", old, got)
	}
}

func TestBadInput_Requests(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	f.vault("home")
	arn := f.directory(map[string]string{"one": "1"})
	good := f.backup("home", arn)
	file := filepath.Join(t.TempDir(), "file")
	write(t, filepath.Dir(file), map[string]string{"file": "x"})
	register := func(path string) error {
		_, err := restjson.Call(t.Context(), f.own, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(path), Type: "EFS"})
		return err
	}
	backUp := func(vault, resource string) error {
		_, err := f.sdk.StartBackupJob(t.Context(), &backup.StartBackupJobInput{
			BackupVaultName: &vault, ResourceArn: &resource, IamRoleArn: aws.String(role)})
		return err
	}
	missing := "arn:aws:backup:us-east-1:000000000000:recovery-point:11111111-2222-3333-4444-555555555555"
	for name, c := range map[string]struct {
		got  error
		want []string // in the error
	}{
		"malformed ARN":          {backUp("home", "nonsense"), []string{"InvalidParameterValueException", "nonsense"}},
		"unknown vault":          {backUp("absent", arn), []string{"ResourceNotFoundException", "absent"}},
		"unsupported type":       {backUp("home", "arn:aws:dynamodb:us-east-1:000000000000:table/t"), []string{"Unsupported resource type"}},
		"path that is absent":    {register(file + ".absent"), []string{"InvalidParameterValueException", file + ".absent", "does not exist"}},
		"path that is a file":    {register(file), []string{"InvalidParameterValueException", file}},
		"path that is relative":  {register("home"), []string{"InvalidParameterValueException", "home"}},
		"unknown recovery point": {f.restoreError(missing), []string{"ResourceNotFoundException", missing}},
	} {
		for _, want := range c.want {
			if c.got == nil || !strings.Contains(c.got.Error(), want) {
				t.Errorf("%s: error = %v, want it to contain %q", name, c.got, want)
			}
		}
	}
	f.healthy(arn, good)
}

func (f *fixture) restoreError(point string) error {
	_, err := f.sdk.StartRestoreJob(f.Context(), &backup.StartRestoreJobInput{RecoveryPointArn: &point, IamRoleArn: aws.String(role),
		Metadata: map[string]string{"file-system-id": "fs-1", "newFileSystem": "false"}})
	return err
}

// fails starts a backup that must fail with a message that contains some words.
func (f *fixture) fails(arn string, words ...string) {
	f.Helper()
	id, _ := f.startBackup("home", arn)
	j := f.awaitBackup(id)
	if j.State != types.BackupJobStateFailed {
		f.Errorf("job = %s, want FAILED", j.State)
	}
	for _, w := range words {
		if !strings.Contains(aws.ToString(j.StatusMessage), w) {
			f.Errorf("job failed with %q, want it to contain %q", aws.ToString(j.StatusMessage), w)
		}
	}
}

func TestBadInput_Resources(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	f.vault("home")
	arn := f.directory(map[string]string{"one": "1"})
	good := f.backup("home", arn)
	f.fails("arn:aws:elasticfilesystem:us-east-1:000000000000:file-system/fs-00000000000000000", "does not exist", "fs-00000000000000000")

	home := filepath.Join(t.TempDir(), "vanishing")
	write(t, home, map[string]string{"one": "1"})
	gone := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(home), Type: "EFS"}).ResourceArn
	if err := os.RemoveAll(home); err != nil {
		t.Fatal(err)
	}
	f.fails(gone, "does not exist", home)
	write(t, filepath.Dir(home), map[string]string{"vanishing": "now a file"})
	f.fails(gone, home)
	f.healthy(arn, good)
}

// tmpfs mounts a small file system of its own on a new directory.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("mount a tmpfs, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestBadInput_FullDisk(t *testing.T) {
	t.Parallel()
	o := options(t, t.TempDir())
	o.Config.Store = filepath.Join(tmpfs(t, "24m"), "store")
	f := start(t, o)
	f.vault("home")
	arn := f.directory(map[string]string{"one": random(1, 4<<20)})
	good := f.backup("home", arn)
	f.fails(f.directory(map[string]string{"big": random(2, 80<<20)}), "no space left")
	f.healthy(arn, good)

	small := filepath.Join(tmpfs(t, "1m"), "restored")
	id := own(f, lockfastapi.RestoreToDirectory, &lockfastapi.RestoreToDirectoryInput{RecoveryPointArn: good, Directory: small}).RestoreJobId
	j := f.awaitRestore(id)
	if j.Status != types.RestoreJobStatusFailed || !strings.Contains(aws.ToString(j.StatusMessage), "no space left") {
		t.Errorf("restore on a full disk = %s, %q", j.Status, aws.ToString(j.StatusMessage))
	}
	if _, err := os.Stat(small); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a failed restore left something: %v", err)
	}
	f.healthy(arn, good)
}

func TestBadInput_ReadOnlyStore(t *testing.T) {
	t.Parallel()
	o := options(t, t.TempDir())
	disk := tmpfs(t, "64m")
	o.Config.Store = filepath.Join(disk, "store")
	f := start(t, o)
	f.vault("home")
	arn := f.directory(map[string]string{"one": "1"})
	good, second := f.backup("home", arn), f.backup("home", arn)
	if err := unix.Mount("none", disk, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	f.fails(arn, "read-only")
	must(f.sdk.DeleteRecoveryPoint(t.Context(), &backup.DeleteRecoveryPointInput{
		BackupVaultName: aws.String("home"), RecoveryPointArn: &second}))(f)
	if got := f.restoredInto(good); len(got) != 2 {
		t.Errorf("restore from a read-only store made %v", got)
	}
	if err := unix.Mount("none", disk, "tmpfs", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	p := must(f.sdk.DescribeRecoveryPoint(t.Context(), &backup.DescribeRecoveryPointInput{
		BackupVaultName: aws.String("home"), RecoveryPointArn: &second}))(f)
	if p.Status != types.RecoveryPointStatusDeleting {
		t.Errorf("status of what could not be deleted = %s, want DELETING", p.Status)
	}
	f.reclaim("home") // carries out what was put off
	f.gone("home", second)
	f.healthy(arn, good)
}

// objects returns the files of all objects of a kind.
func objects(t *testing.T, store, kind string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(store, "*", kind, "*", "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no objects of kind %s: %v", kind, err)
	}
	return paths
}

// change puts another object in the place of one.
func change(t *testing.T, path string, how func(data []byte)) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	how(data)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o400); err != nil {
		t.Fatal(err)
	}
}

// damage changes the middle of every object of a kind; it returns the name of one.
func damage(t *testing.T, store, kind string) (name string) {
	t.Helper()
	for _, path := range objects(t, store, kind) {
		change(t, path, func(data []byte) {
			for i := len(data) / 4; i < len(data)/2; i++ {
				data[i] ^= 0x55
			}
		})
		name = filepath.Base(path)
	}
	return name
}

func TestBadInput_DamagedPack(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	f.vault("home")
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"one": random(1, 3<<20)})
	arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(home), Type: "EFS"}).ResourceArn
	bad := f.backup("home", arn)
	name := damage(t, filepath.Join(f.options.Config.Data, "store"), "d")

	id := own(f, lockfastapi.RestoreToDirectory, &lockfastapi.RestoreToDirectoryInput{RecoveryPointArn: bad,
		Directory: filepath.Join(t.TempDir(), "restored")}).RestoreJobId
	j := f.awaitRestore(id)
	if j.Status != types.RestoreJobStatusFailed || !strings.Contains(aws.ToString(j.StatusMessage), "damaged") ||
		!strings.Contains(aws.ToString(j.StatusMessage), name) {
		t.Errorf("restore of damaged data = %s, %q, want FAILED with the name of %s", j.Status, aws.ToString(j.StatusMessage), name)
	}
	done := f.ended(own(f, lockfastapi.StartVerification, &lockfastapi.StartVerificationInput{BackupVaultName: "home"}).TaskId)
	message := aws.ToString(done.StatusMessage)
	for _, want := range []string{name, bad, "misses one"} {
		if done.State != lockfastapi.TaskStateFailed || !strings.Contains(message, want) {
			t.Errorf("verification of damaged data = %s, %q, want FAILED with %s", done.State, message, want)
		}
	}
	known := func() int64 {
		return own(f, lockfastapi.GetVaultVerification, &lockfastapi.GetVaultVerificationInput{BackupVaultName: "home"}).DamageCount
	}
	if known() == 0 {
		t.Error("GetVaultVerification after damage was found knows of none")
	}
	f.eventually(func() bool { return f.vaultMetrics("home")["damaged_objects"] == 1 })
	changed := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(home, "one"), changed, changed); err != nil {
		t.Fatal(err)
	}
	f.healthy(arn, f.backup("home", arn))
	mended := f.task(own(f, lockfastapi.StartVerification, &lockfastapi.StartVerificationInput{BackupVaultName: "home"}).TaskId)
	if mended.Report["recovery_points_mended"] != "1" {
		t.Errorf("verification after a backup that read the file again = %v, want the older point mended", mended.Report)
	}
	f.healthy(arn, bad)
	other := f.directory(map[string]string{"two": random(2, 1<<20)})
	f.healthy(other, f.backup("home", other))
}

// TestBadInput_DamageOfWhatDoesNotChange: the next backup does not take over what is known to be damaged, but reads it again.
func TestBadInput_DamageOfWhatDoesNotChange(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	f.vault("home")
	settled, err := filepath.Abs("../../api") // what was written just now would be read again anyhow
	if err != nil {
		t.Fatal(err)
	}
	arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: &settled, Type: "EFS"}).ResourceArn
	bad := f.backup("home", arn)
	damage(t, filepath.Join(f.options.Config.Data, "store"), "d")
	verify := func() *lockfastapi.DescribeTaskOutput {
		return f.ended(own(f, lockfastapi.StartVerification, &lockfastapi.StartVerificationInput{BackupVaultName: "home"}).TaskId)
	}
	if done := verify(); done.State != lockfastapi.TaskStateFailed {
		t.Fatalf("verification of damaged data = %s, want FAILED", done.State)
	}
	f.healthy(arn, f.backup("home", arn))
	if mended := verify(); mended.Report["recovery_points_mended"] != "1" {
		t.Errorf("verification after the next backup = %v, want the older point mended", mended.Report)
	}
	f.healthy(arn, bad)
}

func TestBadInput_DamagedTree(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	f.vault("home")
	arn := f.directory(map[string]string{"one": random(1, 3<<20), "two": random(2, 1000)})
	f.backup("home", arn)
	damage(t, filepath.Join(f.options.Config.Data, "store"), "m")
	f.healthy(arn, f.backup("home", arn)) // the next backup stores again what was lost
}

// TestBadInput_RuinedTree leaves nothing of a metadata pack that parity could start from, which is the whole tree of one recovery
// point and most of that of the next: what it describes cannot be restored until a backup has stored it again, and the rest can.
func TestBadInput_RuinedTree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := start(t, options(t, dir))
	f.vault("home")
	home := filepath.Join(t.TempDir(), "home")
	texts := map[string]string{}
	for i := range 3000 {
		texts[fmt.Sprintf("f%04d", i)] = strconv.Itoa(i)
	}
	write(t, home, texts)
	written := time.Now()
	f.eventually(func() bool { return time.Since(written) > 3*time.Second }) // else it is marked to be read again, in another tree
	arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(home), Type: "EFS"}).ResourceArn
	wants := map[string]map[string]string{}
	backUp := func() string {
		point := f.backup("home", arn)
		wants[point] = tree(t, home)
		return point
	}
	lost := backUp()
	packs := objects(t, filepath.Join(dir, "store"), "m")
	write(t, home, map[string]string{"f2999": "changed"})
	part := backUp()
	f.stop()
	for _, path := range packs {
		change(t, path, func(data []byte) { clear(data) })
	}
	f = start(t, options(t, dir)) // which remembers no part of a tree
	f.ruined(lost, part, filepath.Base(packs[0]))
	f.healthy(arn, backUp()) // stores again what is as it was, which does not include the root and the end of the older tree
	done := f.ended(own(f, lockfastapi.StartVerification, &lockfastapi.StartVerificationInput{BackupVaultName: "home"}).TaskId)
	if m := aws.ToString(done.StatusMessage); done.Report["recovery_points_mended"] != "1" || !strings.Contains(m, lost) || strings.Contains(m, part) {
		t.Errorf("verification after the next backup = %v, %q, want %s mended", done.Report, m, part)
	}
	if m := aws.ToString(f.describe(lost).StatusMessage); !strings.Contains(m, "Damaged since") {
		t.Errorf("%s is described as %q after the next backup, want it to be damaged", lost, m)
	}
	delete(wants, lost)
	for point, want := range wants {
		if diff := cmp.Diff(want, f.restoredInto(point)); diff != "" {
			t.Errorf("restore of %s after the next backup differs (-want +got):\n%s", point, diff)
		}
		if m := aws.ToString(f.describe(point).StatusMessage); m != "" {
			t.Errorf("%s is described as %q after the next backup", point, m)
		}
	}
}

// ruined expects that all of one recovery point and most of another is known to be lost with a metadata pack.
func (f *fixture) ruined(lost, part, pack string) {
	f.Helper()
	for name, c := range map[string]struct {
		lockfastapi.RestoreToDirectoryInput
		want string // in the message of the failure; empty if there is none
	}{
		"all":                   {lockfastapi.RestoreToDirectoryInput{RecoveryPointArn: lost}, "repair the vault, or restore only what is intact"},
		"an item":               {lockfastapi.RestoreToDirectoryInput{RecoveryPointArn: lost, Items: []string{"f0001"}}, "f0001"},
		"an item, if intact":    {lockfastapi.RestoreToDirectoryInput{RecoveryPointArn: lost, Items: []string{"f0001"}, Intact: new(true)}, "f0001"},
		"what is intact":        {lockfastapi.RestoreToDirectoryInput{RecoveryPointArn: lost, Intact: new(true)}, "repair the vault"},
		"all, of the other":     {lockfastapi.RestoreToDirectoryInput{RecoveryPointArn: part}, "repair the vault, or restore only what is intact"},
		"an item, of the other": {lockfastapi.RestoreToDirectoryInput{RecoveryPointArn: part, Items: []string{"f0001"}}, "f0001"},
		"what changed":          {lockfastapi.RestoreToDirectoryInput{RecoveryPointArn: part, Items: []string{"f2999"}, Intact: new(true)}, ""},
		"what is intact, of it": {lockfastapi.RestoreToDirectoryInput{RecoveryPointArn: part, Intact: new(true)}, ""},
	} {
		c.Directory = filepath.Join(f.TempDir(), "restored")
		j := f.awaitRestore(own(f, lockfastapi.RestoreToDirectory, &c.RestoreToDirectoryInput).RestoreJobId)
		message := aws.ToString(j.StatusMessage)
		if aws.ToString(j.RecoveryPointArn) != c.RecoveryPointArn {
			f.Errorf("restore of %s is of %s, want %s", name, aws.ToString(j.RecoveryPointArn), c.RecoveryPointArn)
		}
		if c.want == "" {
			got, err := os.ReadFile(filepath.Join(c.Directory, "f2999"))
			if j.Status != types.RestoreJobStatusCompleted || string(got) != "changed" {
				f.Errorf("restore of %s = %s, %q, with %q, %v, want what was changed", name, j.Status, message, got, err)
			}
			continue
		}
		if j.Status != types.RestoreJobStatusFailed || !strings.Contains(message, "m/"+pack[:2]+"/"+pack) || !strings.Contains(message, c.want) ||
			!strings.Contains(message, "damaged") || c.Intact != nil && strings.Contains(message, "only what is intact") {
			f.Errorf("restore of %s = %s, %q, want FAILED with the name of %s and %q", name, j.Status, message, pack, c.want)
		}
	}
	_, err := restjson.Call(f.Context(), f.own, lockfastapi.ListItems, &lockfastapi.ListItemsInput{RecoveryPointArn: lost})
	if err == nil || !strings.Contains(err.Error(), "InvalidRequestException") || !strings.Contains(err.Error(), pack) {
		f.Errorf("ListItems of what is damaged = %v, want it to name %s", err, pack)
	}
	done := f.ended(own(f, lockfastapi.StartVerification, &lockfastapi.StartVerificationInput{BackupVaultName: "home"}).TaskId)
	for _, want := range []string{pack, lost, part, "misses"} {
		if message := aws.ToString(done.StatusMessage); done.State != lockfastapi.TaskStateFailed || !strings.Contains(message, want) {
			f.Errorf("verification = %s, %q, want FAILED with %s", done.State, message, want)
		}
	}
	for _, point := range []string{lost, part} {
		if m := aws.ToString(f.describe(point).StatusMessage); !strings.Contains(m, "Damaged since") || !strings.Contains(m, "part of its tree") {
			f.Errorf("%s is described as %q, want it to be damaged", point, m)
		}
	}
}

func TestBadInput_DamagedIndex(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := start(t, options(t, dir))
	f.vault("home")
	arn := f.directory(map[string]string{"one": random(1, 3<<20)})
	good := f.backup("home", arn)
	f.stop()
	damage(t, filepath.Join(dir, "store"), "x")
	f = start(t, options(t, dir))
	f.healthy(arn, good) // its parity is enough
}

func TestBadInput_WrongKeyFile(t *testing.T) {
	t.Parallel()
	o := options(t, t.TempDir())
	f := start(t, o)
	f.vault("home")
	arn := f.directory(map[string]string{"one": "1"})
	good := f.backup("home", arn)
	f.stop()
	o.Config = f.options.Config
	right, err := os.ReadFile(o.Config.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(o.Config.KeyFile); err != nil {
		t.Fatal(err)
	}
	refused(t, o, o.Config.KeyFile, "missing")
	if _, err := keys.Create(o.Config.KeyFile); err != nil {
		t.Fatal(err)
	}
	refused(t, o, o.Config.KeyFile, "not the root key")
	if err := os.WriteFile(o.Config.KeyFile, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, o, o.Config.KeyFile)
	if err := os.WriteFile(o.Config.KeyFile, right, 0o600); err != nil {
		t.Fatal(err)
	}
	f = start(t, o)
	f.healthy(arn, good)
}

// refused expects that a server does not open, with an error that contains some words.
func refused(t *testing.T, o server.Options, words ...string) {
	t.Helper()
	if err := o.Config.Check(); err != nil {
		t.Fatal(err)
	}
	s, err := server.Open(t.Context(), o)
	if err == nil {
		t.Fatalf("server opened at %s, want an error with %q", s.Address().URL, words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("Open = %v, want an error with %q", err, w)
		}
	}
}

func TestBadInput_TwoServers(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	f.vault("home")
	arn := f.directory(map[string]string{"one": "1"})
	good := f.backup("home", arn)
	refused(t, f.options, f.options.Config.Data, "pid")
	f.healthy(arn, good)
}

func TestBadInput_PortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := options(t, t.TempDir())
	o.Config.Listen = l.Addr().String()
	refused(t, o, o.Config.Listen, "--listen")
}

package server_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	"github.com/aws/smithy-go/middleware"
	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/server"
	"github.com/lockfast/lockfast/repo"
)

// denies is an access policy that protects recovery points.
const denies = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"backup:DeleteBackupVault","Resource":"*"}]}`

// lost is a server that is stopped, and what its clients knew.
type lost struct {
	options server.Options
	known   map[string]string
	home    string
	arn     string // of the resource
	last    string // its newest recovery point
	tree    map[string]string
}

// loses tells a story to a server and stops it.
func loses(t *testing.T, o server.Options) *lost {
	t.Helper()
	o.Config.Store = filepath.Join(t.TempDir(), "store")
	f := start(t, o)
	l := &lost{options: o, home: filepath.Join(t.TempDir(), "home")}
	write(t, l.home, map[string]string{"a/one": "1", "a/two": strings.Repeat("two\n", 40_000), "big": random(3, 3<<20)})
	f.vault("home")
	f.vault("other")
	must(f.sdk.CreateBackupVault(t.Context(), &backup.CreateBackupVaultInput{BackupVaultName: aws.String("unused"),
		CreatorRequestId: aws.String("token-1"), BackupVaultTags: map[string]string{"made": "once"}}))(f)
	if err := f.keyVault("keyed", f.key()); err != nil {
		t.Fatal(err)
	}
	l.arn = own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: &l.home, Name: aws.String("home"), Type: "EFS"}).ResourceArn
	first := f.backup("home", l.arn)
	own(f, lockfastapi.RotateKey, &lockfastapi.RotateKeyInput{KeyId: "alias/aws/backup"})
	if err := f.server.RenewKeys(t.Context()); err != nil { // what follows is sealed under another vault key
		t.Fatal(err)
	}
	write(t, l.home, map[string]string{"a/one": "changed", "five": random(5, 200<<10)})
	l.last = f.backup("home", l.arn)
	f.copy("home", first, "other")
	f.copy("home", l.last, "keyed")
	member, _ := f.member("web", map[string]string{"page": "hello"})
	f.backup("home", f.group("all", "web", "home"))
	gone := f.backup("home", member)
	if err := f.deletePoint(gone); err != nil {
		t.Fatal(err)
	}
	f.gone("home", gone)
	must(f.sdk.TagResource(t.Context(), &backup.TagResourceInput{ResourceArn: &first, Tags: map[string]string{"k": "v", "x": "y"}}))(f)
	must(f.sdk.UntagResource(t.Context(), &backup.UntagResourceInput{ResourceArn: &first, TagKeyList: []string{"x"}}))(f)
	must(f.sdk.UpdateRecoveryPointLifecycle(t.Context(), &backup.UpdateRecoveryPointLifecycleInput{BackupVaultName: aws.String("home"),
		RecoveryPointArn: &first, Lifecycle: &types.Lifecycle{DeleteAfterDays: aws.Int64(400)}}))(f)
	must(f.sdk.PutBackupVaultAccessPolicy(t.Context(), &backup.PutBackupVaultAccessPolicyInput{BackupVaultName: aws.String("home"),
		Policy: aws.String(denies)}))(f)
	f.restoredTo(first)
	l.tree = tree(t, l.home)
	f.written()
	l.known = f.know()
	f.stop()
	return l
}

// written waits until all states are in the store.
func (f *fixture) written() {
	f.Helper()
	f.eventually(func() bool {
		n, err := f.server.Unwritten(f.Context())
		return err == nil && n == 0
	})
}

// know returns all that clients are told of vaults, recovery points and protected resources.
func (f *fixture) know() map[string]string {
	f.Helper()
	known := map[string]string{}
	note := func(name string, v any, err error) {
		f.Helper()
		if err != nil {
			f.Fatalf("%s: %v", name, err)
		}
		text, _ := json.MarshalIndent(v, "", " ")
		known[name] = string(text)
	}
	tags := func(arn string) {
		out, err := f.sdk.ListTags(f.Context(), &backup.ListTagsInput{ResourceArn: &arn})
		note("tags of "+arn, out.Tags, err)
	}
	vaults := must(f.sdk.ListBackupVaults(f.Context(), &backup.ListBackupVaultsInput{}))(f)
	for _, v := range vaults.BackupVaultList {
		note("vault "+*v.BackupVaultName, v, nil)
		tags(*v.BackupVaultArn)
		points := must(f.sdk.ListRecoveryPointsByBackupVault(f.Context(), &backup.ListRecoveryPointsByBackupVaultInput{BackupVaultName: v.BackupVaultName}))(f)
		for _, p := range points.RecoveryPoints {
			out, err := f.sdk.DescribeRecoveryPoint(f.Context(), &backup.DescribeRecoveryPointInput{BackupVaultName: v.BackupVaultName, RecoveryPointArn: p.RecoveryPointArn})
			if err == nil {
				out.ResultMetadata = middleware.Metadata{}
			}
			note("point "+*p.RecoveryPointArn, out, err)
			tags(*p.RecoveryPointArn)
			if p.IsParent {
				continue
			}
			with, err := f.sdk.GetRecoveryPointRestoreMetadata(f.Context(), &backup.GetRecoveryPointRestoreMetadataInput{BackupVaultName: v.BackupVaultName, RecoveryPointArn: p.RecoveryPointArn})
			if err == nil {
				delete(with.RestoreMetadata, "aws:backup:request-id")
			}
			note("metadata of "+*p.RecoveryPointArn, with.RestoreMetadata, err)
		}
	}
	policy := must(f.sdk.GetBackupVaultAccessPolicy(f.Context(), &backup.GetBackupVaultAccessPolicyInput{BackupVaultName: aws.String("home")}))(f)
	note("policy", policy.Policy, nil)
	protected := must(f.sdk.ListProtectedResources(f.Context(), &backup.ListProtectedResourcesInput{}))(f)
	note("protected", protected.Results, nil)
	return known
}

// rebuild rebuilds the database of a lost server in another directory.
func (l *lost) rebuild(t *testing.T, dir, metadata string) (server.RebuildOptions, server.RebuildReport, error) {
	t.Helper()
	o := options(t, dir)
	o.Config.Store, o.Config.Metadata = l.options.Config.Store, metadata
	if err := o.Config.Check(); err != nil {
		t.Fatal(err)
	}
	r := server.RebuildOptions{Config: o.Config, Key: filepath.Join(l.options.Config.Data, "root.key"), Log: o.Log}
	report, err := server.Rebuild(t.Context(), r)
	return r, report, err
}

// TestRebuild loses a database and makes it anew from the store; everything is described, restored, backed up, copied and
// deleted as before, and the server of the lost database can change nothing any more.
func TestRebuild(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o server.Options) {
		l := loses(t, o)
		metadata := "sqlite"
		if o.Config.Metadata != "sqlite" {
			metadata = metatest.PostgreSQL(t)
		}
		r, report, err := l.rebuild(t, filepath.Join(t.TempDir(), "new"), metadata)
		if err != nil {
			t.Fatal(err)
		}
		if report.Vaults != 4 || report.RecoveryPoints != 7 || report.Resources != 3 || len(report.Damaged)+len(report.Foreign)+len(report.Assumed) > 0 {
			t.Errorf("Rebuild = %+v, want 4 vaults with 7 recovery points of 3 resources and nothing amiss", report)
		}
		again := options(t, r.Config.Data)
		again.Config = r.Config
		f := start(t, again)
		if diff := cmp.Diff(l.known, f.know()); diff != "" {
			t.Errorf("after the rebuild things differ (-before +after):\n%s", diff)
		}
		f.lives(l)
		f.stop()
		fenced(t, l)
	})
}

// lives expects that a rebuilt server works.
func (f *fixture) lives(l *lost) {
	f.Helper()
	if diff := cmp.Diff(l.tree, f.restoredInto(l.last)); diff != "" {
		f.Errorf("restore differs (-want +got):\n%s", diff)
	}
	id, point := f.startBackup("home", l.arn)
	j := f.awaitBackup(id)
	if j.State != types.BackupJobStateCompleted {
		f.Fatalf("backup ended %s: %s", j.State, aws.ToString(j.StatusMessage))
	}
	if stored := f.point(point); *stored.BackupSizeInBytes < 3<<20 {
		f.Errorf("the new recovery point has %d bytes", *stored.BackupSizeInBytes)
	}
	if stored := own(f, lockfastapi.DescribeJobDetail, &lockfastapi.DescribeJobDetailInput{JobId: id}).BytesStored; stored > 100<<10 {
		f.Errorf("a backup of what has not changed stored %d bytes; it has no parent", stored)
	}
	f.copy("home", point, "other")
	if err := f.deletePoint(point); err != nil {
		f.Fatal(err)
	}
	f.gone("home", point)
	f.reclaim("home")
	for _, vault := range []string{"home", "other", "keyed"} {
		f.verify(vault)
	}
	if diff := cmp.Diff(l.tree, f.restoredInto(l.last)); diff != "" {
		f.Errorf("restore after a reclaim differs (-want +got):\n%s", diff)
	}
}

// fenced expects that the lost server changes nothing and says why.
func fenced(t *testing.T, l *lost) {
	t.Helper()
	f := start(t, l.options)
	id, _ := f.startBackup("home", l.arn)
	if j := f.awaitBackup(id); j.State != types.BackupJobStateFailed || !strings.Contains(aws.ToString(j.StatusMessage), "claimed by another") {
		t.Errorf("backup with the lost database ended %s: %s, want a failure because of the claim", j.State, aws.ToString(j.StatusMessage))
	}
	objects := filepath.Join(l.options.Config.Store, "*", "k", "*")
	before := must(filepath.Glob(objects))(f)
	own(f, lockfastapi.RotateKey, &lockfastapi.RotateKeyInput{KeyId: "alias/aws/backup"})
	if err := f.server.RenewKeys(t.Context()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, must(filepath.Glob(objects))(f)); diff != "" {
		t.Errorf("a rotation by the lost server changed key objects: %s", diff)
	}
	f.stop()
}

func TestRebuild_FencesTheServerThatStillRuns(t *testing.T) {
	t.Parallel()
	o := options(t, t.TempDir())
	o.Config.Store = filepath.Join(t.TempDir(), "store")
	f := start(t, o)
	f.vault("home")
	arn := f.directory(map[string]string{"one": "1"})
	point := f.backup("home", arn)
	f.written()
	l := &lost{options: o}
	if _, _, err := l.rebuild(t, filepath.Join(t.TempDir(), "new"), "sqlite"); err != nil {
		t.Fatal(err)
	}
	id, _ := f.startBackup("home", arn)
	if j := f.awaitBackup(id); j.State != types.BackupJobStateFailed || !strings.Contains(aws.ToString(j.StatusMessage), "claimed by another") {
		t.Errorf("backup ended %s: %s, want a failure because of the claim", j.State, aws.ToString(j.StatusMessage))
	}
	refusesChanges(f, point)
	if got := tree(t, f.restoredTo(point)); got["one"] == "" {
		t.Errorf("restore = %v, want it to go on", got)
	}
}

// TestRebuild_OldServerDestroysNoKeys completes the deletion of a KMS key in a database whose vaults another one has taken over.
func TestRebuild_OldServerDestroysNoKeys(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	o := options(t, t.TempDir())
	o.Config.Store = filepath.Join(t.TempDir(), "store")
	o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	f := start(t, o)
	key := f.key()
	if err := f.keyVault("home", key); err != nil {
		t.Fatal(err)
	}
	f.backup("home", f.directory(map[string]string{"one": "1"}))
	f.written()
	must(f.kms("ScheduleKeyDeletion", map[string]any{"KeyId": key, "PendingWindowInDays": 7}))(f)
	l := &lost{options: o}
	if _, _, err := l.rebuild(t, filepath.Join(t.TempDir(), "new"), "sqlite"); err != nil {
		t.Fatal(err)
	}
	keys := func() []string {
		names, err := filepath.Glob(filepath.Join(o.Config.Store, "*", "k", "*"))
		if err != nil || len(names) == 0 {
			t.Errorf("key objects = %v, %v", names, err)
		}
		return names
	}
	before := keys()
	ahead.Store(int64(7*24*time.Hour + time.Minute))
	if err := f.server.ExpireKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := keys(); !slices.Equal(before, after) {
		t.Errorf("key objects = %v, want %v", after, before)
	}
}

// refusesChanges expects that nothing of a vault can be changed because another server has taken it over.
func refusesChanges(f *fixture, point string) {
	f.Helper()
	home := aws.String("home")
	_, lifecycle := f.sdk.UpdateRecoveryPointLifecycle(f.Context(), &backup.UpdateRecoveryPointLifecycleInput{BackupVaultName: home,
		RecoveryPointArn: &point, Lifecycle: &types.Lifecycle{DeleteAfterDays: aws.Int64(7)}})
	_, put := f.sdk.PutBackupVaultAccessPolicy(f.Context(), &backup.PutBackupVaultAccessPolicyInput{BackupVaultName: home, Policy: aws.String(denies)})
	_, remove := f.sdk.DeleteBackupVaultAccessPolicy(f.Context(), &backup.DeleteBackupVaultAccessPolicyInput{BackupVaultName: home})
	_, tags := f.sdk.TagResource(f.Context(), &backup.TagResourceInput{ResourceArn: &point, Tags: map[string]string{"k": "v"}})
	for what, err := range map[string]error{"lifecycle": lifecycle, "put policy": put, "delete policy": remove, "tags": tags, "delete": f.deletePoint(point)} {
		if _, ok := errors.AsType[*types.ServiceUnavailableException](err); !ok || !strings.Contains(err.Error(), "Another server has taken over this vault") {
			f.Errorf("%s = %v, want ServiceUnavailableException with the reason", what, err)
		}
	}
	d := must(f.sdk.DescribeRecoveryPoint(f.Context(), &backup.DescribeRecoveryPointInput{BackupVaultName: home, RecoveryPointArn: &point}))(f)
	if d.Status != types.RecoveryPointStatusCompleted || d.Lifecycle != nil && d.Lifecycle.DeleteAfterDays != nil {
		f.Errorf("recovery point = %s, %v, want it unchanged", d.Status, d.Lifecycle)
	}
}

func TestRebuild_Refuses(t *testing.T) {
	t.Parallel()
	l := loses(t, options(t, t.TempDir()))
	stranger := filepath.Join(t.TempDir(), "other.key")
	f := start(t, func() server.Options {
		o := options(t, t.TempDir())
		o.Config.KeyFile = stranger
		return o
	}())
	f.stop()
	home := vaultOf(t, l, "home")
	for _, c := range []struct {
		name, want string
		prepare    func(t *testing.T, o *server.RebuildOptions)
	}{
		{"the wrong root key", "sealed with another key", func(t *testing.T, o *server.RebuildOptions) { o.Key = stranger }},
		{"a directory in use", "is not empty", func(t *testing.T, o *server.RebuildOptions) {
			write(t, o.Config.Data, map[string]string{"something": "x"})
		}},
		{"a database in use", "is not empty", func(t *testing.T, o *server.RebuildOptions) {
			o.Config.Metadata = "sqlite:" + filepath.Join(l.options.Config.Data, "meta.db")
		}},
		{"no store", "no such file", func(t *testing.T, o *server.RebuildOptions) { o.Config.Store = filepath.Join(t.TempDir(), "absent") }},
		{"an empty store", "there is no vault", func(t *testing.T, o *server.RebuildOptions) { o.Config.Store = t.TempDir() }},
		{"one vault", "a single vault", func(t *testing.T, o *server.RebuildOptions) { o.Config.Store = home }},
		{"a newer format", "unsupported format", func(t *testing.T, o *server.RebuildOptions) {
			alterFile(t, filepath.Join(o.Config.Store, filepath.Base(home), "format.2"), func(b []byte) {
				b[9] = 2
				binary.LittleEndian.PutUint32(b[220:], crc32.Checksum(b[:220], crc32.MakeTable(crc32.Castagnoli)))
			})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := options(t, filepath.Join(t.TempDir(), "new"))
			o.Config.Store = filepath.Join(t.TempDir(), "store")
			if err := os.CopyFS(o.Config.Store, os.DirFS(l.options.Config.Store)); err != nil {
				t.Fatal(err)
			}
			r := server.RebuildOptions{Config: o.Config, Key: filepath.Join(l.options.Config.Data, "root.key"), Log: o.Log}
			c.prepare(t, &r)
			if err := r.Config.Check(); err != nil {
				t.Fatal(err)
			}
			before := func() map[string]string {
				if _, err := os.Stat(r.Config.Store); err != nil {
					return nil
				}
				return contents(&fixture{T: t}, r.Config.Store)
			}
			was := before()
			_, err := server.Rebuild(t.Context(), r)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Rebuild = %v, want an error with %q", err, c.want)
			}
			if diff := cmp.Diff(was, before()); diff != "" {
				t.Errorf("a refused rebuild changed the store:\n%s", diff)
			}
		})
	}
}

// vaultOf returns the directory of a vault in a lost server's store.
func vaultOf(t *testing.T, l *lost, name string) string {
	t.Helper()
	var v struct{ BackupVaultName string }
	dirs, err := os.ReadDir(l.options.Config.Store)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(l.known["vault "+name]), &v); err != nil {
		t.Fatal(err)
	}
	most, dir := 0, ""
	for _, d := range dirs { // home holds the most recovery points
		if all, err := os.ReadDir(filepath.Join(l.options.Config.Store, d.Name(), "r")); err == nil && len(all) > most {
			most, dir = len(all), filepath.Join(l.options.Config.Store, d.Name())
		}
	}
	return dir
}

// alterFile changes a file of a store, which is read-only.
func alterFile(t *testing.T, name string, change func(b []byte)) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	change(b)
	if err := errors.Join(os.Remove(name), os.WriteFile(name, b, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestRebuild_TellsWhatIsDamagedAndForeign(t *testing.T) {
	t.Parallel()
	l := loses(t, options(t, t.TempDir()))
	home := vaultOf(t, l, "home")
	state := newestState(t, home)
	write(t, home, map[string]string{"notes.txt": "not ours"})
	flip := func(b []byte) { b[len(b)-1] ^= 1 }
	alterFile(t, filepath.Join(home, "format.2"), flip)
	alterFile(t, filepath.Join(home, "p", state), func(b []byte) { clear(b) }) // more than parity restores
	_, report, err := l.rebuild(t, filepath.Join(t.TempDir(), "new"), "sqlite")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"format.2", "p/" + state} {
		if !slices.ContainsFunc(report.Damaged, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("damaged = %q, want %s among them", report.Damaged, want)
		}
	}
	if !slices.Equal(report.Foreign, []string{filepath.Base(home) + "/notes.txt"}) {
		t.Errorf("foreign = %q, want notes.txt", report.Foreign)
	}
	if _, err := os.Stat(filepath.Join(home, "notes.txt")); err != nil {
		t.Error(err)
	}
}

// newestState returns the name of the newest state of a recovery point that has data. Older ones may still be there, and those of
// deleted points; they are not told of.
func newestState(t *testing.T, vault string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(vault, "p"))
	points, noPoints := os.ReadDir(filepath.Join(vault, "r"))
	if err != nil || noPoints != nil || len(points) == 0 {
		t.Fatalf("states: %v; recovery points: %v, %v", err, points, noPoints)
	}
	point, _, _ := strings.Cut(points[0].Name(), ".")
	newest := 0
	for _, e := range entries {
		id, digits, _ := strings.Cut(e.Name(), "-")
		if n, err := strconv.Atoi(digits); err == nil && id == point {
			newest = max(newest, n)
		}
	}
	return fmt.Sprintf("%s-%d", point, newest)
}

// A rebuild that is cut at any boundary of a transaction is repeated from its beginning; until then no server starts on it.
func TestRebuild_Interrupted(t *testing.T) {
	t.Parallel()
	l := loses(t, options(t, t.TempDir()))
	crash := errors.New("power cut")
	for cut := 0; ; cut++ {
		dir := filepath.Join(t.TempDir(), "new")
		o := options(t, dir)
		o.Config.Store = l.options.Config.Store
		if err := o.Config.Check(); err != nil {
			t.Fatal(err)
		}
		r := server.RebuildOptions{Config: o.Config, Key: filepath.Join(l.options.Config.Data, "root.key"), Log: o.Log}
		n := 0
		_, err := server.Rebuild(t.Context(), r.WithHook(func(string) error {
			if n++; n > cut {
				return crash
			}
			return nil
		}))
		if err == nil {
			t.Logf("%d boundaries", cut)
			break
		}
		if !errors.Is(err, crash) {
			t.Fatalf("cut %d: Rebuild = %v, want the cut", cut, err)
		}
		report, err := server.Rebuild(t.Context(), r)
		if err != nil && !strings.Contains(err.Error(), "database") { // nothing was left to do
			t.Fatalf("cut %d: the second Rebuild = %v", cut, err)
		}
		if err == nil && report.RecoveryPoints != 7 {
			t.Errorf("cut %d: the second Rebuild found %d recovery points, want 7", cut, report.RecoveryPoints)
		}
		f := start(t, o)
		if diff := cmp.Diff(l.known, f.know()); diff != "" {
			t.Errorf("cut %d: things differ (-before +after):\n%s", cut, diff)
		}
		f.stop()
	}
}

func TestServe_RefusesADatabaseThatIsBeingRebuilt(t *testing.T) {
	t.Parallel()
	l := loses(t, options(t, t.TempDir()))
	o := options(t, filepath.Join(t.TempDir(), "new"))
	o.Config.Store = l.options.Config.Store
	if err := o.Config.Check(); err != nil {
		t.Fatal(err)
	}
	r := server.RebuildOptions{Config: o.Config, Key: filepath.Join(l.options.Config.Data, "root.key"), Log: o.Log}
	last := 0
	_, err := server.Rebuild(t.Context(), r.WithHook(func(point string) error {
		if last++; strings.HasPrefix(point, "before commit") && last > 8 {
			return repo.ErrBusy
		}
		return nil
	}))
	if !errors.Is(err, repo.ErrBusy) {
		t.Fatalf("Rebuild = %v, want it cut", err)
	}
	if _, err := server.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "store rebuild") {
		t.Errorf("Open = %v, want it to ask for the rebuild to be repeated", err)
	}
}

// TestRebuild_KeepsMarksOfDamage loses the database while a recovery point is known to be damaged, and again when it was healed.
func TestRebuild_KeepsMarksOfDamage(t *testing.T) {
	t.Parallel()
	o := options(t, t.TempDir())
	o.Config.Store = filepath.Join(t.TempDir(), "store")
	f := start(t, o)
	f.vault("home")
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"lost": random(1, 3<<20), "kept": "1"})
	arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: &home, Type: "EFS"}).ResourceArn
	bad := f.backup("home", arn)
	damage(t, o.Config.Store, "d")
	known := func() *lockfastapi.RecoveryPointDamage {
		t.Helper()
		list := own(f, lockfastapi.ListRecoveryPoints, &lockfastapi.ListRecoveryPointsInput{RecoveryPointArn: &bad}).RecoveryPoints
		if len(list) != 1 {
			t.Fatalf("ListRecoveryPoints = %v, want %s", list, bad)
		}
		return list[0].Damage
	}
	verify := func() {
		t.Helper()
		f.ended(own(f, lockfastapi.StartVerification, &lockfastapi.StartVerificationInput{BackupVaultName: "home"}).TaskId)
	}
	rebuild := func() {
		t.Helper()
		f.written()
		f.stop()
		l := &lost{options: o}
		r, report, err := l.rebuild(t, filepath.Join(t.TempDir(), "new"), "sqlite")
		if err != nil || len(report.Damaged)+len(report.Assumed) > 0 {
			t.Fatalf("Rebuild = %+v, %v, want nothing amiss", report, err)
		}
		again := options(t, r.Config.Data)
		again.Config = r.Config
		o = again
		f = start(t, o)
	}
	verify()
	marked := known()
	if marked == nil || !slices.Contains(marked.Paths, "lost") || slices.Contains(marked.Paths, "kept") {
		t.Fatalf("damage after a verification = %+v, want lost", marked)
	}
	rebuild()
	if diff := cmp.Diff(marked, known()); diff != "" {
		t.Errorf("damage after a rebuild (-before +after):\n%s", diff)
	}
	verify() // a rebuilt database does not know which pack it is
	f.healthy(arn, f.backup("home", arn))
	verify()
	if d := known(); d != nil {
		t.Fatalf("damage after a backup that read everything again, and a verification = %+v", d)
	}
	rebuild()
	if d := known(); d != nil {
		t.Errorf("damage after it was healed, and a rebuild = %+v", d)
	}
}

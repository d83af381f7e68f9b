package server_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob"
	blobfs "github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/server"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/repo"
)

// kms calls an operation of KMS as the administrator and returns its answer.
func (f *fixture) kms(op string, in map[string]any) (out map[string]any, err error) {
	f.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		f.Fatal(err)
	}
	req, err := http.NewRequestWithContext(f.Context(), http.MethodPost, f.own.URL+"/", strings.NewReader(string(body)))
	if err != nil {
		f.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "TrentService."+op)
	sigv4.Sign(req, body, sigv4.Keys{AccessKeyID: f.own.AccessKeyID, Secret: f.own.Secret}, "us-east-1", "kms", time.Now())
	res, err := f.own.HTTP.Do(req)
	if err != nil {
		f.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		f.Fatal(err)
	}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &out); err != nil {
			f.Fatalf("%s answered %s: %v", op, text, err)
		}
	}
	if res.StatusCode != http.StatusOK {
		return nil, errors.New(string(text))
	}
	return out, nil
}

// key makes a KMS key and returns its ARN.
func (f *fixture) key() string {
	f.Helper()
	out := must(f.kms("CreateKey", map[string]any{}))(f)
	return out["KeyMetadata"].(map[string]any)["Arn"].(string)
}

// keyVault makes a vault with a key.
func (f *fixture) keyVault(name, key string) error {
	_, err := f.sdk.CreateBackupVault(f.Context(), &backup.CreateBackupVaultInput{BackupVaultName: &name, EncryptionKeyArn: &key})
	return err
}

// failsFor checks that backup and restore jobs end because of the key of their vault.
func (f *fixture) failsFor(vault, resource, point, why string) {
	f.Helper()
	id, _ := f.startBackup(vault, resource)
	j := f.awaitBackup(id)
	if j.State != types.BackupJobStateFailed || aws.ToString(j.MessageCategory) != "KMS_KEY_ERROR" || !strings.Contains(aws.ToString(j.StatusMessage), why) {
		f.Errorf("backup ended %s: %s (%s), want %q", j.State, aws.ToString(j.StatusMessage), aws.ToString(j.MessageCategory), why)
	}
	to := filepath.Join(f.TempDir(), "to")
	restore := own(f, lockfastapi.RestoreToDirectory, &lockfastapi.RestoreToDirectoryInput{RecoveryPointArn: point, Directory: to}).RestoreJobId
	r := f.awaitRestore(restore)
	if r.Status != types.RestoreJobStatusFailed || !strings.Contains(aws.ToString(r.StatusMessage), why) {
		f.Errorf("restore ended %s: %s, want %q", r.Status, aws.ToString(r.StatusMessage), why)
	}
}

func TestKeys_DisabledKeyStopsTheJobsOfItsVaults(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o server.Options) {
		f := start(t, o)
		key := f.key()
		if err := f.keyVault("home", key); err != nil {
			t.Fatal(err)
		}
		f.vault("plain")
		arn := f.directory(map[string]string{"one": "1"})
		point, doomed := f.backup("home", arn), f.backup("home", arn)
		must(f.kms("DisableKey", map[string]any{"KeyId": key}))(f)
		f.failsFor("home", arn, point, "KMS key "+key+" is disabled")
		f.backup("plain", arn)
		if _, err := f.own.HTTP.Get(f.own.URL + "/healthz"); err != nil {
			t.Error(err)
		}
		f.deletionWaits(doomed, "KMS key "+key+" is disabled")
		must(f.kms("EnableKey", map[string]any{"KeyId": key}))(f)
		f.backup("home", arn)
		if diff := cmp.Diff(map[string]string{"one": "1"}, contents(f, f.restoredTo(point))); diff != "" {
			t.Error(diff)
		}
	})
}

// deletionWaits has a recovery point deleted, and expects to be told why it is still there.
func (f *fixture) deletionWaits(point, why string) {
	f.Helper()
	if err := f.deletePoint(point); err != nil {
		f.Fatal(err)
	}
	f.eventually(func() bool {
		d := must(f.sdk.DescribeRecoveryPoint(f.Context(), &backup.DescribeRecoveryPointInput{BackupVaultName: aws.String("home"), RecoveryPointArn: &point}))(f)
		return d.Status == types.RecoveryPointStatusDeleting && strings.Contains(aws.ToString(d.StatusMessage), why)
	})
}

// restoredTo restores a recovery point into a new directory.
func (f *fixture) restoredTo(point string) (dir string) {
	f.Helper()
	dir = filepath.Join(f.TempDir(), "to")
	id := own(f, lockfastapi.RestoreToDirectory, &lockfastapi.RestoreToDirectoryInput{RecoveryPointArn: point, Directory: dir}).RestoreJobId
	if j := f.awaitRestore(id); j.Status != types.RestoreJobStatusCompleted {
		f.Fatalf("restore ended %s: %s", j.Status, aws.ToString(j.StatusMessage))
	}
	return dir
}

// contents reads the regular files of a directory.
func contents(f *fixture, dir string) map[string]string {
	f.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all[name] = string(text)
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	return all
}

func TestKeys_RootKeyAndObjectsAreEnough(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	if err := f.keyVault("home", f.key()); err != nil {
		t.Fatal(err)
	}
	f.vault("plain")
	arn := f.directory(map[string]string{"one": "1"})
	f.backup("home", arn)
	f.backup("plain", arn)
	f.stop()
	if n := readStore(f, f.options.Config.Data); n != 2 {
		t.Errorf("the store alone shows %d recovery points, want 2", n)
	}
}

// readStore counts the recovery points that a store shows to whoever has the root key, and reads all of them.
func readStore(f *fixture, data string) (points int) {
	f.Helper()
	root, err := keys.Open(filepath.Join(data, "root.key"))
	if err != nil {
		f.Fatal(err)
	}
	blobs, err := blobfs.Open(filepath.Join(data, "store"), blobfs.Options{})
	if err != nil {
		f.Fatal(err)
	}
	defer blobs.Close()
	vaults, err := os.ReadDir(filepath.Join(data, "store"))
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range vaults {
		if _, err := os.Stat(filepath.Join(data, "store", e.Name(), "format")); err != nil {
			continue
		}
		v, err := repo.OpenReadOnly(context.Background(), blob.Prefix(blobs, e.Name()), root, repo.Options{})
		if err != nil {
			f.Fatal(err)
		}
		report, err := v.Check(context.Background(), repo.CheckOptions{Level: 3})
		if err != nil || len(report.Damages) > 0 {
			f.Errorf("vault %s: %v, %v", e.Name(), err, report.Damages)
		}
		points += int(report.Points)
		_ = v.Close()
	}
	return points
}

func TestKeys_DestroyedAfterTheWindow(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	o := options(t, t.TempDir())
	o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	f := start(t, o)
	key := f.key()
	if err := f.keyVault("home", key); err != nil {
		t.Fatal(err)
	}
	arn := f.directory(map[string]string{"one": "1"})
	point := f.backup("home", arn)
	must(f.kms("ScheduleKeyDeletion", map[string]any{"KeyId": key, "PendingWindowInDays": 7}))(f)
	f.failsFor("home", arn, point, "KMS key "+key+" is pending deletion")
	must(f.kms("CancelKeyDeletion", map[string]any{"KeyId": key}))(f)
	must(f.kms("EnableKey", map[string]any{"KeyId": key}))(f)
	f.restoredTo(point)
	must(f.kms("ScheduleKeyDeletion", map[string]any{"KeyId": key, "PendingWindowInDays": 7}))(f)
	ahead.Store(int64(7*24*time.Hour + time.Minute))
	if err := f.server.ExpireKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.kms("DescribeKey", map[string]any{"KeyId": key}); err == nil || !strings.Contains(err.Error(), "NotFoundException") {
		t.Errorf("DescribeKey of a destroyed key = %v", err)
	}
	f.failsFor("home", arn, point, "KMS key "+key+" was deleted")
	left, err := filepath.Glob(filepath.Join(o.Config.Data, "store", "*", "k", "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("key objects after the destruction: %v, %v", left, err)
	}
	if err := f.delete("home", point); err != nil { // what cannot be read can still be removed
		t.Fatal(err)
	}
	f.gone("home", point)
	if _, err := f.sdk.DeleteBackupVault(t.Context(), &backup.DeleteBackupVaultInput{BackupVaultName: aws.String("home")}); err != nil {
		t.Error(err)
	}
}

func TestKeys_RotationKeepsOldVaultsReadable(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	key := f.key()
	arn := f.directory(map[string]string{"one": "1"})
	var points []string
	for _, name := range []string{"first", "second"} {
		if err := f.keyVault(name, key); err != nil {
			t.Fatal(err)
		}
		points = append(points, f.backup(name, arn))
		own(f, lockfastapi.RotateKey, &lockfastapi.RotateKeyInput{KeyId: key})
	}
	f.stop()
	f = start(t, f.options)
	for _, point := range points {
		f.restoredTo(point)
	}
	f.backup("first", arn)
	use := own(f, lockfastapi.ListKeyUse, &lockfastapi.ListKeyUseInput{}).Keys
	if len(use) != 1 || *use[0].Version != 3 || !cmp.Equal(use[0].Vaults, []string{"first", "second"}) {
		t.Errorf("ListKeyUse = %+v", use)
	}
}

// TestKeys_RotationGivesVaultsANewKey follows a vault through two rotations of its KMS key: what is stored after each of them is sealed
// under a vault key of its own, and everything is read, by the server and by the store alone with a copy of the root key from before.
func TestKeys_RotationGivesVaultsANewKey(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	data := f.options.Config.Data
	kit := must(os.ReadFile(filepath.Join(data, "root.key")))(f)
	key := f.key()
	if err := f.keyVault("home", key); err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]string{}
	for n := range 3 {
		if n > 0 {
			own(f, lockfastapi.RotateKey, &lockfastapi.RotateKeyInput{KeyId: key})
			if err := f.server.RenewKeys(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		content := map[string]string{"one": strings.Repeat("1", n+1), "many": strings.Repeat(strconv.Itoa(n), 5000)}
		point := f.backup("home", f.directory(content))
		want[point] = content
		if epochs := manifestEpochs(f, data); len(epochs) != n+1 || epochs[uint32(n+1)] != 1 {
			t.Errorf("recovery points by epoch after %d rotations = %v", n, epochs)
		}
	}
	if all := wrapped(t, data); len(all) != 3 {
		t.Errorf("key objects = %+v, want those of three epochs", all)
	}
	for point, content := range want {
		if diff := cmp.Diff(content, contents(f, f.restoredTo(point))); diff != "" {
			t.Error(diff)
		}
	}
	f.stop()
	if err := os.WriteFile(filepath.Join(data, "root.key"), kit, 0o600); err != nil {
		t.Fatal(err)
	}
	if n := readStore(f, data); n != 3 {
		t.Errorf("the store alone shows %d recovery points, want 3", n)
	}
}

// manifestEpochs counts the manifests of a store by the epoch under which they are sealed.
func manifestEpochs(f *fixture, data string) map[uint32]int {
	f.Helper()
	n := map[uint32]int{}
	for _, name := range must(filepath.Glob(filepath.Join(data, "store", "*", "r", "*")))(f) {
		n[binary.LittleEndian.Uint32(must(os.ReadFile(name))(f)[12:])]++
	}
	return n
}

// TestKeys_VaultFromBefore opens a data directory that was made before vaults hung on KMS keys.
func TestKeys_VaultFromBefore(t *testing.T) {
	t.Parallel()
	o := options(t, unpack(t, "testdata/before-keys.tar.gz"))
	f := start(t, o)
	const point = "arn:aws:backup:us-east-1:000000000000:recovery-point:6e65e018-4694-402f-8b29-7b10bdee4553"
	want := map[string]string{"a.txt": "kept since before\n", "sub/b.txt": "below\n"}
	if diff := cmp.Diff(want, contents(f, f.restoredTo(point))); diff != "" {
		t.Error(diff)
	}
	v := must(f.sdk.DescribeBackupVault(t.Context(), &backup.DescribeBackupVaultInput{BackupVaultName: aws.String("Default")}))(f)
	if v.EncryptionKeyArn != nil || v.EncryptionKeyType != types.EncryptionKeyTypeAwsOwnedKmsKey {
		t.Errorf("key of an old vault = %v, %s", aws.ToString(v.EncryptionKeyArn), v.EncryptionKeyType)
	}
	arn := f.directory(map[string]string{"one": "1"})
	second := f.backup("Default", arn)
	if diff := cmp.Diff(map[string]string{"one": "1"}, contents(f, f.restoredTo(second))); diff != "" {
		t.Error(diff)
	}
	f.vault("new")
	f.backup("new", arn)
	f.stop()
	if n := readStore(f, o.Config.Data); n != 3 {
		t.Errorf("the store alone shows %d recovery points, want 3", n)
	}
}

// unpack unpacks an archive of a data directory.
func unpack(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	packed, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	plain, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.FileInfo().IsDir() {
			err = os.MkdirAll(path, 0o700)
		} else {
			var text []byte
			if text, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, text, h.FileInfo().Mode())
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

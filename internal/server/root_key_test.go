package server_test

import (
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/server"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/seal"
)

// wrapped reads the key objects of each epoch of each vault of a store, two that say the same, and returns the first ones.
func wrapped(t *testing.T, data string) (all []seal.KeyRecord) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(data, "store", "*", "k", "*"))
	if err != nil {
		t.Fatal(err)
	}
	epochs := map[string][]seal.KeyRecord{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := seal.DecodeKeyRecord(name, b)
		if err != nil {
			t.Fatal(err)
		}
		epoch := name[:strings.LastIndex(name, "-")] // with the vault
		if epochs[epoch] = append(epochs[epoch], r); len(epochs[epoch]) == 1 {
			all = append(all, r)
		}
	}
	for epoch, pair := range epochs {
		if len(pair) != 2 || !cmp.Equal(pair[0], pair[1], cmpopts.IgnoreFields(seal.KeyRecord{}, "Generation")) {
			t.Errorf("%s: %+v, want two key objects that say the same", epoch, pair)
		}
	}
	return all
}

func TestKeys_RotationWrapsTheKeysOfVaultsAnew(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o server.Options) {
		f := start(t, o)
		key := f.key()
		if err := f.keyVault("home", key); err != nil {
			t.Fatal(err)
		}
		arn := f.directory(map[string]string{"one": "1"})
		point := f.backup("home", arn)
		own(f, lockfastapi.RotateKey, &lockfastapi.RotateKeyInput{KeyId: key})
		must(f.kms("DisableKey", map[string]any{"KeyId": key}))(f)
		if err := f.server.RenewKeys(t.Context()); err != nil {
			t.Fatal(err)
		}
		all := wrapped(t, o.Config.Data)
		if len(all) != 2 || all[0].Name() != "k/1-3" || all[1].Name() != "k/2-1" {
			t.Errorf("key objects = %+v, want k/1-3 and k/2-1", all)
		}
		for _, r := range all {
			if n := binary.LittleEndian.Uint32(r.Links[0][1:]); n != 2 {
				t.Errorf("%s is wrapped by version %d, want 2", r.Name(), n)
			}
		}
		f.failsFor("home", arn, point, "is disabled")
		must(f.kms("EnableKey", map[string]any{"KeyId": key}))(f)
		f.restoredTo(point)
		f.stop()
		if n := readStore(f, o.Config.Data); n != 1 {
			t.Errorf("the store alone shows %d recovery points, want 1", n)
		}
	})
}

func TestKeys_RotationBringsNoDestroyedKeyBack(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	o := options(t, t.TempDir())
	o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	f := start(t, o)
	key := f.key()
	if err := f.keyVault("home", key); err != nil {
		t.Fatal(err)
	}
	f.backup("home", f.directory(map[string]string{"one": "1"}))
	own(f, lockfastapi.RotateKey, &lockfastapi.RotateKeyInput{KeyId: key})
	must(f.kms("ScheduleKeyDeletion", map[string]any{"KeyId": key, "PendingWindowInDays": 7}))(f)
	ahead.Store(int64(8 * 24 * time.Hour))
	if err := f.server.ExpireKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.server.RenewKeys(t.Context()); err != nil {
		t.Error(err)
	}
	if all := wrapped(t, f.options.Config.Data); len(all) > 0 {
		t.Errorf("key objects of a destroyed key: %+v", all)
	}
}

// rootStory is a data directory with a vault from before there were KMS keys, and one that hangs on one.
type rootStory struct {
	o          server.Options
	old, point string // recovery points
	arn        string
}

func newRootStory(t *testing.T) (s rootStory) {
	t.Helper()
	s.o = options(t, unpack(t, "testdata/before-keys.tar.gz"))
	f := start(t, s.o)
	s.old = "arn:aws:backup:us-east-1:000000000000:recovery-point:6e65e018-4694-402f-8b29-7b10bdee4553"
	key := f.key()
	if err := f.keyVault("home", key); err != nil {
		t.Fatal(err)
	}
	own(f, lockfastapi.RotateKey, &lockfastapi.RotateKeyInput{KeyId: key})
	s.arn = f.directory(map[string]string{"one": "1"})
	s.point = f.backup("home", s.arn)
	must(f.kms("DisableKey", map[string]any{"KeyId": key}))(f) // which must not keep the old root key in use
	f.stop()
	if err := s.o.Config.Check(); err != nil {
		t.Fatal(err)
	}
	return s
}

// works checks that everything can be read and written.
func (s rootStory) works(t *testing.T) {
	t.Helper()
	f := start(t, s.o)
	defer f.stop()
	key := *own(f, lockfastapi.ListKeyUse, &lockfastapi.ListKeyUseInput{}).Keys[0].KeyArn
	for _, k := range own(f, lockfastapi.ListKeyUse, &lockfastapi.ListKeyUseInput{}).Keys {
		if cmp.Equal(k.Vaults, []string{"home"}) {
			key = *k.KeyArn
		}
	}
	must(f.kms("EnableKey", map[string]any{"KeyId": key}))(f)
	if diff := cmp.Diff(map[string]string{"one": "1"}, contents(f, f.restoredTo(s.point))); diff != "" {
		t.Error(diff)
	}
	want := map[string]string{"a.txt": "kept since before\n", "sub/b.txt": "below\n"}
	if diff := cmp.Diff(want, contents(f, f.restoredTo(s.old))); diff != "" {
		t.Error(diff)
	}
	f.backup("Default", s.arn)
	f.backup("home", s.arn)
}

// onlyBy checks that a key file opens all vaults of the store, or none.
func (s rootStory) onlyBy(t *testing.T, path string, all bool) {
	t.Helper()
	root, err := keys.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range wrapped(t, s.o.Config.Data) {
		_, err := root.UnwrapLinked(t.Context(), r.KeyID, r.Links, r.Wrapped, r.Bind())
		if all && err != nil || !all && !errors.Is(err, repo.ErrWrongKey) {
			t.Errorf("vault key %x with %s: %v", r.UUID, path, err)
		}
	}
}

func TestRotateRootKey_NeedsTheOldOneNoLonger(t *testing.T) {
	t.Parallel()
	s := newRootStory(t)
	done, err := server.RotateRootKey(t.Context(), s.o)
	if err != nil {
		t.Fatal(err)
	}
	if done.Key == done.Old || done.Retired != s.o.Config.KeyFile+".retired-"+done.Old {
		t.Errorf("RotateRootKey = %+v", done)
	}
	s.onlyBy(t, s.o.Config.KeyFile, true)
	s.onlyBy(t, done.Retired, false)
	if err := os.Remove(done.Retired); err != nil {
		t.Fatal(err)
	}
	s.works(t)
	s.onlyBy(t, s.o.Config.KeyFile, true)
}

func TestRotateRootKey_OnEitherDatabase(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o server.Options) {
		f := start(t, o)
		f.vault("home")
		point := f.backup("home", f.directory(map[string]string{"one": "1"}))
		o = f.checked()
		f.stop()
		done, err := server.RotateRootKey(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(done.Retired); err != nil {
			t.Fatal(err)
		}
		f = start(t, o)
		f.restoredTo(point)
		f.backup("home", f.directory(map[string]string{"two": "2"}))
	})
}

func TestRotateRootKey_KeepsIDsOfContents(t *testing.T) {
	t.Parallel()
	s := newRootStory(t)
	f := start(t, s.o)
	before, err := f.server.Domain(t.Context(), "000000000000")
	if err != nil {
		t.Fatal(err)
	}
	f.stop()
	for range 2 {
		if _, err := server.RotateRootKey(t.Context(), s.o); err != nil {
			t.Fatal(err)
		}
	}
	f = start(t, s.o)
	if after, err := f.server.Domain(t.Context(), "000000000000"); err != nil || after != before {
		t.Errorf("the account's domain changed: %v", err)
	}
}

func TestRotateRootKey_WantsTheServerStopped(t *testing.T) {
	t.Parallel()
	o := options(t, t.TempDir())
	f := start(t, o)
	if _, err := server.RotateRootKey(t.Context(), f.checked()); !errors.Is(err, server.ErrInUse) {
		t.Errorf("RotateRootKey beside a server = %v, want %v", err, server.ErrInUse)
	}
	if left, _ := filepath.Glob(filepath.Join(o.Config.Data, "root.key.*")); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

// TestRotateRootKey_CutAnywhere fails every boundary of every transaction in turn, from there on. A server must then work as
// before, and another try must end what was begun.
func TestRotateRootKey_CutAnywhere(t *testing.T) {
	t.Parallel()
	s := newRootStory(t)
	cuts := 0
	for n := int64(0); ; n++ {
		o := s.o
		o.Config.Data = filepath.Join(t.TempDir(), "data")
		o.Config.Metadata, o.Config.Store, o.Config.KeyFile = "sqlite", "", ""
		if err := os.CopyFS(o.Config.Data, os.DirFS(s.o.Config.Data)); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"root.key", "credentials"} {
			if err := os.Chmod(filepath.Join(o.Config.Data, name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := o.Config.Check(); err != nil {
			t.Fatal(err)
		}
		var left atomic.Int64
		left.Store(n)
		_, err := server.RotateRootKey(t.Context(), server.WithCuts(o, func(string) error {
			if left.Add(-1) < 0 {
				return errors.New("cut")
			}
			return nil
		}, nil))
		if err == nil {
			break
		}
		cuts++
		again := rootStory{o: o, old: s.old, point: s.point, arn: s.arn}
		if n%5 == 0 {
			again.works(t)
		}
		done, err := server.RotateRootKey(t.Context(), o)
		if err != nil {
			t.Fatalf("cut %d: the next try = %v", n, err)
		}
		again.onlyBy(t, o.Config.KeyFile, true)
		again.onlyBy(t, done.Retired, false)
	}
	if cuts < 5 {
		t.Errorf("only %d cuts", cuts)
	}
	t.Logf("%d cuts", cuts)
}

func TestRootKey_GuardedByTransit(t *testing.T) {
	t.Parallel()
	o := options(t, t.TempDir())
	f := start(t, o)
	f.vault("home")
	point := f.backup("home", f.directory(map[string]string{"one": "1"}))
	f.stop()
	var away atomic.Bool
	transit := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"errors":["permission denied"]}`))
			return
		}
		fakeTransit(w, r)
	}))
	defer transit.Close()
	o.Config.RootKey, o.Config.TransitAddress, o.Config.TransitKey = "transit", transit.URL, "lockfast"
	o.Config.TransitTokenFile = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(o.Config.TransitTokenFile, []byte("s.token"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.Config.Check(); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "lockfast key rotate-root") {
		t.Fatalf("Open with a root key that lies in the open = %v", err)
	}
	done, err := server.RotateRootKey(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(done.Retired); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(o.Config.KeyFile)
	if err != nil || strings.Contains(string(text), "lockfast-root-key-1:") {
		t.Errorf("the key file holds the key: %v", err)
	}
	f = start(t, o)
	away.Store(true) // which the server does not notice until it is started again
	f.restoredTo(point)
	f.vault("more")
	f.backup("more", f.directory(map[string]string{"two": "2"}))
	f.stop()
	if _, err := server.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "the token is refused") {
		t.Errorf("Open without the transit service = %v", err)
	}
	away.Store(false)
	o.Config.RootKey = "file" // and back
	if done, err = server.RotateRootKey(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	o.Config.TransitAddress = ""
	f = start(t, o)
	f.restoredTo(point)
	f.stop()
	if n := readStore(f, o.Config.Data); n != 2 {
		t.Errorf("the store alone shows %d recovery points, want 2", n)
	}
}

func TestConfigDecode_KeepsDefaultsOfADocumentThatSaysNothing(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n", "# store: /srv\n\n  # more\n", "---\n"} {
		c := server.DefaultConfig()
		if err := c.Decode([]byte(text)); err != nil || c.Metadata != "sqlite" || c.BackupJobs == 0 {
			t.Errorf("Decode(%q) = %v, metadata %q", text, err, c.Metadata)
		}
	}
}

func TestConfig_RetentionIsForBuckets(t *testing.T) {
	t.Parallel()
	for store, want := range map[string]string{"": "a directory cannot", "s3://bucket/prefix": ""} {
		o := options(t, t.TempDir())
		o.Config.Store, o.Config.StoreRetention = store, time.Hour
		if err := o.Config.Check(); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("Check with the store %q = %v, want %q", store, err, want)
		}
	}
}

func TestKeys_CopiesMeetDisabledKeys(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	key := f.key()
	if err := f.keyVault("locked", key); err != nil {
		t.Fatal(err)
	}
	f.vault("plain")
	arn := f.directory(map[string]string{"one": "1"})
	points := map[string]string{"locked": f.backup("locked", arn), "plain": f.backup("plain", arn)}
	copied := func(from, to string) (state types.CopyJobState, message string) {
		j := f.awaitCopy(f.startCopy(from, points[from], to).CopyJobId)
		return j.State, aws.ToString(j.StatusMessage)
	}
	must(f.kms("DisableKey", map[string]any{"KeyId": key}))(f)
	for from, to := range map[string]string{"locked": "plain", "plain": "locked"} {
		if state, message := copied(from, to); state != types.CopyJobStateFailed || !strings.Contains(message, "KMS key "+key+" is disabled") {
			t.Errorf("copy from %s to %s ended %s: %s", from, to, state, message)
		}
	}
	must(f.kms("EnableKey", map[string]any{"KeyId": key}))(f)
	for from, to := range map[string]string{"locked": "plain", "plain": "locked"} {
		if state, message := copied(from, to); state != types.CopyJobStateCompleted {
			t.Errorf("copy from %s to %s ended %s: %s", from, to, state, message)
		}
	}
}

// checked are the options of a running server.
func (f *fixture) checked() server.Options {
	f.Helper()
	o := f.options
	if err := o.Config.Check(); err != nil {
		f.Fatal(err)
	}
	return o
}

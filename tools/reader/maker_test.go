package reader_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/localledger"
	"github.com/lockfast/lockfast/repo/seal"
	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/directory"
	"github.com/lockfast/lockfast/resource/resourcetest"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "make the golden vaults that are missing")

// makers fill new golden vaults, by name. A new one is added when the format, or what writers do with it, grows.
var makers = map[string]func(t *testing.T, m *maker){
	"v1-files":   makeFiles,
	"v1-default": makeDefault,
	"v1-parity":  makeParity,
	"v1-cold":    makeCold,
	"v1-server":  makeServer,
}

// maker makes one golden vault.
type maker struct {
	dir     string // source of the backups
	store   string // directory of the store
	root    *keys.Root
	key     repo.KeyWrapper // wraps the vault key; the root key itself, unless the maker says otherwise
	blobs   blob.Store
	ledger  *localledger.Ledger
	vault   *repo.Vault
	random  *rand.Rand
	listing listing
}

func TestGoldenVault_MakeMissing(t *testing.T) {
	if !*update {
		t.Skip("with -update only")
	}
	for name, fill := range makers {
		target := filepath.Join(golden, name)
		if _, err := os.Stat(target); err == nil {
			continue // frozen
		}
		m := &maker{dir: t.TempDir(), ledger: localledger.New(localledger.Options{}), listing: listing{}}
		if !keepsXattrs(m.dir) {
			t.Fatalf("%s has no extended attributes; set TMPDIR", m.dir)
		}
		m.random = rand.New(rand.NewPCG(3, uint64(len(name))))
		m.open(t, target)
		fill(t, m)
		data, err := json.MarshalIndent(m.listing, "", "\t")
		try(t, err, os.WriteFile(filepath.Join(target, "listing.json"), append(data, '\n'), 0o644))
	}
}

func (m *maker) open(t *testing.T, target string) {
	t.Helper()
	try(t, os.MkdirAll(target, 0o755))
	root, err := keys.Create(filepath.Join(target, "test-root.key"))
	try(t, err)
	m.store = filepath.Join(target, "store")
	s, err := fs.Open(m.store, fs.Options{Create: true})
	try(t, err)
	t.Cleanup(func() { s.Close() })
	m.root, m.key, m.blobs = root, root, s
}

func (m *maker) create(t *testing.T, o repo.CreateOptions) {
	t.Helper()
	o.UUID = uuid.New()
	for i := range o.DomainKey {
		o.DomainKey[i] = byte(m.random.Uint32())
	}
	m.blobs = blob.Prefix(m.blobs, uuid.UUID(o.UUID).String())
	v, err := repo.Create(t.Context(), m.blobs, m.ledger, m.key, o)
	try(t, err)
	m.vault = v
	t.Cleanup(func() { v.Close() })
}

// backup makes a recovery point of the source and notes what it holds.
func (m *maker) backup(t *testing.T, parent repo.PointID) repo.PointID {
	t.Helper()
	address := map[string]string{directory.PathKey: m.dir}
	order := resource.Capture{Resource: resource.Resource{ARN: "arn:golden", Type: directory.Name, Address: address}}
	id, report := resourcetest.Capture(t, m.vault, driver(), order, parent)
	if len(report.Skipped) > 0 {
		t.Fatalf("skipped: %v", report.Skipped)
	}
	m.listing[id] = list(t, m.dir)
	return id
}

// write writes a file of about one random byte in every few, which compresses, with a round modification time.
func (m *maker) write(t *testing.T, name string, size, every int) {
	t.Helper()
	data := bytes.Repeat([]byte("a"), size)
	for i := 0; i < size; i += 1 + m.random.IntN(2*every-1) {
		data[i] = byte(m.random.Uint32())
	}
	path := filepath.Join(m.dir, name)
	try(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644),
		os.Chtimes(path, time.Time{}, time.Unix(1_700_000_000+int64(size), 123_456_789)))
}

// makeFiles makes a vault with small chunks: nodes of two levels, lists, bundles of which reclaim freed parts, a vault
// key that was wrapped a second time, and every kind of file that a user without rights can make.
func makeFiles(t *testing.T, m *maker) {
	m.create(t, repo.CreateOptions{
		NoParity: true, DataPack: 512 << 10, MetaPack: 512 << 10,
		Chunk: chunk.Params{Min: 1 << 10, Avg: 4 << 10, Max: 16 << 10},
	})
	for i := range 100 {
		m.write(t, fmt.Sprintf("small/%03d", i), 513+m.random.IntN(500), 1)
	}
	m.write(t, "list", 400<<10, 48)
	m.special(t)
	a := m.backup(t, "")
	for i := range 50 {
		m.write(t, fmt.Sprintf("small/%03d", 2*i), 513+m.random.IntN(500), 1)
	}
	b := m.backup(t, a)
	try(t, m.vault.DeletePoint(t.Context(), a), m.ledger.Remove(t.Context(), a))
	delete(m.listing, a)
	report, err := m.vault.Reclaim(t.Context(), repo.ReclaimOptions{})
	if try(t, err); report.BundlesSplit == 0 {
		t.Fatalf("reclaim split no bundle: %+v", report)
	}
	m.write(t, "new/inline", 300, 1)
	m.write(t, "list", 300<<10, 48)
	try(t, os.RemoveAll(filepath.Join(m.dir, "small")))
	m.backup(t, b)
	m.rewrap(t)
}

// special makes what is not a plain file.
func (m *maker) special(t *testing.T) {
	t.Helper()
	path := func(name string) string { return filepath.Join(m.dir, name) }
	try(t, os.MkdirAll(path("empty"), 0o755), os.MkdirAll(path("links"), 0o755))
	m.write(t, "files/\xff\xfe\x80 no text \n", 700, 1)
	m.write(t, "files/\u00fc\u4e2d", 0, 1)
	m.write(t, "files/none", 0, 1)
	m.write(t, "files/attributes", 10, 1)
	m.write(t, "links/first", 2000, 1)
	for i := range 36 { // enough for a second leaf
		try(t, os.Symlink(strings.Repeat("x", 4000)+fmt.Sprint(i), path(fmt.Sprintf("links/long %02d", i))))
	}
	try(t,
		os.Link(path("links/first"), path("links/second")),
		os.Symlink("../files/none", path("links/symbolic")),
		os.Symlink("\xff", path("links/dangling")),
		unix.Mkfifo(path("fifo"), 0o640),
		unix.Setxattr(path("files/attributes"), "user.small", []byte("\x00value"), 0),
		unix.Setxattr(path("files/attributes"), "user.large", bytes.Repeat([]byte("large "), 500), 0),
		os.Chmod(path("files/none"), 0o4751),
		sparse(path("sparse")),
		os.Chmod(path("empty"), 0o1700),
		os.Chtimes(path("empty"), time.Time{}, time.Unix(-5, 7)))
}

// sparse makes a file of 1 MiB with data at its start and in its middle.
func sparse(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, off := range []int64{0, 512 << 10} {
		if _, err := f.WriteAt(bytes.Repeat([]byte("data "), 2000), off); err != nil {
			return err
		}
	}
	return f.Truncate(1 << 20)
}

// rewrap wraps the vault key anew, as a rotation of the root key would.
func (m *maker) rewrap(t *testing.T) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(m.store, "*-*", "k", "1-1"))
	if try(t, err); len(found) != 1 {
		t.Fatalf("key objects %v, want one", found)
	}
	old, err := os.ReadFile(found[0])
	try(t, err)
	r, err := seal.DecodeKeyRecord("k/1-1", old)
	try(t, err)
	secret, err := m.key.Unwrap(t.Context(), r.Wrapped, r.Bind())
	try(t, err)
	r.Wrapped, err = m.key.Wrap(t.Context(), secret, r.Bind())
	try(t, err)
	for r.Generation = 3; r.Generation <= 4; r.Generation++ { // after those that the vault was made with
		data := r.Encode()
		try(t, m.blobs.Put(t.Context(), blob.Name(r.Name()), bytes.NewReader(data), int64(len(data))))
	}
}

// makeDefault makes a vault with chunks and packs of the usual sizes.
func makeDefault(t *testing.T, m *maker) {
	m.create(t, repo.CreateOptions{NoParity: true})
	m.write(t, "large", 3<<20, 48)
	m.write(t, "part", 100_000, 96)
	a := m.backup(t, "")
	data, err := os.ReadFile(filepath.Join(m.dir, "large"))
	path := filepath.Join(m.dir, "large")
	try(t, err, os.WriteFile(path, append(data[:2<<20], "changed"...), 0o600))
	b := m.backup(t, a)
	m.backup(t, b)
}

// makeParity makes a vault with parity: packs protected as a whole, packs of which the trailer is, and what a repair leaves
// of a manifest and a refset that were damaged.
func makeParity(t *testing.T, m *maker) {
	m.create(t, repo.CreateOptions{
		DataPack: 512 << 10, MetaPack: 512 << 10,
		Chunk: chunk.Params{Min: 1 << 10, Avg: 4 << 10, Max: 16 << 10}, Options: repo.Options{DataParity: true},
	})
	for i := range 60 {
		m.write(t, fmt.Sprintf("small/%03d", i), 513+m.random.IntN(500), 1)
	}
	a := m.backup(t, "")
	m.reopen(t)
	m.write(t, "list", 300<<10, 48)
	b := m.backup(t, a)
	for _, name := range []string{"r/" + string(b), "f/" + string(a)} {
		path := filepath.Join(m.store, uuid.UUID(m.vault.UUID()).String(), name)
		data, err := os.ReadFile(path)
		try(t, err)
		data[100] ^= 1
		try(t, os.Remove(path), os.WriteFile(path, data, 0o444))
	}
	report, err := m.vault.Repair(t.Context(), repo.RepairOptions{Check: true, Level: repo.CheckBytes})
	if try(t, err); report.Manifests != 1 || report.Refsets != 1 || len(report.Lost) > 0 {
		t.Fatalf("repair = %+v, want a manifest and a refset", report)
	}
}

// reopen opens the vault with the usual options.
func (m *maker) reopen(t *testing.T) {
	t.Helper()
	try(t, m.vault.Close())
	v, err := repo.Open(t.Context(), m.blobs, m.ledger, m.key, repo.Options{})
	try(t, err)
	m.vault = v
	t.Cleanup(func() { v.Close() })
}

// makeCold makes a vault with a recovery point in cold storage, and warm ones that share contents with it.
func makeCold(t *testing.T, m *maker) {
	m.create(t, repo.CreateOptions{
		DataPack: 512 << 10, MetaPack: 512 << 10, ColdPack: 512 << 10,
		Chunk: chunk.Params{Min: 1 << 10, Avg: 4 << 10, Max: 16 << 10},
	})
	for i := range 40 {
		m.write(t, fmt.Sprintf("small/%03d", i), 513+m.random.IntN(500), 1)
	}
	m.write(t, "list", 400<<10, 48)
	a := m.backup(t, "")
	for i := range 20 {
		m.write(t, fmt.Sprintf("small/%03d", 2*i), 513+m.random.IntN(500), 1)
	}
	m.write(t, "list", 300<<10, 48)
	b := m.backup(t, a)
	m.moveToCold(t, a, nil)
	m.backup(t, b)
	_, err := m.vault.Reclaim(t.Context(), repo.ReclaimOptions{})
	try(t, err)
}

// moveToCold moves a recovery point to cold storage, where it has another id, and a first state if there is one.
func (m *maker) moveToCold(t *testing.T, id repo.PointID, first *repo.PointRecord) repo.PointID {
	t.Helper()
	w, err := m.vault.NewWriter(t.Context(), repo.WriterOptions{Cold: id})
	try(t, err)
	defer w.Abort(t.Context())
	try(t, w.MoveToCold(t.Context()))
	facts := w.Source().Facts()
	facts.Record = first
	cold, err := w.Commit(t.Context(), facts)
	try(t, err, m.vault.DeletePoint(t.Context(), id), m.ledger.Remove(t.Context(), id))
	m.listing[cold] = m.listing[id]
	delete(m.listing, id)
	return cold
}

func try(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

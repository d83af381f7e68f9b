// Package resourcetest is the suite that every driver of resources passes, with the tools its own tests need: a vault
// in memory, a maker of directory trees with everything that Linux knows, and a comparer of trees that shares no code
// with any driver.
package resourcetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/localledger"
	"github.com/lockfast/lockfast/resource"
)

// Subject is a real resource of the type under test.
type Subject struct {
	Resource resource.Resource
	// Missing is a resource of the same type with an address where there is nothing.
	Missing resource.Resource
	// Change changes the resource, so that a capture has something new. It may be called again.
	Change func(t *testing.T)
	// Target returns a place to restore to, a new one each time.
	Target func(t *testing.T) resource.Restore
	// Compare returns the differences between the resource as it is now and what a restore made.
	Compare func(t *testing.T, o resource.Outcome) []string
	// Empty reports what is left at a target whose restore failed.
	Empty func(t *testing.T, target resource.Restore) []string
}

// Run runs the suite. make returns a new subject each time it is called. The driver must take what the subject holds for
// old: where it reads again what changed just now, it is given a clock that is ahead.
func Run(t *testing.T, d resource.Driver, make func(t *testing.T) Subject) {
	for name, test := range map[string]func(*testing.T, resource.Driver, Subject){
		"RestoreEqualsResource":   restoreEquals,
		"UnchangedReadsNothing":   unchanged,
		"ChangeIsCaptured":        changed,
		"FullReadEqualsResource":  fullRead,
		"TwoCapturesAtOnce":       twice,
		"MissingResource":         missing,
		"RestoreDoesNotOverwrite": noOverwrite,
		"CancelledCapture":        cancelledCapture,
		"CancelledRestore":        cancelledRestore,
		"ProgressEndsAtTheEnd":    progress,
		"Probe":                   probe,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, d, make(t))
		})
	}
}

func restoreEquals(t *testing.T, d resource.Driver, s Subject) {
	v := NewVault(t)
	id, report := Capture(t, v, d, resource.Capture{Resource: s.Resource}, "")
	outcome := Restore(t, v, d, id, s.Target(t))
	noDifference(t, s.Compare(t, outcome))
	if outcome.Bytes != report.LogicalBytes || outcome.Items != report.Items {
		t.Errorf("restored %d bytes in %d items, want %d in %d", outcome.Bytes, outcome.Items, report.LogicalBytes, report.Items)
	}
}

func unchanged(t *testing.T, d resource.Driver, s Subject) {
	v := NewVault(t)
	first, before := Capture(t, v, d, resource.Capture{Resource: s.Resource}, "")
	second, after := Capture(t, v, d, resource.Capture{Resource: s.Resource}, first)
	if after.BytesRead != 0 {
		t.Errorf("capture of an unchanged resource read %d bytes, want 0", after.BytesRead)
	}
	if after.Items != before.Items || after.LogicalBytes != before.LogicalBytes {
		t.Errorf("second capture has %d items and %d bytes, want %d and %d", after.Items, after.LogicalBytes, before.Items,
			before.LogicalBytes)
	}
	noDifference(t, s.Compare(t, Restore(t, v, d, second, s.Target(t))))
}

func changed(t *testing.T, d resource.Driver, s Subject) {
	v := NewVault(t)
	parent, _ := Capture(t, v, d, resource.Capture{Resource: s.Resource}, "")
	for range 2 {
		s.Change(t)
		parent, _ = Capture(t, v, d, resource.Capture{Resource: s.Resource}, parent)
		noDifference(t, s.Compare(t, Restore(t, v, d, parent, s.Target(t))))
	}
}

func fullRead(t *testing.T, d resource.Driver, s Subject) {
	v := NewVault(t)
	first, before := Capture(t, v, d, resource.Capture{Resource: s.Resource}, "")
	second, after := Capture(t, v, d, resource.Capture{Resource: s.Resource, FullRead: true}, first)
	if after.BytesRead != before.BytesRead {
		t.Errorf("full read of an unchanged resource read %d bytes, want %d", after.BytesRead, before.BytesRead)
	}
	noDifference(t, s.Compare(t, Restore(t, v, d, second, s.Target(t))))
}

func twice(t *testing.T, d resource.Driver, s Subject) {
	v := NewVault(t)
	var ids [2]repo.PointID
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() { ids[i], _ = Capture(t, v, d, resource.Capture{Resource: s.Resource}, "") })
	}
	wg.Wait()
	for _, id := range ids {
		if id != "" {
			noDifference(t, s.Compare(t, Restore(t, v, d, id, s.Target(t))))
		}
	}
}

func missing(t *testing.T, d resource.Driver, s Subject) {
	if _, err := d.Probe(t.Context(), s.Missing); !errors.Is(err, resource.ErrNotFound) {
		t.Errorf("Probe(missing) = %v, want ErrNotFound", err)
	}
	w := newWriter(t, NewVault(t), "")
	_, err := d.Capture(t.Context(), resource.Capture{Resource: s.Missing, Writer: w})
	if !errors.Is(err, resource.ErrNotFound) {
		t.Errorf("Capture(missing) = %v, want ErrNotFound", err)
	}
	for _, address := range s.Missing.Address {
		if err != nil && !strings.Contains(err.Error(), address) {
			t.Errorf("Capture(missing) = %v, does not name %s", err, address)
		}
	}
	abort(t, w)
}

func noOverwrite(t *testing.T, d resource.Driver, s Subject) {
	v := NewVault(t)
	id, _ := Capture(t, v, d, resource.Capture{Resource: s.Resource}, "")
	target := s.Target(t)
	first := Restore(t, v, d, id, target)
	target.Point = OpenPoint(t, v, id)
	if _, err := d.Restore(t.Context(), target); !errors.Is(err, resource.ErrExist) {
		t.Errorf("second Restore to the same place = %v, want ErrExist", err)
	}
	noDifference(t, s.Compare(t, first))
}

func cancelledCapture(t *testing.T, d resource.Driver, s Subject) {
	w := newWriter(t, NewVault(t), "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Capture(ctx, resource.Capture{Resource: s.Resource, Writer: w}); !errors.Is(err, context.Canceled) {
		t.Errorf("Capture(cancelled) = %v, want context.Canceled", err)
	}
	abort(t, w)
}

func cancelledRestore(t *testing.T, d resource.Driver, s Subject) {
	v := NewVault(t)
	id, _ := Capture(t, v, d, resource.Capture{Resource: s.Resource}, "")
	target := s.Target(t)
	target.Point = OpenPoint(t, v, id)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Restore(ctx, target); !errors.Is(err, context.Canceled) {
		t.Errorf("Restore(cancelled) = %v, want context.Canceled", err)
	}
	noDifference(t, s.Empty(t, target))
}

func progress(t *testing.T, d resource.Driver, s Subject) {
	v := NewVault(t)
	var last resource.Progress
	take := func(p resource.Progress) {
		if p.Items < last.Items {
			t.Errorf("progress went back from %+v to %+v", last, p)
		}
		last = p
	}
	id, report := Capture(t, v, d, resource.Capture{Resource: s.Resource, Progress: take}, "")
	if last.Items != report.Items || last.Bytes != report.LogicalBytes {
		t.Errorf("last progress of capture = %+v, want %d items, %d bytes", last, report.Items, report.LogicalBytes)
	}
	last = resource.Progress{}
	target := s.Target(t)
	target.Progress = take
	if outcome := Restore(t, v, d, id, target); last.Items != outcome.Items || last.Bytes != last.TotalBytes {
		t.Errorf("last progress of restore = %+v, want %d items and all bytes", last, outcome.Items)
	}
}

func probe(t *testing.T, d resource.Driver, s Subject) {
	if _, err := d.Probe(t.Context(), s.Resource); err != nil {
		t.Errorf("Probe = %v", err)
	}
	if _, err := d.Probe(t.Context(), resource.Resource{}); err == nil {
		t.Error("Probe of a resource without an address = nil, want an error")
	}
}

func noDifference(t *testing.T, differences []string) {
	t.Helper()
	for i, d := range differences {
		if i == 20 {
			t.Errorf("... and %d more", len(differences)-i)
			break
		}
		t.Error(d)
	}
}

// NewVault returns a new vault in memory with small chunks and packs, so that little data makes many of them. It is
// closed at the end of the test.
func NewVault(t testing.TB) *repo.Vault {
	t.Helper()
	return OpenVault(t, mem.New(), repo.CreateOptions{
		DataPack: 4 << 20, MetaPack: 4 << 20, Chunk: chunk.Params{Min: 64 << 10, Avg: 256 << 10, Max: 1 << 20},
		Options: repo.Options{MemoryLimit: 32 << 20},
	})
}

// OpenVault returns a new vault in the store. It is closed at the end of the test.
func OpenVault(t testing.TB, s blob.Store, o repo.CreateOptions) *repo.Vault {
	t.Helper()
	o.UUID, o.DomainKey = [16]byte{1}, [32]byte{2}
	v, err := repo.Create(context.Background(), s, localledger.New(localledger.Options{}), openKey{}, o)
	if err != nil {
		t.Fatalf("create vault: %v", err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Errorf("close vault: %v", err)
		}
	})
	return v
}

// openKey wraps keys by writing them down: the tests are not about secrecy.
type openKey struct{}

func (openKey) KeyID() string { return "none" }

func (openKey) Wrap(_ context.Context, key, bind []byte) ([]byte, error) {
	return append(bytes.Clone(bind), key...), nil
}

func (openKey) Unwrap(_ context.Context, wrapped, bind []byte) ([]byte, error) {
	key, ok := bytes.CutPrefix(wrapped, bind)
	if !ok {
		return nil, repo.ErrWrongKey
	}
	return bytes.Clone(key), nil
}

func newWriter(t testing.TB, v *repo.Vault, parent repo.PointID) *repo.Writer {
	t.Helper()
	w, err := v.NewWriter(context.Background(), repo.WriterOptions{Parent: parent})
	if err != nil {
		t.Fatalf("new writer: %v", err)
	}
	return w
}

func abort(t testing.TB, w *repo.Writer) {
	t.Helper()
	if err := w.Abort(context.Background()); err != nil {
		t.Errorf("abort: %v", err)
	}
}

// Capture captures a resource into a new recovery point. The order's writer is filled in.
func Capture(t testing.TB, v *repo.Vault, d resource.Driver, order resource.Capture, parent repo.PointID) (repo.PointID, resource.Report) {
	t.Helper()
	w := newWriter(t, v, parent)
	order.Writer = w
	report, err := d.Capture(t.Context(), order)
	if err != nil {
		abort(t, w)
		t.Errorf("Capture = %v", err)
		return "", report
	}
	return commit(t, w, order, report), report
}

func commit(t testing.TB, w *repo.Writer, order resource.Capture, report resource.Report) repo.PointID {
	t.Helper()
	facts := repo.Facts{
		Created: time.Now(), Resource: order.Resource.ARN, Driver: order.Resource.Type, Metadata: report.Metadata,
		SkippedMore: report.SkippedMore,
	}
	for _, s := range report.Skipped {
		facts.Skipped = append(facts.Skipped, repo.Skip{Path: s.Path, Reason: s.Reason})
	}
	id, err := w.Commit(context.Background(), facts)
	if err != nil {
		t.Errorf("commit: %v", err)
	}
	return id
}

// OpenPoint opens a recovery point until the end of the test.
func OpenPoint(t testing.TB, v *repo.Vault, id repo.PointID) *repo.Point {
	t.Helper()
	p, err := v.OpenPoint(context.Background(), id)
	if err != nil {
		t.Fatalf("open recovery point: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close recovery point: %v", err)
		}
	})
	return p
}

// Restore restores a recovery point to the order's target.
func Restore(t testing.TB, v *repo.Vault, d resource.Driver, id repo.PointID, order resource.Restore) resource.Outcome {
	t.Helper()
	order.Point = OpenPoint(t, v, id)
	outcome, err := d.Restore(t.Context(), order)
	if err != nil {
		t.Errorf("Restore = %v", err)
	}
	return outcome
}

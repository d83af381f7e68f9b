package fault_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/blobtest"
	"github.com/lockfast/lockfast/blob/fault"
	"github.com/lockfast/lockfast/blob/mem"
)

func TestConforms_WithoutRules(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(*testing.T) blob.Store { return fault.New(mem.New()) })
}

func TestConforms_Recorder(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(*testing.T) blob.Store { return fault.NewRecorder(mem.New()) })
}

func put(t *testing.T, s blob.Store, name blob.Name, data string) {
	t.Helper()
	if err := s.Put(t.Context(), name, strings.NewReader(data), int64(len(data))); err != nil {
		t.Fatalf("Put(%s): %v", name, err)
	}
}

func get(t *testing.T, s blob.Store, name blob.Name) (string, error) {
	t.Helper()
	r, err := s.Get(t.Context(), name, 0, -1)
	if err != nil {
		return "", err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	return string(data), err
}

// names lists a store; an error ends the list as a name of its own.
func names(t *testing.T, s blob.Store) []string {
	t.Helper()
	names := []string{}
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			return append(names, err.Error())
		}
		names = append(names, string(info.Name))
	}
	return names
}

func TestRules_HitByOperationNameAndCall(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	s := fault.New(mem.New(), fault.Rule{Op: fault.Put, Name: "d/*", First: 2, Times: 2, Err: broken})
	var got []bool
	for _, name := range []blob.Name{"r/1", "d/1", "d/2", "r/2", "d/3", "d/4"} {
		err := s.Put(t.Context(), name, strings.NewReader(""), 0)
		if err != nil && !errors.Is(err, broken) {
			t.Errorf("Put(%s) = %v", name, err)
		}
		got = append(got, err == nil)
	}
	if diff := cmp.Diff([]bool{true, true, false, true, false, true}, got); diff != "" {
		t.Errorf("successes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"d/1", "d/4", "r/1", "r/2"}, names(t, s)); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	if got := s.Calls(fault.Put); got != 6 {
		t.Errorf("Calls(Put) = %d, want 6", got)
	}
}

func TestFailAfter_TakesEffect(t *testing.T) {
	t.Parallel()
	inner := mem.New()
	put(t, inner, "old", "x")
	s := fault.New(inner, fault.Rule{Kind: fault.FailAfter})
	if err := s.Put(t.Context(), "new", strings.NewReader("y"), 1); !errors.Is(err, fault.ErrInjected) {
		t.Errorf("Put = %v, want the fault", err)
	}
	if err := s.Delete(t.Context(), "old"); !errors.Is(err, fault.ErrInjected) {
		t.Errorf("Delete = %v, want the fault", err)
	}
	if _, err := s.Stat(t.Context(), "new"); !errors.Is(err, fault.ErrInjected) {
		t.Errorf("Stat = %v, want the fault", err)
	}
	if _, err := get(t, s, "new"); !errors.Is(err, fault.ErrInjected) {
		t.Errorf("Get = %v, want the fault", err)
	}
	if diff := cmp.Diff([]string{"new", "injected fault"}, names(t, s)); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	s.Clear()
	if diff := cmp.Diff([]string{"new"}, names(t, s)); diff != "" {
		t.Errorf("List after Clear (-want +got):\n%s", diff)
	}
}

func TestDamagedBytes(t *testing.T) {
	t.Parallel()
	inner := mem.New()
	put(t, inner, "a", "0123456789")
	for _, c := range []struct {
		rule fault.Rule
		want string
		err  error
	}{
		{fault.Rule{Kind: fault.Short, N: 4}, "0123", fault.ErrInjected},
		{fault.Rule{Kind: fault.Truncate, N: 4}, "0123", nil},
		{fault.Rule{Kind: fault.Truncate, N: 40}, "0123456789", nil},
		{fault.Rule{Kind: fault.Flip, N: 8*9 + 1}, "012345678;", nil},
		{fault.Rule{Kind: fault.Flip, N: 8 * 10}, "0123456789", nil},
	} {
		c.rule.Op = fault.Get
		got, err := get(t, fault.New(inner, c.rule), "a")
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("Get under %+v = %q, %v, want %q, %v", c.rule, got, err, c.want, c.err)
		}
	}
	s := fault.New(inner, fault.Rule{Op: fault.Put, Kind: fault.Truncate, N: 6}, fault.Rule{Op: fault.Put, Kind: fault.Flip})
	put(t, s, "b", "0123456789")
	if got, err := get(t, s, "b"); got != "112345" || err != nil {
		t.Errorf("Get of what was stored damaged = %q, %v, want 112345", got, err)
	}
}

func TestFlip_AcrossReads(t *testing.T) {
	t.Parallel()
	inner := mem.New()
	put(t, inner, "a", strings.Repeat("\x00", 10))
	r, err := fault.New(inner, fault.Rule{Op: fault.Get, Kind: fault.Flip, N: 8 * 7}).Get(t.Context(), "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := io.CopyBuffer(struct{ io.Writer }{&got}, r, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	if want := "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00"; got.String() != want {
		t.Errorf("read in threes: %q, want %q", got.String(), want)
	}
}

func TestListFaults(t *testing.T) {
	t.Parallel()
	inner := mem.New()
	put(t, inner, "a", "x")
	s := fault.New(inner)
	put(t, s, "b", "x")
	put(t, s, "c", "x")
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		rule fault.Rule
		want []string
	}{
		{fault.Rule{Kind: fault.Stale, N: 1}, []string{"a", "b", "c"}},
		{fault.Rule{Kind: fault.Stale, N: 2}, []string{"a", "b"}},
		{fault.Rule{Kind: fault.Stale, N: 9}, []string{"a"}},
		{fault.Rule{Kind: fault.Lag, N: 2}, []string{"b"}},
		{fault.Rule{Kind: fault.Linger, N: 2}, []string{"a", "b", "c"}},
		{fault.Rule{Kind: fault.Repeat}, []string{"b", "b", "c", "c"}},
		{fault.Rule{Kind: fault.Unsorted}, []string{"c", "b"}},
		{fault.Rule{Kind: fault.Short, N: 1}, []string{"b", "injected fault"}},
		{fault.Rule{Kind: fault.Truncate, N: 1}, []string{"b"}},
		{fault.Rule{Kind: fault.Truncate, N: 2}, []string{"b", "c"}},
		{fault.Rule{Kind: fault.Fail, Err: blob.ErrPermission}, []string{"no permission"}},
	} {
		c.rule.Op = fault.List
		s.Clear()
		s.Add(c.rule)
		if diff := cmp.Diff(c.want, names(t, s)); diff != "" {
			t.Errorf("List under %+v (-want +got):\n%s", c.rule, diff)
		}
	}
}

func TestSlow_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := fault.New(mem.New(), fault.Rule{Kind: fault.Slow, Delay: time.Minute})
		begun := time.Now()
		put(t, s, "a", "x")
		if got := time.Since(begun); got != time.Minute {
			t.Errorf("a slow Put took %v, want 1m", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Stat(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stat = %v, want DeadlineExceeded", err)
		}
	})
}

func TestRecorder_Cut(t *testing.T) {
	t.Parallel()
	inner := mem.New()
	put(t, inner, "before", "x")
	rec := fault.NewRecorder(inner)
	put(t, rec, "a", "first")
	if err := rec.Delete(t.Context(), "before"); err != nil {
		t.Fatal(err)
	}
	if err := rec.Delete(t.Context(), "absent"); err != nil {
		t.Fatal(err)
	}
	put(t, rec, "b", "second")
	if rec.Put(t.Context(), "b", strings.NewReader(""), 0) == nil {
		t.Error("second Put of b succeeded")
	}
	if got := rec.Len(); got != 3 {
		t.Fatalf("Len() = %d, want 3", got)
	}
	for _, c := range []struct {
		n    int
		mode fault.Mode
		want map[string]string
	}{
		{0, fault.Applied, map[string]string{"before": "x"}},
		{1, fault.Applied, map[string]string{"before": "x", "a": "first"}},
		{1, fault.Dropped, map[string]string{"before": "x"}},
		{1, fault.Torn, map[string]string{"before": "x", "a": "fi"}},
		{2, fault.Applied, map[string]string{"a": "first"}},
		{2, fault.Torn, map[string]string{"before": "x", "a": "first"}},
		{3, fault.Applied, map[string]string{"a": "first", "b": "second"}},
		{3, fault.Torn, map[string]string{"a": "first", "b": "sec"}},
		{2, fault.Ahead, map[string]string{"before": "x", "a": "first"}},
	} {
		cut, got := rec.Cut(c.n, c.mode), map[string]string{}
		for _, name := range names(t, cut) {
			data, err := get(t, cut, blob.Name(name))
			if err != nil {
				t.Error(err)
			}
			got[name] = data
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("Cut(%d, %d) (-want +got):\n%s", c.n, c.mode, diff)
		}
	}
	if got, want := rec.Step(2), "2: put b, 6 bytes"; got != want {
		t.Errorf("Step(2) = %q, want %q", got, want)
	}
}

func TestRecorder_CutAheadReordersWhatOverlaps(t *testing.T) {
	t.Parallel()
	rec := fault.NewRecorder(mem.New())
	r, w := io.Pipe()
	done := make(chan error)
	go func() { done <- rec.Put(t.Context(), "slow", r, 2) }()
	if _, err := w.Write([]byte("x")); err != nil { // it has begun
		t.Fatal(err)
	}
	put(t, rec, "quick", "y")
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	put(t, rec, "later", "z")
	if diff := cmp.Diff([]string{"slow"}, names(t, rec.Cut(1, fault.Ahead))); diff != "" {
		t.Errorf("Cut(1, Ahead) (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"quick"}, names(t, rec.Cut(2, fault.Ahead))); diff != "" {
		t.Errorf("Cut(2, Ahead) (-want +got):\n%s", diff)
	}
}

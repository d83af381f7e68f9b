package retry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/blobtest"
	"github.com/lockfast/lockfast/blob/fault"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/blob/retry"
)

func TestConforms(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(*testing.T) blob.Store { return retry.New(mem.New(), retry.Options{}) })
}

// TestConforms_UnderFaults: the suite passes even if every third call fails, in one way or another.
func TestConforms_UnderFaults(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(*testing.T) blob.Store {
		var rules []fault.Rule
		for first := 3; first < 4000; first += 12 {
			rules = append(rules,
				fault.Rule{First: first, Times: 1, Kind: fault.Fail},
				fault.Rule{First: first + 3, Times: 1, Kind: fault.FailAfter},
				fault.Rule{First: first + 6, Times: 1, Kind: fault.Short, N: 3},
				fault.Rule{First: first + 9, Times: 1, Kind: fault.FailAfter},
			)
		}
		return seekable{retry.New(fault.New(mem.New(), rules...), retry.Options{Delay: time.Microsecond})}
	})
}

// seekable turns the readers of Puts into such as can be read again; with others a lost answer stays lost.
type seekable struct{ blob.Store }

func (s seekable) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return s.Store.Put(ctx, name, bytes.NewReader(data), size)
}

func wrap(inner blob.Store, rules ...fault.Rule) (*retry.Store, *fault.Store) {
	f := fault.New(inner, rules...)
	return retry.New(f, retry.Options{Attempts: 4, Delay: time.Second, MaxDelay: 3 * time.Second}), f
}

func put(ctx context.Context, s blob.Store, name blob.Name, data string) error {
	return s.Put(ctx, name, strings.NewReader(data), int64(len(data)))
}

func get(ctx context.Context, s blob.Store, name blob.Name) (string, error) {
	r, err := s.Get(ctx, name, 0, -1)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(r)
	return string(data), errors.Join(err, r.Close())
}

func TestPassingErrors_AreRepeatedWithGrowingPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, f := wrap(mem.New(), fault.Rule{Op: fault.Put, Times: 3})
		begun := time.Now()
		if err := put(t.Context(), s, "a", "x"); err != nil {
			t.Errorf("Put after three failures: %v", err)
		}
		// Pauses of at most 1 s, 2 s and 3 s, each at least half as long.
		if took := time.Since(begun); took < 3*time.Second || took > 6*time.Second {
			t.Errorf("three pauses took %v, want 3s to 6s", took)
		}
		if got := f.Calls(fault.Put); got != 4 {
			t.Errorf("%d calls, want 4", got)
		}
	})
}

func TestPassingErrors_EndAfterAllAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, f := wrap(mem.New(), fault.Rule{})
		calls := map[string]error{"Put": put(t.Context(), s, "a", "x"), "Delete": s.Delete(t.Context(), "a")}
		_, calls["Get"] = s.Get(t.Context(), "a", 0, -1)
		_, calls["Stat"] = s.Stat(t.Context(), "a")
		for _, calls["List"] = range s.List(t.Context(), "") {
		}
		for call, err := range calls {
			if !errors.Is(err, fault.ErrInjected) || fmt.Sprint(err) != "injected fault, 4 times in a row" {
				t.Errorf("%s = %v, want the fault, 4 times in a row", call, err)
			}
		}
		if got := f.Calls(fault.Any); got != 23 {
			t.Errorf("%d calls, want 4 of each and a look for the blob after each repeated Put", got)
		}
	})
}

func TestPermanentErrors_AreNotRepeated(t *testing.T) {
	t.Parallel()
	own := errors.New("our own")
	for _, want := range []error{
		blob.ErrNotExist, blob.ErrExist, blob.ErrRange, blob.ErrNoSpace, blob.ErrPermission, blob.ErrInvalid, own,
	} {
		f := fault.New(mem.New(), fault.Rule{Err: fmt.Errorf("wrapped: %w", want)})
		s := retry.New(f, retry.Options{Permanent: func(err error) bool { return errors.Is(err, own) }})
		if err := put(t.Context(), s, "a", "x"); !errors.Is(err, want) {
			t.Errorf("Put = %v, want %v", err, want)
		}
		if _, err := s.Stat(t.Context(), "a"); !errors.Is(err, want) {
			t.Errorf("Stat = %v, want %v", err, want)
		}
		if got := f.Calls(fault.Any); got != 2 {
			t.Errorf("%v: %d calls, want 2", want, got)
		}
	}
}

func TestContext_EndsThePause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, f := wrap(mem.New(), fault.Rule{})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begun := time.Now()
		err := put(ctx, s, "a", "x")
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, fault.ErrInjected) {
			t.Errorf("Put = %v, want the deadline and the fault", err)
		}
		if took := time.Since(begun); took != 100*time.Millisecond {
			t.Errorf("Put took %v, want 100ms", took)
		}
		if got := f.Calls(fault.Put); got != 1 {
			t.Errorf("%d calls, want 1", got)
		}
	})
}

func TestPut_WhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner := mem.New()
		s, _ := wrap(inner, fault.Rule{Op: fault.Put, Times: 1, Kind: fault.FailAfter})
		r := bytes.NewReader([]byte("..some bytes"))
		if _, err := r.Seek(2, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if err := s.Put(t.Context(), "a", r, 10); err != nil {
			t.Errorf("Put = %v, want success", err)
		}
		if got, err := get(t.Context(), inner, "a"); got != "some bytes" || err != nil {
			t.Errorf("Get(a) = %q, %v, want some bytes", got, err)
		}
	})
}

// TestPut_WhoseAnswersAreAllLost: some servers cut the connection instead of saying that a name is taken.
func TestPut_WhoseAnswersAreAllLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner := mem.New()
		s, _ := wrap(inner, fault.Rule{Op: fault.Put, Kind: fault.FailAfter})
		if err := put(t.Context(), s, "a", "some bytes"); err != nil {
			t.Errorf("Put = %v, want success", err)
		}
		if err := put(t.Context(), s, "a", "other data"); !errors.Is(err, blob.ErrExist) {
			t.Errorf("Put of other bytes = %v, want ErrExist", err)
		}
		if got, err := get(t.Context(), inner, "a"); got != "some bytes" || err != nil {
			t.Errorf("Get(a) = %q, %v, want some bytes", got, err)
		}
	})
}

func TestPut_OverAnothersBlob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, there := range []string{"same size!", "shorter", "", "some bytes and more"} {
			inner := mem.New()
			inner.Overwrite("a", []byte(there))
			s, _ := wrap(inner, fault.Rule{Op: fault.Put, Times: 1})
			if err := put(t.Context(), s, "a", "some bytes"); !errors.Is(err, blob.ErrExist) {
				t.Errorf("Put over %q = %v, want ErrExist", there, err)
			}
			if got, _ := get(t.Context(), inner, "a"); got != there {
				t.Errorf("Put changed %q to %q", there, got)
			}
		}
		inner := mem.New()
		inner.Overwrite("a", []byte("some bytes"))
		s, _ := wrap(inner)
		if err := put(t.Context(), s, "a", "some bytes"); !errors.Is(err, blob.ErrExist) {
			t.Errorf("first Put over the same bytes = %v, want ErrExist", err)
		}
	})
}

func TestPut_ComparesThroughFaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := wrap(mem.New(),
			fault.Rule{Op: fault.Put, Times: 1, Kind: fault.FailAfter},
			fault.Rule{Op: fault.Stat, Times: 2},
			fault.Rule{Op: fault.Get, Times: 1},
			fault.Rule{Op: fault.Get, First: 2, Times: 3, Kind: fault.Short, N: 100_000},
		)
		if err := put(t.Context(), s, "a", strings.Repeat("0123456789", 100_000)); err != nil {
			t.Errorf("Put = %v, want success", err)
		}
	})
}

func TestPut_OfReaderThatCannotBeReadAgain(t *testing.T) {
	t.Parallel()
	s, f := wrap(mem.New(), fault.Rule{Op: fault.Put})
	err := s.Put(t.Context(), "a", io.LimitReader(strings.NewReader("x"), 1), 1)
	if !errors.Is(err, fault.ErrInjected) || f.Calls(fault.Put) != 1 {
		t.Errorf("Put = %v after %d calls, want the fault after 1", err, f.Calls(fault.Put))
	}
}

type brokenSeeker struct{ io.Reader }

func (brokenSeeker) Seek(int64, int) (int64, error) { return 0, nil }

func TestPut_OfFailingReader(t *testing.T) {
	t.Parallel()
	broken := errors.New("the reader broke")
	s, f := wrap(mem.New())
	err := s.Put(t.Context(), "a", brokenSeeker{iotest.ErrReader(broken)}, 1)
	if !errors.Is(err, broken) || f.Calls(fault.Put) != 1 {
		t.Errorf("Put = %v after %d calls, want the reader's error after 1", err, f.Calls(fault.Put))
	}
}

func TestGet_ResumesWhereItStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner := mem.New()
		inner.Overwrite("a", []byte("0123456789"))
		for _, n := range []int64{-1, 7} {
			s, f := wrap(inner, fault.Rule{Op: fault.Get, Kind: fault.Short, N: 2})
			r, err := s.Get(t.Context(), "a", 3, n)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); string(got) != "3456789" || err != nil {
				t.Errorf("two bytes at a time: %q, %v, want 3456789", got, err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if _, err := r.Read(make([]byte, 1)); err == nil {
				t.Error("Read after Close succeeded")
			}
			if got := f.Calls(fault.Get); got != 4 {
				t.Errorf("%d calls, want 4", got)
			}
		}
	})
}

func TestGet_NoticesAnEarlyEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner := mem.New()
		inner.Overwrite("a", []byte("0123456789"))
		s, _ := wrap(inner, fault.Rule{Op: fault.Get, Times: 2, Kind: fault.Truncate, N: 4})
		r, err := s.Get(t.Context(), "a", 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); string(got) != "0123456789" || err != nil {
			t.Errorf("read %q, %v, want all ten", got, err)
		}
		s, _ = wrap(inner, fault.Rule{Op: fault.Get, Kind: fault.Truncate, N: 0})
		r, err = s.Get(t.Context(), "a", 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("read %q, %v, want ErrUnexpectedEOF", got, err)
		}
	})
}

func TestGet_LostConnectionIsNotTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner := mem.New()
		inner.Overwrite("a", []byte("0123456789"))
		for _, lost := range []error{io.EOF, fmt.Errorf("read response: %w", io.EOF)} {
			s, _ := wrap(inner,
				fault.Rule{Op: fault.Get, Times: 1, Kind: fault.Short, N: 4},
				fault.Rule{Op: fault.Get, First: 2, Times: 2, Err: lost},
			)
			if got, err := get(t.Context(), s, "a"); got != "0123456789" || err != nil {
				t.Errorf("read %q, %v after %v, want all ten", got, err, lost)
			}
		}
	})
}

func TestList_ResumesWhereItStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner := mem.New()
		var want, got []string
		for i := range 10 {
			name := fmt.Sprintf("d/%d", i)
			inner.Overwrite(blob.Name(name), nil)
			want = append(want, name)
		}
		s, _ := wrap(inner,
			fault.Rule{Op: fault.List, Times: 2, Kind: fault.Short, N: 3},
			fault.Rule{Op: fault.List, First: 3, Times: 2, Kind: fault.Short, N: 7},
			fault.Rule{Op: fault.List, First: 5, Times: 1, Kind: fault.FailAfter},
		)
		for info, err := range s.List(t.Context(), "d/") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(info.Name))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("List (-want +got):\n%s", diff)
		}
	})
}

package trail_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/trail"
)

// mixed records reads and changes of three servers whose segments overlap, many of them at the same time, and returns
// their vaults, newest first as far as the time tells.
func mixed(f *fixture, at time.Time) map[string]time.Time {
	f.Helper()
	want := map[string]time.Time{}
	rnd := rand.New(rand.NewPCG(1, 2))
	for server := range 3 {
		s := trail.New(trail.Options{DB: f.db, Account: account, Log: slog.New(slog.DiscardHandler)})
		for i := range 60 {
			name := fmt.Sprintf("v%d%03d", server, i)
			want[name] = at.Add(time.Duration(rnd.IntN(40)) * 100 * time.Millisecond)
			c := read(name, want[name])
			if rnd.IntN(4) == 0 {
				c = change(c)
			}
			if rnd.IntN(3) == 0 {
				c.Error = "AccessDeniedException"
			}
			s.Record(f.Context(), c)
		}
		if err := s.Close(); err != nil {
			f.Fatal(err)
		}
	}
	return want
}

func TestListTrailEvents_MergesReadsAndChanges(t *testing.T) {
	t.Parallel()
	each(t, func(f *fixture) {
		at := time.Now().Add(-time.Hour).Truncate(time.Second) // answers have milliseconds
		want := mixed(f, at)
		if segments := f.rows("trail_segment"); segments < 9 {
			f.Fatalf("there are only %d segments", segments)
		}
		for _, scan := range []int{1 << 20, 1} { // the second ends a page as soon as it may
			f.trail.LimitScan(scan)
			for _, limit := range []int{1, 7, 1000} {
				left := map[string]time.Time{}
				for name, when := range want {
					left[name] = when
				}
				in := lockfastapi.ListTrailEventsInput{EndTime: new(at.Add(time.Minute)), MaxResults: &limit}
				last := at.Add(time.Hour)
				for _, e := range f.list("AKIAALICE", in) {
					arn := e.ResourceArns[0]
					name := arn[len(arn)-5:]
					if when, ok := left[name]; !ok || !when.Equal(e.EventTime) || e.EventTime.After(last) {
						f.Errorf("pages of %d: %s of %s comes after %s, or twice", limit, name, e.EventTime, last)
					}
					last = e.EventTime
					delete(left, name)
				}
				if len(left) > 0 {
					f.Errorf("pages of %d: %d calls are missing", limit, len(left))
				}
			}
		}
	})
}

func TestListTrailEvents_ALongSearchGoesOnWithTheNextPage(t *testing.T) {
	t.Parallel()
	f := hooked(t, nil)
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	f.trail.Record(t.Context(), read("needle", at))
	for i := range 20 {
		f.trail.Record(t.Context(), read("hay", at.Add(time.Duration(i+1)*3*time.Second)))
	}
	f.trail.LimitScan(1)
	in := &lockfastapi.ListTrailEventsInput{ResourceArn: new(vaultA[:len(vaultA)-2] + "needle")}
	pages, found := 0, 0
	for {
		out, err := restjson.Call(t.Context(), client(f.own, "AKIAALICE"), lockfastapi.ListTrailEvents, in)
		if err != nil {
			t.Fatal(err)
		}
		pages, found = pages+1, found+len(out.TrailEvents)
		if out.NextToken == nil {
			break
		}
		in.NextToken = out.NextToken
	}
	if pages < 20 || found != 1 {
		t.Errorf("%d calls are found on %d pages, want 1 on 20 or more", found, pages)
	}
}

func TestListTrailEvents_FindsFailedReads(t *testing.T) {
	t.Parallel()
	each(t, func(f *fixture) {
		at := time.Now().Add(-time.Hour)
		mixed(f, at)
		all := f.list("AKIAALICE", lockfastapi.ListTrailEventsInput{EventName: new("DescribeBackupVault")})
		want := slices.DeleteFunc(slices.Clone(all), func(e lockfastapi.TrailEvent) bool { return e.ErrorCode == nil })
		got := f.list("AKIAALICE", lockfastapi.ListTrailEventsInput{EventName: new("DescribeBackupVault"), ErrorsOnly: new(true)})
		if diff := cmp.Diff(want, got); diff != "" || len(got) == 0 || len(got) == len(all) {
			f.Errorf("%d of %d reads are listed as failed: %s", len(got), len(all), diff)
		}
	})
}

func TestRecord_IsEncodedAsJSON(t *testing.T) {
	t.Parallel()
	n := 0
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem())
		case reflect.Struct:
			for i := range v.NumField() {
				fill(v.Field(i))
			}
		case reflect.Slice:
			if v.Type().Elem().Kind() != reflect.Uint8 {
				v.Set(reflect.MakeSlice(v.Type(), 2, 2))
				fill(v.Index(0))
				fill(v.Index(1))
			}
		case reflect.String:
			n++
			v.SetString(fmt.Sprintf("text \"%d\"\n", n))
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Int64:
			v.SetInt(7)
		}
	}
	got, want := trail.EncodeAll(t, func(v any) { fill(reflect.ValueOf(v).Elem()) })
	if diff := cmp.Diff(want, got); diff != "" || n < 30 {
		t.Errorf("with %d texts: %s", n, diff)
	}
	if got, want := trail.EncodeAll(t, func(any) {}); got != want {
		t.Errorf("the empty record is %s, want %s", got, want)
	}
}

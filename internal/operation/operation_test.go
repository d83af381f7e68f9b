package operation_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/operation"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
)

// gate allows what it is not told to deny, and keeps what it was asked and what was recorded.
type gate struct {
	denied   map[string]bool
	asked    []caller.Access
	recorded []*operation.Call
}

func (g *gate) Authorize(_ context.Context, _ caller.Caller, asked []caller.Access) error {
	g.asked = asked
	for _, a := range asked {
		if g.denied[a.Action] {
			return &wire.Denied{Message: a.Action}
		}
	}
	return nil
}

func (g *gate) Lookup(context.Context, string, string) (string, caller.Caller, error) {
	return "", caller.Caller{}, sigv4.ErrUnknownKey
}

func (g *gate) Record(_ context.Context, c *operation.Call) { g.recorded = append(g.recorded, c) }

func newTable(g *gate, free bool) *operation.Table {
	return operation.NewTable(operation.Options{Service: lockfastapi.Service, Credentials: g, Authorizer: g, Recorder: g,
		Log: slog.New(slog.DiscardHandler)}, free)
}

func describe(_ context.Context, in *lockfastapi.DescribeTaskInput) (*lockfastapi.DescribeTaskOutput, error) {
	return &lockfastapi.DescribeTaskOutput{TaskId: in.TaskId}, nil
}

type key struct{}

func TestTable_AsksWithTheContextBeforeItCarriesOut(t *testing.T) {
	t.Parallel()
	g := &gate{}
	table := newTable(g, false)
	table.Add(operation.New(lockfastapi.DescribeTask, describe,
		func(ctx context.Context, in *lockfastapi.DescribeTaskInput) ([]caller.Access, error) {
			return caller.On("lockfast:DescribeTask", ctx.Value(key{}).(string)+in.TaskId), nil
		}))
	c := &operation.Call{}
	out, err := table.Do(context.WithValue(t.Context(), key{}, "task/"), c, table.Find("DescribeTask"),
		&lockfastapi.DescribeTaskInput{TaskId: "1"})
	if err != nil {
		t.Fatal(err)
	}
	want := caller.On("lockfast:DescribeTask", "task/1")
	if diff := cmp.Diff([][]caller.Access{want, want}, [][]caller.Access{g.asked, c.Asked}); diff != "" {
		t.Error(diff)
	}
	if out != c.Output || out.(*lockfastapi.DescribeTaskOutput).TaskId != "1" {
		t.Errorf("Do() = %v, recorded %v, want the task", out, c.Output)
	}
}

func TestTable_DoesNotCarryOut(t *testing.T) {
	t.Parallel()
	lost := errors.New("database is gone")
	for _, test := range []struct {
		name   string
		access []caller.Access
		err    error
		free   bool
		want   string
	}{
		{name: "what is denied", access: caller.OnAll("lockfast:No"), want: "access denied: lockfast:No"},
		{name: "what cannot be asked", err: lost, free: true, want: lost.Error()},
		{name: "what asks for nothing", want: "operation DescribeTask asks for no permission"},
		{name: "what asks for nothing where it may", free: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			table := newTable(&gate{denied: map[string]bool{"lockfast:No": true}}, test.free)
			table.Add(operation.New(lockfastapi.DescribeTask, describe,
				func(context.Context, *lockfastapi.DescribeTaskInput) ([]caller.Access, error) {
					return test.access, test.err
				}))
			c := &operation.Call{}
			got := ""
			if _, err := table.Do(t.Context(), c, table.Find("DescribeTask"), &lockfastapi.DescribeTaskInput{}); err != nil {
				got = err.Error()
			}
			if got != test.want || (c.Output == nil) != (test.want != "") {
				t.Errorf("Do() = %q with output %v, want %q", got, c.Output, test.want)
			}
		})
	}
}

func TestTable_ListsWhatItHolds(t *testing.T) {
	t.Parallel()
	table := newTable(&gate{}, false)
	table.Add(operation.New(lockfastapi.DescribeTask, describe, operation.Plain(
		func(caller.Caller, *lockfastapi.DescribeTaskInput) []caller.Access { return nil })))
	added := table.AddUnimplemented(lockfastapi.ListItems.Descriptor, lockfastapi.DescribeTask.Descriptor,
		lockfastapi.CompareRecoveryPoints.Descriptor)
	if len(added) != 2 {
		t.Errorf("AddUnimplemented() added %d, want 2", len(added))
	}
	got := map[string]bool{}
	var order []string
	for _, h := range table.Handlers() {
		got[h.Descriptor.Name] = h.Implemented()
		order = append(order, h.Descriptor.Name)
	}
	if diff := cmp.Diff([]string{"CompareRecoveryPoints", "DescribeTask", "ListItems"}, order); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]bool{"CompareRecoveryPoints": false, "DescribeTask": true, "ListItems": false}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"DescribeTask"}, table.Operations()); diff != "" {
		t.Error(diff)
	}
}

func TestTable_RecordsACallOnce(t *testing.T) {
	t.Parallel()
	g := &gate{}
	table := newTable(g, false)
	w := httptest.NewRecorder()
	ctx, c := table.Begin(w, httptest.NewRequest(http.MethodGet, "/lockfast/v1/tasks/1?x=y", nil))
	table.Record(ctx, c)
	table.Record(ctx, c)
	if len(g.recorded) != 1 || g.recorded[0].Path != "/lockfast/v1/tasks/1" || c.Verified {
		t.Errorf("recorded %+v, want one call of an unknown caller", g.recorded)
	}
	if id := w.Header().Get(operation.RequestIDHeader); id == "" || id != caller.RequestID(ctx) {
		t.Errorf("request id %q is not that of the context", id)
	}
}

package trail_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/stsapi"
	"github.com/lockfast/lockfast/internal/taggingapi"
	"github.com/lockfast/lockfast/internal/wire"
)

// filler fills values with texts that tell whether they may be shown.
type filler struct{ shown, hidden int }

func (f *filler) text(hidden bool) string {
	if hidden {
		f.hidden++
		return fmt.Sprintf("HIDDEN%d", f.hidden)
	}
	f.shown++
	return fmt.Sprintf("SHOWN%d.", f.shown)
}

func (f *filler) fill(s *wire.Shape, v reflect.Value, hidden bool) {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	hidden = hidden || s.Sensitive
	switch s.Kind {
	case wire.Structure:
		for i := range s.Members {
			m := &s.Members[i]
			if m.In != wire.Stream {
				secret := slices.Contains([]string{"SecretAccessKey", "SessionToken", "Password", "OldPassword", "NewPassword", "Tags"}, m.Name)
				f.fill(m.Shape, v.Field(i), hidden || secret)
			}
		}
	case wire.List:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.fill(s.Item, v.Index(0), hidden)
		f.fill(s.Item, v.Index(1), hidden)
	case wire.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			item := reflect.New(v.Type().Elem()).Elem()
			f.fill(s.Item, item, hidden)
			key := reflect.ValueOf(f.text(hidden || s.Key.Sensitive)).Convert(v.Type().Key())
			v.SetMapIndex(key, item)
		}
	case wire.String:
		v.SetString(f.text(hidden))
	case wire.Blob:
		v.SetBytes([]byte("blob"))
	case wire.Timestamp:
		v.Set(reflect.ValueOf(time.Unix(1, 0)))
	}
}

// TestRecord_NoSensitiveMemberGetsThrough fills the inputs and outputs of all operations of all models.
func TestRecord_NoSensitiveMemberGetsThrough(t *testing.T) {
	t.Parallel()
	hidden := 0
	for _, op := range slices.Concat(backupapi.Operations(), iamapi.Operations(), stsapi.Operations(), kmsapi.Operations(), taggingapi.Operations(), lockfastapi.Operations()) {
		for what, s := range map[string]*wire.Shape{"input": op.Input, "output": op.Output} {
			f := &filler{}
			v := reflect.New(s.Type)
			f.fill(s, v.Elem(), false)
			hidden += f.hidden
			text := wire.AppendRecord(nil, s, v.Interface())
			if !json.Valid(text) {
				t.Errorf("%s of %s: not JSON: %s", what, op.Name, text)
			}
			if bytes.Contains(text, []byte("HIDDEN")) {
				t.Errorf("%s of %s shows what is sensitive: %s", what, op.Name, text)
			}
			for n := range f.shown {
				if !bytes.Contains(text, fmt.Appendf(nil, "SHOWN%d.", n+1)) {
					t.Errorf("%s of %s: value %d of %d is missing in %s", what, op.Name, n+1, f.shown, text)
				}
			}
		}
	}
	if hidden < 20 {
		t.Errorf("only %d sensitive values were tried", hidden)
	}
}

// TestReadOnly_FollowsFromTheName keeps an eye on the operations of all models that could be taken for the other kind.
func TestReadOnly_FollowsFromTheName(t *testing.T) {
	t.Parallel()
	for _, op := range slices.Concat(backupapi.Operations(), iamapi.Operations(), stsapi.Operations(), kmsapi.Operations(), taggingapi.Operations(), lockfastapi.Operations()) {
		if op.Method == "GET" && op.Service.Protocol == "rest-json" && !op.ReadOnly() {
			t.Errorf("%s of %s is a GET and not taken for a read", op.Name, op.Service.Name)
		}
		if (op.Method == "PUT" || op.Method == "DELETE") && op.ReadOnly() {
			t.Errorf("%s of %s is a %s and taken for a read", op.Name, op.Service.Name, op.Method)
		}
	}
	for name, want := range map[string]bool{"GetItem": true, "Getaway": false, "Get": false, "TagResource": false, "CompareRecoveryPoints": true,
		"AssumeRole": true, "AssumeRoleWithSAML": false, "TestResource": true} {
		if got := (&wire.Descriptor{Name: name}).ReadOnly(); got != want {
			t.Errorf("ReadOnly() of %s = %v, want %v", name, got, want)
		}
	}
}

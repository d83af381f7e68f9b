package restjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/operation"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
)

// White-box, to see the inputs that requests for every operation of the models become.

// document is the input of an operation by the names of the model, as JSON values.
type document = map[string]any

// sample returns a value that keeps the rules of a shape.
func sample(t *testing.T, s *wire.Shape) any {
	t.Helper()
	switch s.Kind {
	case wire.Structure:
		d := document{}
		for _, m := range s.Members {
			d[m.WireName()] = sample(t, m.Shape)
		}
		return d
	case wire.List:
		return []any{sample(t, s.Item)}
	case wire.Map:
		return document{sample(t, s.Key).(string): sample(t, s.Item)}
	case wire.String:
		return sampleString(t, s)
	case wire.Integer, wire.Long:
		if s.Min != nil {
			return float64(*s.Min)
		}
		return 7.0
	case wire.Double:
		return 0.5
	case wire.Boolean:
		return true
	case wire.Timestamp:
		return 1568928754.747
	case wire.Blob:
		return "AAEC"
	}
	t.Fatalf("no sample for %s", s.Name)
	return nil
}

func sampleString(t *testing.T, s *wire.Shape) string {
	t.Helper()
	if s.Enum != nil {
		return s.Enum[0]
	}
	for _, text := range []string{"arn:aws:ec2:us-east-1::snapshot/snap 1+2", "Example1", "123456789012"} {
		if s.Pattern == nil || s.Pattern.MatchString(text) {
			return text
		}
	}
	t.Fatalf("no sample for pattern %v", s.Pattern)
	return ""
}

func sampleInput(t *testing.T, op *wire.Descriptor) document {
	t.Helper()
	d := document{}
	for _, m := range op.Input.Members {
		d[m.Name] = sample(t, m.Shape)
	}
	return d
}

// request puts a document where the model says: into path, query string and body.
func request(t *testing.T, op *wire.Descriptor, d document) (path, query string, body []byte) {
	t.Helper()
	path, query, _ = strings.Cut(op.Path, "?")
	parameters := []string{query}
	document := document{}
	for _, m := range op.Input.Members {
		v, ok := d[m.Name]
		text := fmt.Sprint(v)
		if m.Shape.Kind == wire.Timestamp {
			text = "2019-09-19T21:32:34.747Z"
		}
		switch m.In {
		case wire.Label:
			if !ok {
				text = ""
			}
			path = strings.Replace(path, "{"+m.WireName()+"}", sigv4.Escape(text), 1)
		case wire.Query:
			if ok {
				parameters = append(parameters, m.WireName()+"="+sigv4.Escape(text))
			}
		case wire.Body:
			if ok {
				document[m.WireName()] = v
			}
		default:
			t.Fatalf("location of %s.%s is not tested", op.Name, m.Name)
		}
	}
	body, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return path, strings.Join(parameters, "&"), body
}

func everyOperation() []*wire.Descriptor {
	return slices.Concat(backupapi.Operations(), lockfastapi.Operations())
}

func modelRoutes() *routes {
	rs := &routes{}
	for _, op := range everyOperation() {
		rs.add(&operation.Handler{Descriptor: op})
	}
	return rs
}

func bindDocument(t *testing.T, rs *routes, op *wire.Descriptor, d document) (any, error) {
	t.Helper()
	path, query, body := request(t, op, d)
	m := rs.find(op.Method, path, query)
	if m == nil || m.handler.Descriptor != op {
		t.Fatalf("%s %s?%s leads to %v, want %s", op.Method, path, query, found(m), op.Name)
	}
	return bind(m, &http.Request{}, query, body)
}

func found(m *match) string {
	if m == nil {
		return "nothing"
	}
	return m.handler.Descriptor.Name
}

func TestEveryOperation_IsFoundAndRead(t *testing.T) {
	t.Parallel()
	if n := len(backupapi.Operations()); n != 108 {
		t.Errorf("the model of backup has %d operations, want 108", n)
	}
	rs := modelRoutes()
	for _, op := range everyOperation() {
		want := sampleInput(t, op)
		in, err := bindDocument(t, rs, op, want)
		if err != nil {
			t.Errorf("%s: %v", op.Name, err)
			continue
		}
		var got document
		if err := json.Unmarshal(wire.Canonical(op.Input, in), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(canonicalNames(op, want), canonicalNames(op, got)); diff != "" {
			t.Errorf("%s was read wrongly (-want +got):\n%s", op.Name, diff)
		}
		path, query, _ := request(t, op, want)
		for _, p := range []string{strings.TrimSuffix(path, "/"), strings.TrimSuffix(path, "/") + "/"} {
			if m := rs.find(op.Method, p, query); m == nil || m.handler.Descriptor != op {
				t.Errorf("%s %s leads to %s, want %s", op.Method, p, found(m), op.Name)
			}
		}
	}
}

// canonicalNames makes body members comparable, whose name on the wire may differ from the one in the model.
func canonicalNames(op *wire.Descriptor, d document) document {
	out := document{}
	for _, m := range op.Input.Members {
		if v, ok := d[m.Name]; ok {
			out[m.Name] = v
		} else if v, ok := d[m.WireName()]; ok {
			out[m.Name] = v
		}
	}
	return out
}

// spot is a place in a document: a member of a structure, at any depth.
type spot struct {
	path     string // as in messages
	shape    *wire.Shape
	required bool
	in       wire.Location
	set      func(v any) // nil removes
}

// spots lists the places of a document that follow a structure. Names at the top are those of the model.
func spots(s *wire.Shape, d document, prefix string, top bool) []spot {
	var all []spot
	for _, m := range s.Members {
		key := m.WireName()
		if top {
			key = m.Name
		}
		put := func(v any) {
			if v == nil {
				delete(d, key)
			} else {
				d[key] = v
			}
		}
		all = append(all, spot{prefix + m.Name, m.Shape, m.Required, m.In, put})
		all = append(all, spotsBelow(m.Shape, d[key], prefix+m.Name)...)
	}
	return all
}

func spotsBelow(s *wire.Shape, v any, prefix string) []spot {
	switch s.Kind {
	case wire.Structure:
		return spots(s, v.(document), prefix+".", false)
	case wire.List:
		items := v.([]any)
		set := func(v any) { items[0] = v }
		return append(spotsBelow(s.Item, items[0], prefix+"[0]"), spot{prefix + "[0]", s.Item, false, wire.Body, set})
	}
	return nil
}

// mutations calls change with every spot of every operation's input, each time on a fresh document, and then reads the document.
func mutations(t *testing.T, change func(sp spot) bool, check func(op *wire.Descriptor, sp spot, err error)) {
	t.Helper()
	rs := modelRoutes()
	for _, op := range everyOperation() {
		for i := range spots(op.Input, sampleInput(t, op), "", true) {
			d := sampleInput(t, op)
			sp := spots(op.Input, d, "", true)[i]
			if !change(sp) || sp.in == wire.Label && isAnother(t, rs, op, d) {
				continue
			}
			_, err := bindDocument(t, rs, op, d)
			check(op, sp, err)
		}
	}
}

// isAnother reports whether a request with an empty last label is one for a list: that of DescribeBackupJob without an id is ListBackupJobs.
func isAnother(t *testing.T, rs *routes, op *wire.Descriptor, d document) bool {
	path, query, _ := request(t, op, d)
	m := rs.find(op.Method, path, query)
	return m != nil && m.handler.Descriptor != op && strings.HasSuffix(path, "/")
}

func TestEveryRequiredMember_IsMissed(t *testing.T) {
	t.Parallel()
	n := 0
	mutations(t, func(sp spot) bool {
		if sp.required {
			sp.set(nil)
		}
		return sp.required
	}, func(op *wire.Descriptor, sp spot, err error) {
		n++
		bad, ok := errors.AsType[*wire.Invalid](err)
		if !ok || !bad.Missing || bad.Member != sp.path {
			t.Errorf("%s without %s: %v, want it to be missing", op.Name, sp.path, err)
		}
	})
	if n < 150 {
		t.Errorf("only %d required members were tried", n)
	}
}

func TestEveryRule_IsChecked(t *testing.T) {
	t.Parallel()
	n := 0
	mutations(t, func(sp spot) bool {
		v := broken(sp.shape)
		if v != nil {
			sp.set(v)
		}
		return v != nil
	}, func(op *wire.Descriptor, sp spot, err error) {
		n++
		bad, ok := errors.AsType[*wire.Invalid](err)
		if !ok || bad.Missing || bad.Member != sp.path || !strings.Contains(bad.Text, "'"+sp.path+"' failed to satisfy constraint: Member must ") {
			t.Errorf("%s with a bad %s: %v, want it to be refused by name", op.Name, sp.path, err)
		}
	})
	if n < 150 {
		t.Errorf("only %d rules were tried", n)
	}
}

// broken returns a value that breaks the rule of a shape, or nil if it has none that can be broken.
func broken(s *wire.Shape) any {
	switch {
	case s.Kind == wire.String && s.Enum != nil:
		return "NO_SUCH_VALUE"
	case s.Kind == wire.String && s.Pattern != nil && !s.Pattern.MatchString("\n"):
		return "\n"
	case s.Kind == wire.String && s.Max != nil:
		return strings.Repeat("x", int(*s.Max)+1)
	case (s.Kind == wire.Integer || s.Kind == wire.Long) && s.Max != nil:
		return float64(*s.Max + 1)
	case s.Kind == wire.List && s.Max != nil:
		return slices.Repeat([]any{"x"}, int(*s.Max)+1)
	}
	return nil
}

func TestEveryBodyMember_RefusesAnotherType(t *testing.T) {
	t.Parallel()
	mutations(t, func(sp spot) bool {
		if sp.in == wire.Body {
			sp.set(map[bool]any{true: []any{1.0}, false: document{"a": []any{}}}[sp.shape.Kind == wire.Structure || sp.shape.Kind == wire.Map])
		}
		return sp.in == wire.Body
	}, func(op *wire.Descriptor, sp spot, err error) {
		bad, ok := errors.AsType[*wire.Malformed](err)
		if !ok || bad.Member != sp.path && !strings.HasPrefix(bad.Member, sp.path) {
			t.Errorf("%s with another type at %s: %v, want it to be refused by name", op.Name, sp.path, err)
		}
	})
}

func TestFind(t *testing.T) {
	t.Parallel()
	rs := modelRoutes()
	const arn, escaped = "arn:aws:ec2:us-east-1::snapshot/snap-1", "arn%3Aaws%3Aec2%3Aus-east-1%3A%3Asnapshot%2Fsnap-1"
	cases := []struct {
		method, target, want string
		labels               []string
	}{
		{"DELETE", "/backup-vaults/v1/recovery-points/" + escaped, "DeleteRecoveryPoint", []string{"v1", arn}},
		{"DELETE", "/backup-vaults/v1/recovery-points/" + arn, "DeleteRecoveryPoint", []string{"v1", arn}},
		{"DELETE", "/backup-vaults/v1/recovery-points/" + arn + "/", "DeleteRecoveryPoint", []string{"v1", arn}},
		{"DELETE", "/backup-vaults/v1/recovery-points/" + arn + "/parentAssociation", "DisassociateRecoveryPointFromParent", []string{"v1", arn}},
		{"GET", "/resources/arn:aws:elasticfilesystem:r:1:file-system/fs-1/restore-jobs", "ListRestoreJobsByProtectedResource",
			[]string{"arn:aws:elasticfilesystem:r:1:file-system/fs-1"}},
		{"GET", "/resources/arn:aws:elasticfilesystem:r:1:file-system/fs-1", "DescribeProtectedResource", []string{"arn:aws:elasticfilesystem:r:1:file-system/fs-1"}},
		{"GET", "/backup-vaults", "ListBackupVaults", nil},
		{"GET", "/backup-vaults/", "ListBackupVaults", nil},
		{"PUT", "/backup-vaults/", "CreateBackupVault", []string{""}},
		{"PUT", "/backup-vaults", "", nil},
		{"GET", "/backup-vaults//recovery-points/x", "DescribeRecoveryPoint", []string{"", "x"}},
		{"GET", "/backup-vaults/v/recovery-points//", "DescribeRecoveryPoint", []string{"v", ""}},
		{"GET", "/backup-vaults/..", "DescribeBackupVault", []string{".."}},
		{"GET", "/backup-vaults/%2e%2E", "DescribeBackupVault", []string{".."}},
		{"GET", "/backup-vaults/a%252Fb", "DescribeBackupVault", []string{"a%2Fb"}},
		{"GET", "/backup-vaults/a%zz", "DescribeBackupVault", []string{"a%zz"}},
		{"POST", "/backup-vaults/v/mpaApprovalTeam?delete", "DisassociateBackupVaultMpaApprovalTeam", []string{"v"}},
		{"POST", "/backup-vaults/v/mpaApprovalTeam/?delete=", "DisassociateBackupVaultMpaApprovalTeam", []string{"v"}},
		{"POST", "/backup-vaults/v/mpaApprovalTeam", "", nil},
		{"PUT", "/backup-vaults/v/mpaApprovalTeam", "AssociateBackupVaultMpaApprovalTeam", []string{"v"}},
		{"GET", "/lockfast/v1/recovery-points/a%2Fb/compare/c", "CompareRecoveryPoints", []string{"a/b", "c"}},
		{"GET", "/", "", nil},
		{"GET", "", "", nil},
		{"GET", "//", "", nil},
		{"PATCH", "/backup-vaults/v", "", nil},
		{"GET", "/backup-vaults/v/recovery-points/x/y/z", "", nil},
	}
	for _, c := range cases {
		path, query, _ := strings.Cut(c.target, "?")
		m := rs.find(c.method, path, query)
		switch {
		case m == nil && c.want != "", m != nil && m.handler.Descriptor.Name != c.want:
			t.Errorf("find(%s %s) = %s, want %q", c.method, c.target, found(m), c.want)
		case m != nil && c.labels != nil:
			if diff := cmp.Diff(c.labels, labels(m)); diff != "" {
				t.Errorf("labels of %s %s (-want +got):\n%s", c.method, c.target, diff)
			}
		}
	}
}

func labels(m *match) []string {
	var found []string
	for i, s := range m.segments {
		if s.member >= 0 {
			found = append(found, m.labels[i])
		}
	}
	return found
}

func TestUnimplemented_AsksForTheActionOfTheOperation(t *testing.T) {
	t.Parallel()
	r := New(Options{Service: backupapi.Service})
	r.Unimplemented(backupapi.Operations()...)
	r.Unimplemented(backupapi.Operations()...)
	got, err := r.Find("CreateBackupPlan").Access(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Access{{Action: "backup:CreateBackupPlan", Resource: "*"}}, got); diff != "" {
		t.Error(diff)
	}
	if names := r.Operations(); len(names) != 0 {
		t.Errorf("Operations() = %v, want none", names)
	}
}

func FuzzFind(f *testing.F) {
	rs := modelRoutes()
	f.Add("GET", "/backup-vaults/v/recovery-points/arn%3Aaws%2Fx", "maxResults=5&nextToken=%41")
	f.Add("PUT", "//backup-vaults//", "")
	f.Add("POST", "/backup-vaults/%zz/mpaApprovalTeam", "delete&&=&%")
	f.Add("GET", "/backup-jobs", "createdAfter=2024-01-02T03:04:05.678Z&createdBefore=1e9&state=RUNNING")
	f.Fuzz(func(t *testing.T, method, path, query string) {
		m := rs.find(method, path, query)
		if m == nil {
			return
		}
		in, err := bind(m, &http.Request{}, query, nil)
		if err == nil && reflect.TypeOf(in).Elem() != m.handler.Descriptor.Input.Type {
			t.Errorf("input of %s is a %T", m.handler.Descriptor.Name, in)
		}
	})
}

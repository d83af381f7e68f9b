package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// White-box, because a command has no package to import.

func TestTree_IsWhatStandsInTheRepository(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	files, err := tree(root)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range files {
		got, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Errorf("%s: %v; run make gen", path, err)
			continue
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s differs from what the generator writes (run make gen):\n%.2000s", path, diff)
		}
	}
}

func TestTree_LeavesNoOldFile(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	files, err := tree(root)
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(root, "internal", "*", "*_gen.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		rel, _ := filepath.Rel(root, path)
		if files[rel] == nil {
			t.Errorf("%s is not written by the generator any more", rel)
		}
	}
}

func TestCorrection_ReplacesOneValue(t *testing.T) {
	t.Parallel()
	c := correction{At: []string{"shapes", "Name", "max"}, Value: []byte("5")}
	got, err := c.apply([]byte(`{"shapes":{"Name":{"type":"string","max":3}}}`))
	if want := `{"shapes":{"Name":{"max":5,"type":"string"}}}`; err != nil || string(got) != want {
		t.Errorf("apply = %s, %v, want %s", got, err, want)
	}
	c.At = []string{"shapes", "Other", "max"}
	if _, err := c.apply([]byte(`{"shapes":{}}`)); err == nil {
		t.Error("apply at a place that does not exist: no error")
	}
}

func TestCheck_RefusesWhatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	for name, shapes := range map[string]map[string]*shape{
		"recursive":      {"A": {Type: "structure", Members: map[string]*ref{"A": {Shape: "A"}}}},
		"unknown":        {"A": {Type: "list", Member: &ref{Shape: "B"}}},
		"flattened":      {"A": {Type: "string"}, "B": {Type: "list", Member: &ref{Shape: "A"}, Flattened: true}},
		"without status": {"E": {Type: "structure", Exception: true}},
	} {
		s := &service{}
		s.Shapes = shapes
		if err := s.check(); err == nil {
			t.Errorf("check(%s) = nil, want an error", name)
		}
	}
}

func TestPattern_IsOneOfGo(t *testing.T) {
	t.Parallel()
	if got, want := pattern(`[\u0009\u0020-\u00FF\u10000-\u10FFFF]+`), `[\x{0009}\x{0020}-\x{00FF}\x{10000}-\x{10FFFF}]+`; got != want {
		t.Errorf("pattern = %s, want %s", got, want)
	}
}

func TestCamel(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"ONE_DAY": "OneDay", "file": "File", "STRINGEQUALS": "Stringequals", "SAP HANA": "SapHana", "mixedCase": "MixedCase"} {
		if got := camel(in); got != want {
			t.Errorf("camel(%q) = %q, want %q", in, got, want)
		}
	}
}

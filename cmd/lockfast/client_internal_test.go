package main

import (
	"path/filepath"
	"testing"
)

// The authorities of a bundle are for servers that have a certificate, and are read for no others.
func TestNewHTTP_ReadsAuthoritiesForTLSOnly(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", filepath.Join(t.TempDir(), "none"))
	if _, err := newHTTP("http://127.0.0.1:1", ""); err != nil {
		t.Errorf("newHTTP without TLS = %v", err)
	}
	if _, err := newHTTP("https://127.0.0.1:1", ""); err == nil {
		t.Error("newHTTP with TLS ignores AWS_CA_BUNDLE")
	}
}

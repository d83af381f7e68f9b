package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate makes a certificate for a name and an address, and returns its files.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "backup.example"},
		DNSNames: []string{"backup.example"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"cert.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		"key.pem":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})),
	})
	return filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
}

// TestServe_TLS talks to a server by the certificate that its data directory names, whatever the names in it, and to
// nobody else.
func TestServe_TLS(t *testing.T) {
	c := newCLI(t)
	cert, key := certificate(t)
	ctx, cancel := context.WithCancel(t.Context())
	line, code := make(firstLine, 1), make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"serve", "--data", c.data, "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls_key", key},
			line, t.Output())
	}()
	got := <-line
	if !strings.HasPrefix(got, "lockfast: serving on https://127.0.0.1:") {
		t.Fatalf("serve prints %q", got)
	}
	c.do(exitDone, "backup", t.TempDir())
	base := strings.TrimSpace(strings.TrimPrefix(got, "lockfast: serving on "))
	if _, stderr := c.do(exitFailed, "list", "--server", base); !strings.Contains(stderr, base) {
		t.Errorf("a server of unknown certificate: %q", stderr)
	}
	cancel()
	if got := <-code; got != exitDone {
		t.Errorf("serve ended with %d", got)
	}
}

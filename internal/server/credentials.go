package server

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// AccessKey is a pair that signs requests. It never prints its secret.
type AccessKey struct {
	ID, Secret, SessionToken string
}

// String returns the id alone.
func (k AccessKey) String() string { return k.ID }

// CredentialsFile returns the name of the file, in the AWS shared-credentials format, that holds the administrator's
// access key of a data directory.
func CredentialsFile(dir string) string { return filepath.Join(dir, "credentials") }

// WriteCredentials writes the administrator's access key as profile default, readable by the owner alone. Other profiles
// are kept.
func WriteCredentials(dir string, key AccessKey) error { return AddCredentials(dir, "default", key) }

// AddCredentials writes an access key as a profile of the file, in place of the one of that name, if there is one.
func AddCredentials(dir, profile string, key AccessKey) error {
	name := CredentialsFile(dir)
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read credentials: %w", err)
	}
	b := withoutProfile(data, profile)
	if len(b) > 0 && !bytes.HasSuffix(b, []byte("\n\n")) {
		b = append(b, '\n')
	}
	b = fmt.Appendf(b, "[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n", profile, key.ID, key.Secret)
	return writeFile(name, b)
}

// withoutProfile cuts a profile out of a file.
func withoutProfile(data []byte, profile string) []byte {
	var out []byte
	drop := false
	for line := range bytes.Lines(data) {
		if section, ok := sectionOf(string(line)); ok {
			drop = section == profile
		}
		if !drop {
			out = append(out, line...)
		}
	}
	return out
}

// sectionOf returns the name of the profile that begins with a line.
func sectionOf(line string) (string, bool) {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "[") || !strings.HasSuffix(line, "]") {
		return "", false
	}
	return strings.TrimSpace(line[1 : len(line)-1]), true
}

// ReadCredentials reads one profile of a file in the AWS shared-credentials format.
func ReadCredentials(name, profile string) (AccessKey, error) {
	var key AccessKey
	data, err := os.ReadFile(name)
	if err != nil {
		return key, fmt.Errorf("read credentials: %w", err)
	}
	section := ""
	for text := range bytes.Lines(data) {
		line := strings.TrimSpace(string(text))
		if name, ok := sectionOf(line); ok {
			section = name
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !ok || section != profile || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		key.set(strings.TrimSpace(k), strings.TrimSpace(v))
	}
	if key.ID == "" || key.Secret == "" {
		return key, fmt.Errorf("read credentials: %s holds no access key for profile %q", name, profile)
	}
	return key, nil
}

func (k *AccessKey) set(name, value string) {
	switch name {
	case "aws_access_key_id":
		k.ID = value
	case "aws_secret_access_key":
		k.Secret = value
	case "aws_session_token":
		k.SessionToken = value
	}
}

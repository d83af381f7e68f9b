package server

import (
	"bufio"
	"bytes"
	"fmt"
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

// WriteCredentials writes the administrator's access key as profile default, readable by the owner alone.
func WriteCredentials(dir string, key AccessKey) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", key.ID, key.Secret)
	return writeFile(CredentialsFile(dir), b.Bytes())
}

// ReadCredentials reads one profile of a file in the AWS shared-credentials format.
func ReadCredentials(name, profile string) (AccessKey, error) {
	var key AccessKey
	data, err := os.ReadFile(name)
	if err != nil {
		return key, fmt.Errorf("read credentials: %w", err)
	}
	section := ""
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = strings.TrimSpace(line[1 : len(line)-1])
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

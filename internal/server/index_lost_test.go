package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/lockfast/lockfast/internal/lockfastapi"
)

// TestBadInput_LostIndex takes the index away beyond what its parity can repair: every segment is zeroed or deleted. A
// verification names each, and all that was committed is restored.
func TestBadInput_LostIndex(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(path string, size int64) error{
		"deleted": func(path string, _ int64) error { return os.Remove(path) },
		"zeroed": func(path string, size int64) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.WriteFile(path, make([]byte, size), 0o400)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			f := start(t, options(t, dir))
			f.vault("home")
			arn := f.directory(map[string]string{"one": random(1, 3<<20)})
			good := f.backup("home", arn)
			f.stop()
			segments, err := filepath.Glob(filepath.Join(dir, "store", "*", "x", "*", "*"))
			if err != nil || len(segments) == 0 {
				t.Fatalf("no segments: %v", err)
			}
			for _, path := range segments {
				info, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := lose(path, info.Size()); err != nil {
					t.Fatal(err)
				}
			}
			f = start(t, options(t, dir))
			done := f.ended(own(f, lockfastapi.StartVerification, &lockfastapi.StartVerificationInput{BackupVaultName: "home"}).TaskId)
			for _, path := range segments {
				if message := aws.ToString(done.StatusMessage); done.State != lockfastapi.TaskStateFailed || !strings.Contains(message, filepath.Base(path)) {
					t.Errorf("verification = %s, %q, want FAILED with the name of %s", done.State, message, path)
				}
			}
			if done.Report["damaged_recovery_points"] != "0" {
				t.Errorf("verification = %v, want no recovery point damaged", done.Report)
			}
			f.healthy(arn, good)
		})
	}
}

package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/backup"
)

func TestKeys_Boto3(t *testing.T) {
	t.Parallel()
	s := serve(t)
	dir, arn := s.protect(t)
	s.story(t, dir, arn, recentPython(t), "boto3/keys.py")
}

// The resources of https://registry.terraform.io/providers/hashicorp/aws/latest/docs that vaults with keys need.
func TestTerraform_Keys(t *testing.T) {
	t.Parallel()
	s := serve(t)
	tf := newTerraform(t, s, "terraform/keys.tf")
	tf.apply(t)
	key := tf.run(t, "output", "-raw", "key")
	v, err := s.client(t).DescribeBackupVault(t.Context(), &backup.DescribeBackupVaultInput{BackupVaultName: new("terraform-keys")})
	if err != nil || v.EncryptionKeyArn == nil || *v.EncryptionKeyArn != key {
		t.Errorf("vault = %+v, %v, want key %s", v, err, key)
	}
	if list := s.lockfast(t, "key", "list"); !strings.Contains(list, "alias/terraform") || !strings.Contains(list, "terraform-keys") {
		t.Errorf("lockfast key list = %s", list)
	}
	tf.apply(t, "-var=changed=true")
	tf.run(t, "destroy", "-no-color", "-input=false", "-auto-approve", "-var=changed=true")
	if left := tf.run(t, "state", "list"); left != "" {
		t.Errorf("left after destroy: %s", left)
	}
}

func TestKeyCommands(t *testing.T) {
	t.Parallel()
	s := serve(t)
	dir, _ := s.protect(t)
	s.lockfast(t, "backup", dir)
	if out := s.lockfast(t, "key", "rotate", "alias/aws/backup"); !strings.HasSuffix(out, " version 2") {
		t.Errorf("lockfast key rotate = %s", out)
	}
	kit := filepath.Join(t.TempDir(), "kit.txt")
	s.lockfast(t, "key", "export", "--to", kit)
	if text, err := os.ReadFile(kit); err != nil || !strings.Contains(string(text), "lockfast-root-key-1:") {
		t.Errorf("kit = %q, %v", text, err)
	}
}

func TestStoreList_LeavesOutVaultsWithoutKeys(t *testing.T) {
	t.Parallel()
	s := serve(t)
	dir, _ := s.protect(t)
	for _, vault := range []string{"first", "second"} {
		s.lockfast(t, "backup", dir, "--vault", vault)
	}
	list := func() string {
		return s.lockfast(t, "store", "list", filepath.Join(s.data, "store"), "--key", filepath.Join(s.data, "root.key"), "--json")
	}
	if n := strings.Count(list(), `"type":"result"`); n != 2 {
		t.Errorf("%d recovery points, want 2: %s", n, list())
	}
	keys, err := filepath.Glob(filepath.Join(s.data, "store", "*", "k"))
	if err != nil || len(keys) != 2 {
		t.Fatalf("folders of keys = %v, %v", keys, err)
	}
	if err := os.RemoveAll(keys[0]); err != nil { // as the destruction of its KMS key does
		t.Fatal(err)
	}
	if n := strings.Count(list(), `"type":"result"`); n != 1 {
		t.Errorf("%d recovery points, want 1: %s", n, list())
	}
}

package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
)

// terraform is a working directory of Terraform that talks to a server.
type terraform struct {
	dir     string
	plugins string
	env     []string
}

// newTerraform prepares a copy of a configuration. Where there is no terraform, or no folder of plug-ins with the
// provider for AWS, the test is skipped: neither can be had from a package of the distribution.
func newTerraform(t *testing.T, s *server, config string) *terraform {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("terraform is not installed")
	}
	plugins := pluginDirectory()
	if plugins == "" {
		t.Skip("no local folder of Terraform plug-ins holds hashicorp/aws; $TERRAFORM_PLUGIN_DIR can name one")
	}
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	tf := &terraform{dir: t.TempDir(), plugins: plugins, env: s.env("TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1")}
	if err := os.WriteFile(filepath.Join(tf.dir, "main.tf"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	tf.run(t, "init", "-no-color", "-input=false", "-plugin-dir="+plugins)
	return tf
}

// pluginDirectory finds a folder of plug-ins where Terraform looks for them by itself, or where systems keep add-ons.
func pluginDirectory() string {
	home, _ := os.UserHomeDir()
	for _, pattern := range []string{os.Getenv("TERRAFORM_PLUGIN_DIR"), filepath.Join(home, ".terraform.d/plugins"),
		"/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins", "/opt/*"} {
		found, _ := filepath.Glob(filepath.Join(pattern, "registry.terraform.io/hashicorp/aws"))
		if pattern != "" && len(found) > 0 {
			return strings.TrimSuffix(found[0], "/registry.terraform.io/hashicorp/aws")
		}
	}
	return ""
}

// run runs a command of Terraform and returns what it prints.
func (tf *terraform) run(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "terraform", args...)
	cmd.Dir, cmd.Env = tf.dir, tf.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("terraform %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// apply applies the configuration, after which a plan must find nothing to do.
func (tf *terraform) apply(t *testing.T, args ...string) {
	t.Helper()
	tf.run(t, append([]string{"apply", "-no-color", "-input=false", "-auto-approve"}, args...)...)
	tf.run(t, append([]string{"plan", "-no-color", "-input=false", "-detailed-exitcode"}, args...)...) // 2 if anything differs
}

// The resources of https://registry.terraform.io/providers/hashicorp/aws/latest/docs that identity and vaults need.
func TestTerraform_IdentityAndVaults(t *testing.T) {
	t.Parallel()
	s := serve(t)
	tf := newTerraform(t, s, "terraform/main.tf")
	tf.apply(t)
	role, vault := tf.run(t, "output", "-raw", "role"), "terraform"
	if want := "arn:aws:iam::000000000000:role/team/terraform-backup"; role != want {
		t.Errorf("role = %q, want %q", role, want)
	}
	_, resource := s.protect(t)
	c := s.client(t)
	for range 3 {
		job, err := c.StartBackupJob(t.Context(), &backup.StartBackupJobInput{BackupVaultName: &vault, ResourceArn: &resource, IamRoleArn: &role})
		if err != nil {
			t.Fatal(err)
		}
		until(t, "backup", func() (*backup.DescribeBackupJobOutput, error) {
			return c.DescribeBackupJob(t.Context(), &backup.DescribeBackupJobInput{BackupJobId: job.BackupJobId})
		}, func(j *backup.DescribeBackupJobOutput, err error) bool {
			return err == nil && j.State == types.BackupJobStateCompleted
		})
	}
	tf.apply(t, "-var=changed=true")
	tf.run(t, "destroy", "-no-color", "-input=false", "-auto-approve", "-var=changed=true")
	if left := tf.run(t, "state", "list"); left != "" {
		t.Errorf("left after destroy: %s", left)
	}
	vaults, err := c.ListBackupVaults(t.Context(), &backup.ListBackupVaultsInput{})
	if err != nil || len(vaults.BackupVaultList) != 0 {
		t.Errorf("vaults after destroy = %+v, %v", vaults, err)
	}
}

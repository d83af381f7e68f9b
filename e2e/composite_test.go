package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestComposite_Boto3(t *testing.T) {
	t.Parallel()
	var dirs []string
	for _, name := range []string{"web", "crm"} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.MkdirAll(filepath.Join(dir, "a"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "a", "file"), []byte(name), 0o640); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	s := configured(t, fmt.Sprintf("resources:\n- {name: web, type: EFS, path: %q}\n- {type: EFS, path: %q}\n"+
		"- {name: shop, type: CloudFormation, members: [web, crm]}\n", dirs[0], dirs[1]))
	// The group is known from the file; to declare it again gives its ARN.
	arn := s.lockfast(t, "resource", "add", "--type", "CloudFormation", "--name", "shop", "--member", "web", "--member", "crm")
	s.story(t, dirs[0], arn, python(t), "boto3/composite.py")
}

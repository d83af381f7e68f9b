package setting_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/setting"
)

func TestGetSupportedResourceTypes(t *testing.T) {
	t.Parallel()
	s := setting.New("EFS")
	out, err := s.GetSupportedResourceTypes(t.Context(), &backupapi.GetSupportedResourceTypesInput{})
	if diff := cmp.Diff([]string{"EFS"}, out.ResourceTypes); err != nil || diff != "" {
		t.Error(err, diff)
	}
	r := restjson.New(restjson.Options{Service: backupapi.Service})
	s.Routes(r)
	if diff := cmp.Diff([]string{"GetSupportedResourceTypes"}, r.Operations()); diff != "" {
		t.Error(diff)
	}
}

package job

import (
	"errors"
	"path"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/internal/wire"
)

// FuzzParseMetadata checks that items never lead out of the resource and that what is refused is an API error.
func FuzzParseMetadata(f *testing.F) {
	f.Add("ItemsToRestore", `["/a/b","c"]`)
	f.Add("itemstorestore", `["..", "/"]`)
	f.Add("ItemsToRestore", `["a\u0000b"]`)
	f.Add("Encrypted", "TRUE")
	f.Add("InformationalOnly:x", "y")
	f.Add("newFileSystem", "")
	f.Fuzz(func(t *testing.T, key, value string) {
		m, err := parseMetadata(map[string]string{"newFileSystem": "false", "file-system-id": "fs-1", key: value})
		if err != nil {
			if _, ok := errors.AsType[wire.APIError](err); !ok {
				t.Errorf("parseMetadata(%q: %q) = %v, not an API error", key, value, err)
			}
			return
		}
		for _, item := range m.items {
			if item == "" || path.IsAbs(item) || path.Clean(item) != item || item == ".." || strings.HasPrefix(item, "../") || strings.Contains(item, "\x00") {
				t.Errorf("parseMetadata(%q: %q) gives the item %q", key, value, item)
			}
		}
	})
}

package job

import (
	"encoding/json"
	"path"
	"strings"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/resource/directory"
)

// maxMetadata is the most bytes that all keys and values of a restore's metadata may have together.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/restoring-efs.html.
const maxMetadata = 200_000

// efsMetadata is what a client asks for in the metadata of an EFS restore.
type efsMetadata struct {
	fileSystem string // id of the target, if not newOne
	newOne     bool   // make a new resource
	name       string // for the new resource; may be empty
	placement  string // for the new resource; empty = any
	items      []string
	escaped    bool // items are in the form of directory.Display
	intact     bool // restore what is whole of a damaged recovery point
}

// value takes one value of the metadata; set reports false for one that is not allowed.
type value struct {
	set func(m *efsMetadata, v string) bool
}

// efsKeys are the keys of an EFS restore, in lower case; they are matched without regard to case. What concerns only
// the storage of Amazon EFS is checked for its form and has no effect on a directory. Keys of our own begin with lockfast:,
// see docs/differences.md.
func efsKeys() map[string]value {
	return map[string]value{
		"file-system-id":        {func(m *efsMetadata, v string) bool { m.fileSystem = v; return true }},
		"newfilesystem":         {func(m *efsMetadata, v string) (ok bool) { m.newOne, ok = parseBool(v); return ok }},
		"creationtoken":         {func(m *efsMetadata, v string) bool { m.name = v; return len(v) <= 64 }},
		"availabilityzonename":  {func(m *efsMetadata, v string) bool { m.placement = v; return true }},
		"itemstorestore":        {func(m *efsMetadata, v string) (ok bool) { m.items, ok = parseItems(v); return ok }},
		"lockfast:escaped":      {func(m *efsMetadata, v string) (ok bool) { m.escaped, ok = parseBool(v); return ok }},
		"lockfast:intact":       {func(m *efsMetadata, v string) (ok bool) { m.intact, ok = parseBool(v); return ok }},
		"encrypted":             {isBool},
		"singleazfilesystem":    {isBool},
		"kmskeyid":              {func(*efsMetadata, string) bool { return true }},
		"performancemode":       {func(_ *efsMetadata, v string) bool { return v == "generalPurpose" || v == "maxIO" }},
		"aws:backup:request-id": {func(*efsMetadata, string) bool { return true }},
	}
}

func isBool(_ *efsMetadata, v string) bool {
	_, ok := parseBool(v)
	return ok
}

func parseBool(v string) (value, ok bool) {
	switch strings.ToLower(v) {
	case "true":
		return true, true
	case "false", "":
		return false, true
	}
	return false, false
}

// informational is the prefix of keys that say something and ask for nothing.
const informational = "informationalonly:"

// parseMetadata reads the metadata of an EFS restore. What is wrong with it is an API error that names the key.
func parseMetadata(metadata map[string]string) (efsMetadata, error) {
	var m efsMetadata
	size, keys := 0, efsKeys()
	given := map[string]string{}
	for key, v := range metadata {
		size += len(key) + len(v)
		lower := strings.ToLower(key)
		if strings.HasPrefix(lower, informational) {
			continue
		}
		k, ok := keys[lower]
		if !ok {
			return m, backupapi.InvalidParameterValueExceptionf("Metadata has the unknown key %q", key)
		}
		if _, twice := given[lower]; twice {
			return m, backupapi.InvalidParameterValueExceptionf("Metadata has the key %q twice", key)
		}
		if given[lower] = v; !k.set(&m, v) {
			return m, backupapi.InvalidParameterValueExceptionf("Metadata has an invalid value for %s: %q", key, clip(v))
		}
	}
	if m.items != nil {
		var ok bool
		if m.items, ok = cleanItems(m.items, m.escaped); !ok {
			return m, backupapi.InvalidParameterValueExceptionf("Metadata has an invalid value for itemsToRestore: %q", clip(given["itemstorestore"]))
		}
	}
	if size > maxMetadata {
		return m, backupapi.InvalidParameterValueExceptionf("Metadata has %d bytes, more than %d", size, maxMetadata)
	}
	return m, m.check(given)
}

func (m efsMetadata) check(given map[string]string) error {
	encrypted, _ := parseBool(given["encrypted"])
	switch {
	case given["newfilesystem"] == "":
		return backupapi.InvalidParameterValueExceptionf("Metadata lacks newFileSystem")
	case !m.newOne && m.fileSystem == "":
		return backupapi.InvalidParameterValueExceptionf("Metadata lacks file-system-id, which newFileSystem=false needs")
	case given["kmskeyid"] != "" && !encrypted:
		return backupapi.InvalidParameterValueExceptionf("Metadata has KmsKeyId without Encrypted=true")
	case m.newOne && encrypted:
		return backupapi.InvalidRequestExceptionf("Encrypted=true is not supported: " +
			"a new directory is encrypted if the file system of its placement is")
	}
	return nil
}

// clip shortens a text from outside for a message.
func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "..."
	}
	return s
}

// parseItems reads a JSON array of paths.
func parseItems(text string) ([]string, bool) {
	var raw []string
	return raw, json.Unmarshal([]byte(text), &raw) == nil && len(raw) > 0
}

// cleanItems makes paths relative to the root of the resource. A path that leads out of it is not allowed, nor one that is escaped
// and malformed. The root itself stands for everything, so that naming it names nothing else.
func cleanItems(raw []string, escaped bool) ([]string, bool) {
	items := make([]string, 0, len(raw))
	for _, p := range raw {
		if escaped {
			plain, err := directory.ParseDisplay(p)
			if err != nil {
				return nil, false
			}
			p = string(plain)
		}
		for part := range strings.SplitSeq(p, "/") {
			if part == ".." {
				return nil, false
			}
		}
		if p == "" || strings.ContainsRune(p, 0) {
			return nil, false
		}
		if p = path.Clean("/" + p)[1:]; p == "" {
			return nil, true
		}
		if escaped {
			p = directory.Display([]byte(p))
		}
		items = append(items, p)
	}
	return items, true
}

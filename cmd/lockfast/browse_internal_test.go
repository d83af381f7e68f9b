package main

import (
	"testing"

	"github.com/lockfast/lockfast/internal/lockfastapi"
)

func TestFileMode_IsThatOfLs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind lockfastapi.ItemType
		mode int
		want string
	}{
		{lockfastapi.ItemTypeFile, 0o644, "-rw-r--r--"},
		{lockfastapi.ItemTypeDir, 0o755, "drwxr-xr-x"},
		{lockfastapi.ItemTypeLink, 0o777, "lrwxrwxrwx"},
		{lockfastapi.ItemTypeFifo, 0o620, "prw--w----"},
		{lockfastapi.ItemTypeChar, 0o666, "crw-rw-rw-"},
		{lockfastapi.ItemTypeBlock, 0o660, "brw-rw----"},
		{lockfastapi.ItemTypeSocket, 0o700, "srwx------"},
		{"", 0, "?---------"},
		{lockfastapi.ItemTypeFile, 0o421, "-r---w---x"},
		{lockfastapi.ItemTypeFile, 0o4755, "-rwsr-xr-x"},
		{lockfastapi.ItemTypeFile, 0o4644, "-rwSr--r--"},
		{lockfastapi.ItemTypeFile, 0o2755, "-rwxr-sr-x"},
		{lockfastapi.ItemTypeDir, 0o2705, "drwx--Sr-x"},
		{lockfastapi.ItemTypeDir, 0o1777, "drwxrwxrwt"},
		{lockfastapi.ItemTypeDir, 0o1770, "drwxrwx--T"},
		{lockfastapi.ItemTypeFile, 0o7777, "-rwsrwsrwt"},
		{lockfastapi.ItemTypeFile, 0o7000, "---S--S--T"},
	} {
		if got := fileMode(&lockfastapi.Item{Type: tt.kind, Mode: tt.mode}); got != tt.want {
			t.Errorf("fileMode(%s, %04o) = %s, want %s", tt.kind, tt.mode, got, tt.want)
		}
	}
}

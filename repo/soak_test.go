package repo_test

import (
	"os"
	"strconv"
)

// soak returns the multiplier of long loops, 0 for the short version.
func soak() int {
	text := os.Getenv("LOCKFAST_SOAK")
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 1
	}
	return n
}

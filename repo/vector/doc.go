// Package vector holds the test vectors of docs/format.md to the code: every file of repo/testdata/v1 is computed
// anew and compared. The files are frozen; a second implementation can be tested with them. It has no code of its
// own.
package vector

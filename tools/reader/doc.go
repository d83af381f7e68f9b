// Package reader holds the code to its word that a store can be read without it. The program in this directory, in
// Python and written from docs/format.md alone, restores what the code stored; and golden vaults, made by the code once
// and frozen, are read by both. It has no code of its own.
//
// A golden vault is a directory of repo/testdata/golden: store, what a backup store holds; test-root.key, a key that
// protects nothing; listing.json, what each recovery point restores to; states.json, if there are states, what they say.
// The test with -update makes those of the makers in its table which are missing; it never writes an existing one anew.
package reader

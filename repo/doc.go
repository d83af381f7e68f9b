// Package repo is a store of recovery points: deduplicated, compressed, encrypted, on any [blob.Store].
package repo

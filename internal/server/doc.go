// Package server puts the parts together and serves them: wire.go builds everything, http.go listens, config.go says
// what can be set, data_directory.go owns the directory in which a server lives.
//
// The same server runs for `lockfast serve` and, privately and without background work, for one command of the
// command line. It holds no behaviour of the AWS Backup API; that lives in the noun packages.
package server

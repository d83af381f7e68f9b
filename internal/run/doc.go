// Package run does the work behind the API: it carries out backup and restore jobs, deletes recovery points, expires
// those whose retention is over, reclaims space, verifies vaults, and cleans up after a crash.
//
// The nouns own the tables and decide which change of state is allowed; a runner here reads an order from them, does the
// slow part with the store and the drivers outside any transaction, and brings the result back in one transaction. River
// starts the work. What runs long holds a lease in the noun's table, which the reports of its progress extend.
//
// A runner may be killed at any moment and may run again: until its last transaction nothing is visible, and what it
// left in the store is swept by the next reclaim.
package run

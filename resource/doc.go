// Package resource is the contract between the things that Lockfast protects and the store of recovery points.
//
// # Words
//
// A resource is something with an ARN that is backed up as a whole: a directory tree, a volume, a bucket, a
// database. A [Driver] knows one type of resource. It is given a [Resource], which says where the thing is, and does
// three things with it:
//
//   - Probe looks at it without changing it, and reports [Facts] or says in one of the sentinel errors why it cannot be
//     reached.
//   - Capture reads it into a recovery point, through a [repo.Writer]. The writer's parent, if it has one, is the last
//     recovery point of the same resource: a driver uses it to leave alone what has not changed.
//   - Restore makes a new thing from a recovery point. It never overwrites.
//
// A recovery point is one sorted map of entries ([repo.Entry]). What the keys are, and what the metadata of an entry
// says, is the driver's business; its encoding is specified in docs/format.md. A directory tree keeps one entry for each
// file, whose key is its path.
//
// # Rules for drivers
//
// Every recovery point is logically full. "Incremental" only names work that was saved.
//
// What could not be captured or restored is never passed over in silence: it is listed in [Report.Skipped] or
// [Outcome.Skipped] with a reason. The lists are bounded by [MaxSkips]; what does not fit is counted.
//
// A driver may be killed at any moment, and may run twice at once for the same resource. A capture therefore leaves
// nothing behind on the source. A restore works under a name that marks it as unfinished, which the server sweeps when
// it starts.
//
// A recovery point is untrusted input. A driver restores it inside the place it was given and nowhere else.
//
// A driver neither commits nor aborts the writer it was given: its caller does.
//
// Package resourcetest holds the suite that every driver passes.
package resource

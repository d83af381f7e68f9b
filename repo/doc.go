// Package repo is a store of recovery points: deduplicated, compressed, encrypted, on any [blob.Store]. It knows nothing
// of what is backed up, of APIs or of SQL, and is a library of its own. The bytes are specified in docs/format.md.
//
// # Words
//
// A vault is what one prefix of an object store holds. A recovery point is a sorted map from keys to entries; an entry has
// opaque Meta, written by the driver that captured it, and a content. Contents are cut into chunks, small ones are parts
// of bundles; a chunk is stored once, under a keyed hash of its bytes, in a slot of a pack, whatever points and resources
// need it. An index segment says where chunks are; a refset says which slots one recovery point needs. A session is a
// reader, writer or collector that the [Ledger] knows.
//
// # Use
//
//	v, err := repo.Create(ctx, store, ledger, wrapper, repo.CreateOptions{UUID: uuid, DomainKey: key})  // or Open
//	w, err := v.NewWriter(ctx, repo.WriterOptions{Parent: last})
//	c, err := w.Small(ctx, data)                             // or w.Stream for what is large
//	err = w.Tree().Put(ctx, repo.Entry{Key: key, Content: c}) // or Keep, for what the parent has too
//	id, err := w.Commit(ctx, repo.Facts{})
//
//	p, err := v.OpenPoint(ctx, id)
//	err = p.Fetch(ctx, wants, write)                         // in the order of the store, to any place
//
//	w, err = other.NewWriter(ctx, repo.WriterOptions{})      // in a vault with the same DomainKey
//	err = w.Copy(ctx, p)                                     // only what it lacks travels
//	id, err = w.Commit(ctx, p.Facts())
//
//	err = v.DeletePoint(ctx, id)
//	report, err := v.Reclaim(ctx, repo.ReclaimOptions{})
//
// A program with a database of its own calls [Writer.Prepare] instead of Commit, and commits the result in the ledger in
// the transaction that changes its own rows. [OpenReadOnly] needs no ledger at all. Package localledger is a ledger for
// one process; package ledgertest is the suite for others.
//
// # Rules
//
//   - Any number of writers, readers and one collector work at once. There is no lock on the vault.
//   - Write order: packs, then segment, then refset, then manifest, each durable before the next; then the ledger. A crash
//     before that leaves nothing but objects whose names the ledger knows to be swept.
//   - Nothing is overwritten. Deleting removes the manifest; space comes back by [Vault.Reclaim] only.
//   - Liveness is computed from refsets and pins, never kept as a count.
//   - What a session relies on it either pins, or wrote itself, or finds under the pinned refset of its parent; the ledger
//     is told before a condemned pack can go. See docs/format.md section 16 and [Ledger].
//   - Every byte that is read back has been authenticated, and every content has the id that it was asked for by. Errors
//     wrap [ErrDamaged] and name the object.
//
// A backup whose parent is damaged fails with [ErrDamaged]; made without a parent it stores what is lost again.
//
// Reading the source: ledger.go, vault.go, catalog.go (what a vault knows of its packs), writer.go with bundle.go,
// stream.go, packer.go, treewriter.go and prepare.go, point.go with fetch.go, copy.go, then reclaim.go with mark.go, move.go and
// sweep.go, and check.go.
package repo

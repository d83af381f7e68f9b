// Package protocolcheck checks the protocol by which space is reclaimed beside writers and readers (docs/format.md section
// 16). It has no code of its own: its test models the protocol as processes of atomic steps, each named after the function
// of package repo whose place it takes, and visits every state that any order of the steps can reach, with every session
// losing its lease at any moment.
//
// In each state, every committed recovery point must find its content, the reader of an open session must, too, and the
// collector must be able to finish. The test also takes one rule after the other out of the model and expects the search to
// find a way to lose data: so it shows that each rule is needed, and that the search would notice.
//
// A change of the protocol changes the model first.
package protocolcheck

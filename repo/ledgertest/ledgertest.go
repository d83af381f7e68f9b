// Package ledgertest is the suite that every [repo.Ledger] passes.
package ledgertest

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/lockfast/lockfast/repo"
)

// Subject is a fresh ledger of one vault and the means to test it.
type Subject struct {
	Ledger repo.Ledger
	// Advance moves the ledger's clock, by which leases run out.
	Advance func(d time.Duration)
	// Reopen, if not nil, returns the same ledger opened again, as after a restart that fenced nothing.
	Reopen func() repo.Ledger
}

// Run runs the suite. open is called once for each test and registers its own clean-up.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for _, c := range []struct {
		name string
		test func(*kit)
	}{
		{"Identity", testIdentity},
		{"Claim", testClaim},
		{"SessionOfUnknownPoint", testUnknownPin},
		{"SessionOfDeletedPoint", testDeletedPin},
		{"LeaseRunsOut", testLease},
		{"RenewedLeaseDoesNotRunOut", testRenew},
		{"SameJobFencesOlderWriter", testSameJob},
		{"OneCollector", testOneCollector},
		{"CloseIsIdempotent", testClose},
		{"ReserveOfTakenName", testReserve},
		{"RegisterMakesLive", testRegister},
		{"RegisterForeignName", testRegisterForeign},
		{"ChangesSinceRevision", testChanges},
		{"CommitEndsSession", testCommit},
		{"CommitRepeated", testCommitRepeated},
		{"CommitOfFencedSession", testCommitFenced},
		{"CommitOnLostPack", testCommitLostPack},
		{"CommitOnMovedPack", testCommitMovedPack},
		{"DeleteAndRemove", testDelete},
		{"JournalFollowsPoints", testJournal},
		{"JournalIsOneChain", testJournalConcurrent},
		{"AcknowledgeKeepsPins", testAcknowledge},
		{"CondemnRaisesEpoch", testCondemn},
		{"WaitingNamesSilentSessions", testWaiting},
		{"WaitingFencesLapsed", testWaitingFences},
		{"RescueMakesLiveAgain", testRescue},
		{"RetireIsAllOrNothing", testRetire},
		{"RetireSegment", testRetireSegment},
		{"ForgetDropsOnlyWhatEnded", testForget},
		{"ForgottenObjectsAreTold", testForgotten},
		{"WhatEndedIsRemembered", testEnded},
		{"FencedSessionsChangeNothing", testFencedChangeNothing},
		{"ClockThatJumps", testClockJumps},
		{"CollectorMethodsNeedCollector", testNeedsCollector},
		{"DamageIsKeptUntilCleared", testDamage},
		{"DamageGoesWithItsPack", testDamageForgotten},
		{"VerificationPerLevel", testVerified},
		{"RoundIsSharedInTurns", testRound},
		{"RoundTakenAtOnce", testRoundRace},
		{"CommitRacesFence", testCommitRace},
		{"ReopenKeepsRows", testReopen},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			c.test(&kit{T: t, Subject: s, Ledger: s.Ledger, ctx: t.Context()})
		})
	}
}

// kit shortens the tests.
type kit struct {
	*testing.T
	Subject
	repo.Ledger
	ctx context.Context
}

func (k *kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

func (k *kit) open(o repo.SessionOptions) repo.Session {
	k.Helper()
	s, err := k.Open(k.ctx, o)
	k.must(err)
	return s
}

func (k *kit) writer() repo.Session { return k.open(repo.SessionOptions{Kind: repo.SessionWriter}) }
func (k *kit) collector() repo.Session {
	return k.open(repo.SessionOptions{Kind: repo.SessionCollector})
}

// live returns n registered objects of the session.
func (k *kit) live(s repo.Session, kind repo.ObjectKind, n int) []repo.ID {
	k.Helper()
	objects := k.reserve(s, kind, n)
	ids := make([]repo.ID, n)
	for i := range objects {
		objects[i].Size = 100 + int64(i)
		ids[i] = objects[i].ID
	}
	k.must(k.Register(k.ctx, s.ID, objects))
	return ids
}

// reserve returns n reserved names of the session.
func (k *kit) reserve(s repo.Session, kind repo.ObjectKind, n int) []repo.Object {
	k.Helper()
	objects := make([]repo.Object, n)
	for i := range objects {
		objects[i] = repo.Object{Kind: kind}
		rand.Read(objects[i].ID[:])
	}
	k.must(k.Reserve(k.ctx, s.ID, objects))
	return objects
}

// point commits a recovery point on new packs.
func (k *kit) point(packs int) (repo.PointID, []repo.ID) {
	k.Helper()
	s := k.writer()
	ids := k.live(s, repo.ObjectData, packs)
	k.must(k.Commit(k.ctx, prepared(s, ids...)))
	return repo.PointID(s.ID), ids
}

func prepared(s repo.Session, packs ...repo.ID) repo.Prepared {
	return repo.Prepared{Session: s.ID, Point: repo.PointID(s.ID), Packs: packs}
}

// object returns the row of an object, with State 0 if there is none.
func (k *kit) object(id repo.ID) repo.Object {
	k.Helper()
	objects, _, err := k.Changes(k.ctx, 0)
	k.must(err)
	for _, o := range objects {
		if o.ID == id {
			return o
		}
	}
	return repo.Object{}
}

func (k *kit) wantState(id repo.ID, want repo.ObjectState) {
	k.Helper()
	if got := k.object(id).State; got != want {
		k.Errorf("state of object %s = %d, want %d", id, got, want)
	}
}

// session returns the row of a session, with State 0 if there is none.
func (k *kit) session(id repo.SessionID) repo.Session {
	k.Helper()
	snapshot, err := k.Snapshot(k.ctx)
	k.must(err)
	for _, s := range snapshot.Sessions {
		if s.ID == id {
			return s
		}
	}
	return repo.Session{}
}

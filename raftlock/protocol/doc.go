// Package protocol holds the rules by which a fleet of gateways shares locks,
// as state machines that do nothing but compute: no network, no disk, no clock,
// no goroutine. What they need to know is handed to them, the time included,
// and what they want done they return. Package raftlock carries them; the
// simulator in this package drives them through seeded faults.
//
// The names of locks are spread over slots. A replicated State says which
// sessions are alive and which of them owns each slot. The owner of a slot
// grants its locks in memory (OwnerSlot), and every session keeps account of
// what it was granted (HolderSlot). When a slot changes hands the new owner
// first asks every session what it holds (Takeover), so no lock dies with an
// owner. What a session that died holds passes on only when the storage has
// made sure that nothing of it can be committed any more: safety rests on that
// fence and on epochs, and never on a clock.
package protocol

// Package node has the drives of a node be used by the other nodes: small calls over one
// connection for each pair of nodes, many at a time, and shards over connections of their
// own, so that these never stand in front of those. Who is at the other end package mesh has
// found out.
package node

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/shoal-storage/shoal/erasure/fence"
	"github.com/shoal-storage/shoal/erasure/register"
)

// The protocols between nodes.
const (
	CallProtocol = "es-call/1"
	BulkProtocol = "es-bulk/1"
)

// What is called. The values are spoken and must not change.
const (
	opPing    byte = 0
	opCommit  byte = 1
	opPromise byte = 2
	opRead    byte = 3
	opDecide  byte = 4
	opScan    byte = 5
	opDrop    byte = 6
	opInstall byte = 7
	opOrder   byte = 8
	opAsk     byte = 9 // a question to the node, and not to a drive of it
	opPending byte = 10
	opSince   byte = 11
)

// What an exchange on a connection for shards begins with.
const (
	bulkWrite byte = 1
	bulkRead  byte = 2
)

// How long nodes wait for each other.
const (
	pingEvery  = 2 * time.Second
	silentTime = 6 * time.Second // without a word, before a connection is given up
	redialTime = 250 * time.Millisecond
	stallTime  = 30 * time.Second // for the next piece of a shard
	lastWords  = time.Second      // for the answer of who has hung up, which is on its way
)

// outcome is how a call ended, in the first byte of its answer. The values are spoken and
// must not change.
type outcome = byte

const (
	succeeded outcome = 0
	failed    outcome = 1 // the text says why
)

// errOf are the errors that callers tell apart, by their outcome.
func errOf() map[outcome]error {
	return map[outcome]error{
		2: register.ErrStale, 3: register.ErrNoShard, 4: register.ErrFull, 5: register.ErrUnknown, 6: register.ErrFenced,
		7: fs.ErrNotExist, 8: fence.ErrTaken, 9: fence.ErrOver, 10: fence.ErrBehind, 11: register.ErrCrowded,
		12: register.ErrNoLog, 13: register.ErrClaimed,
	}
}

// outcomeOf returns the outcome for an error. Of several the first counts.
func outcomeOf(err error) outcome {
	all := errOf()
	for o := failed + 1; o <= failed+outcome(len(all)); o++ { //nolint:gosec // a handful
		if errors.Is(err, all[o]) {
			return o
		}
	}
	return failed
}

// errFailed says that the other end could not do what it was asked, and not why in a way that
// callers tell apart. It may not know the call.
var errFailed = errors.New("node: the other end has failed")

// errorOf is the inverse of outcomeOf.
func errorOf(o outcome, text []byte) error {
	if o == succeeded {
		return nil
	}
	if known := errOf()[o]; known != nil {
		return fmt.Errorf("%s: %w", text, known)
	}
	return fmt.Errorf("%w: %s", errFailed, text)
}

// maxText bounds the text of an error, in bytes.
const maxText = 1 << 10

func textOf(err error) []byte {
	text := err.Error()
	return []byte(text[:min(len(text), maxText)])
}

package main

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/shoal-storage/shoal/raftlock/mesh"
)

// rootProtocol is how a gateway that starts asks others whether they have its root credentials. One that has
// others would serve, and refuse the requests that all the rest take.
const rootProtocol = "root/1"

// rootTime is how long an answer may take.
const rootTime = 3 * time.Second

// rootMarks tell root credentials apart without giving them away: a slow hash of those that this gateway
// has, and of those that it had before while they are replaced.
type rootMarks struct {
	life  context.Context //nolint:containedctx // of the process: one that stops need not be waited for
	marks func() [][]byte
}

const (
	markLen  = 32
	maxMarks = 2
)

func newRootMarks(life context.Context, creds credentials, env *environment) (*rootMarks, error) {
	former, err := env.former()
	if err != nil {
		return nil, err
	}
	return &rootMarks{life, sync.OnceValue(func() [][]byte {
		defer debug.FreeOSMemory() // the 19 MiB that each takes would be held for minutes
		marks := [][]byte{rootMark(creds.user, creds.password)}
		if former.AccessKey != "" {
			marks = append(marks, rootMark(former.AccessKey, former.Secret))
		}
		return marks
	})}, nil
}

// rootMark takes what OWASP has as the least for Argon2id: where pages are dear, as in small virtual machines,
// 64 MiB of them took a gateway seconds to start.
func rootMark(user, password string) []byte {
	return argon2.IDKey([]byte(user+"\x00"+password), []byte("shoal marks of root credentials"), 2, 19<<10, 1, markLen)
}

// together reports whether gateways with these marks can serve together: one has the credentials of the other one,
// or had them before.
func together(ours, theirs [][]byte) bool {
	has := func(all [][]byte, mark []byte) bool {
		return slices.ContainsFunc(all, func(m []byte) bool { return subtle.ConstantTimeCompare(m, mark) == 1 })
	}
	return has(ours, theirs[0]) || has(theirs, ours[0])
}

// answer tells the other end whether it can serve beside this gateway, and returns that.
func (r *rootMarks) answer(c net.Conn) (same bool, err error) {
	if err := c.SetDeadline(time.Now().Add(rootTime)); err != nil {
		return false, err
	}
	var n [1]byte
	if _, err := io.ReadFull(c, n[:]); err != nil {
		return false, err
	}
	if n[0] < 1 || n[0] > maxMarks {
		return false, fmt.Errorf("it has %d marks of root credentials", n[0])
	}
	all := make([]byte, int(n[0])*markLen)
	if _, err := io.ReadFull(c, all); err != nil {
		return false, err
	}
	same = r.life.Err() != nil || together(r.marks(), slices.Collect(slices.Chunk(all, markLen)))
	n[0] = 0
	if same {
		n[0] = 1
	}
	_, err = c.Write(n[:])
	return same, err
}

// ask returns what the other end answers.
func (r *rootMarks) ask(c net.Conn) (same bool, err error) {
	if err := c.SetDeadline(time.Now().Add(rootTime)); err != nil {
		return false, err
	}
	marks := r.marks()
	if _, err := c.Write(append([]byte{byte(len(marks))}, bytes.Join(marks, nil)...)); err != nil {
		return false, err
	}
	var a [1]byte
	_, err = io.ReadFull(c, a[:])
	return a[0] == 1, err
}

// serveRoot answers another gateway that starts.
func (fl *fleet) serveRoot(c *mesh.Conn) {
	switch same, err := fl.roots.answer(c); {
	case err != nil:
		fl.log.Debug("another gateway has not asked for the root credentials", "node", c.Peer, "error", err)
	case !same:
		fl.log.Warn("another gateway was started with other root credentials, and ends", "node", c.Peer, "from", c.RemoteAddr().String())
	}
}

// compareRoots returns an error if another gateway has other root credentials. One that does not answer in time,
// or does not know the question, is left out.
func (fl *fleet) compareRoots(ctx context.Context) error {
	if fl.roots == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, rootTime)
	defer cancel()
	others := fl.node.Others()
	same := make([]chan bool, len(others))
	for i, o := range others {
		same[i] = make(chan bool, 1)
		go func() { same[i] <- fl.compareRoot(ctx, o.Address, o.Node) }()
	}
	var differ []string
	for i, o := range others {
		select {
		case ok := <-same[i]:
			if !ok {
				differ = append(differ, o.Address)
			}
		case <-ctx.Done(): // a slow machine may not even have its own marks by now
		}
	}
	return otherRoots(differ)
}

// compareRoot reports whether another gateway has the same root credentials, as far as it says.
func (fl *fleet) compareRoot(ctx context.Context, address, node string) bool {
	c, err := fl.mesh.Dial(ctx, address, node, rootProtocol)
	if err == nil {
		var same bool
		if same, err = fl.roots.ask(c); err == nil && !same {
			_ = c.Close() // it has said all
			return false
		}
		err = errors.Join(err, c.Close())
	}
	if err != nil {
		fl.log.Debug("another gateway does not say whether it has the same root credentials", "node", node, "error", err)
	}
	return true
}

// otherRoots says what to do about gateways that have other root credentials.
func otherRoots(addresses []string) error {
	if len(addresses) == 0 {
		return nil
	}
	return unsafe("the root credentials are not those of the gateways at "+strings.Join(addresses, ", ")+", and requests would be refused by the one or the others",
		"give all of them the same SHOAL_ROOT_USER and SHOAL_ROOT_PASSWORD; to replace these, start one after the other with the new ones, and the former as "+formerUser+" and "+formerPassword)
}

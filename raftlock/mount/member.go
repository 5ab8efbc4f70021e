package mount

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// memberSuffix ends the names of the files of members.
const memberSuffix = ".json"

// Bounds on what a member may say.
const (
	maxMemberFile = 16 << 10 // bytes
	maxAddresses  = 16
	maxText       = 256 // bytes of each string
)

// Member is what a node says of itself, so that others find it.
type Member struct {
	Node      string    `json:"node"`      // its UUID
	Addresses []string  `json:"addresses"` // host:port of its cluster port, best first
	Host      string    `json:"host"`
	PID       int       `json:"pid"`
	Boot      string    `json:"boot"`      // changes when the host starts anew
	Version   string    `json:"version"`   // of the program
	Refreshed time.Time `json:"refreshed"` // by the node's own clock: for people, and not to be compared
}

// check returns an error for what is not a Member that can be used.
func (b Member) check() error {
	if err := checkName(b.Node); err != nil {
		return err
	}
	if len(b.Addresses) > maxAddresses {
		return fmt.Errorf("it has %d addresses, more than %d", len(b.Addresses), maxAddresses)
	}
	for _, s := range append([]string{b.Host, b.Boot, b.Version}, b.Addresses...) {
		if len(s) > maxText {
			return fmt.Errorf("%.20q... is longer than %d bytes", s, maxText)
		}
	}
	return nil
}

// Announce puts a member into the register, or refreshes it.
func (m *Mount) Announce(ctx context.Context, b Member) error {
	err := b.check()
	var content []byte
	if err == nil {
		content, err = json.Marshal(b)
	}
	if err == nil {
		err = m.do(ctx, func() error { return m.announce(b.Node, content) })
	}
	if err != nil {
		return fmt.Errorf("announce member %s: %w", b.Node, err)
	}
	return nil
}

// announce replaces the file of a member. It is not made durable: after a crash
// every member that is still there writes its own again.
func (m *Mount) announce(node string, content []byte) error {
	return within(m.system, membersDir, func(members vfs.Dir) error {
		temp := node + "_" + random(8)
		f, err := members.Create(temp, fileMode)
		if err != nil {
			return err
		}
		_, err = f.Write(content)
		if err = errors.Join(err, f.Close()); err == nil {
			err = members.Rename(temp, members, node+memberSuffix)
		}
		if err != nil {
			_ = members.Remove(temp) // the first error is the answer
		}
		return err
	})
}

// Withdraw takes a node out of the register, with what its announcements may
// have left behind. It is no error if it is not there.
func (m *Mount) Withdraw(ctx context.Context, node string) error {
	err := checkName(node)
	if err == nil {
		err = m.do(ctx, func() error {
			return within(m.system, membersDir, func(members vfs.Dir) error { return withdraw(ctx, members, node) })
		})
	}
	if err != nil {
		return fmt.Errorf("withdraw member %s: %w", node, err)
	}
	return nil
}

func withdraw(ctx context.Context, members vfs.Dir, node string) error {
	entries, err := settled(members)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name != node+memberSuffix && !strings.HasPrefix(e.Name, node+"_") {
			continue
		}
		if err := unlink(ctx, members, e.Name); err != nil {
			return err
		}
	}
	return nil
}

// Members returns the members in the register, in no order. A file that cannot
// be one of ours is left out, and logged once.
func (m *Mount) Members(ctx context.Context) ([]Member, error) {
	type register struct {
		members []Member
		bad     map[string]string
	}
	found, err := vfs.Call(ctx, m.calls, func() (r register, err error) {
		r.bad = make(map[string]string)
		err = within(m.system, membersDir, func(dir vfs.Dir) (err error) {
			r.members, err = readMembers(ctx, dir, r.bad)
			return err
		})
		return r, err
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	m.complain(found.bad)
	return found.members, nil
}

// readMembers returns the members in dir, and adds what is wrong with files to
// bad.
func readMembers(ctx context.Context, dir vfs.Dir, bad map[string]string) ([]Member, error) {
	entries, err := dir.ReadDir()
	if err != nil {
		return nil, err
	}
	var members []Member
	for _, e := range entries {
		node, ok := strings.CutSuffix(e.Name, memberSuffix)
		if !ok {
			continue
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		content, _, err := readFile(dir, e.Name, maxMemberFile)
		if gone(err) {
			continue
		}
		var b Member
		if err == nil {
			b, err = parseMember(node, content)
		}
		if err != nil {
			bad[e.Name] = err.Error()
			continue
		}
		members = append(members, b)
	}
	return members, nil
}

// parseMember reads the file of a member.
func parseMember(node string, content []byte) (Member, error) {
	var b Member
	if err := json.Unmarshal(content, &b); err != nil {
		return Member{}, err
	}
	if b.Node != node {
		return Member{}, fmt.Errorf("it is of node %.64q", b.Node)
	}
	return b, b.check()
}

// complain logs what is wrong with files unless it was logged before.
func (m *Mount) complain(bad map[string]string) {
	m.mu.Lock()
	known := m.bad
	m.bad = maps.Clone(bad)
	m.mu.Unlock()
	for name, why := range bad {
		if known[name] != why {
			m.log.Warn("a member file is of no use", "file", systemDir+"/"+membersDir+"/"+name, "error", why)
		}
	}
}

package raftlock

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// Errors of the control plane.
var (
	// ErrChanged is returned by Set where the setting has another revision than
	// was expected.
	ErrChanged = errors.New("raftlock: the setting was changed meanwhile")
	// ErrTooMuch is returned by Set for a value, name, or number of settings
	// above the bounds.
	ErrTooMuch = errors.New("raftlock: the setting is too large, or there are too many")
)

// Setting is a value that all nodes follow.
type Setting struct {
	Value    []byte
	Revision uint64 // grows with every change, over all generations
}

// Change is what Set makes of a setting.
type Change struct {
	Name   string
	Value  []byte
	Delete bool
	If     *uint64 // only if this is the setting's revision; 0: if there is none
}

// Get returns a setting as this node knows it, which is as it is on all nodes
// once Set has returned.
func (n *Node) Get(name string) (Setting, bool) {
	var found Setting
	var there bool
	n.lookSettings(func(_ uint32, known *protocol.State) {
		s, ok := known.Settings[name]
		found, there = Setting{Value: s.Value, Revision: s.Revision}, ok
	})
	return found, there
}

// List returns the settings whose names begin with prefix. The caller must not
// change the values.
func (n *Node) List(prefix string) map[string]Setting {
	found := make(map[string]Setting)
	n.lookSettings(func(_ uint32, known *protocol.State) {
		for name, s := range known.Settings {
			if len(name) >= len(prefix) && name[:len(prefix)] == prefix {
				found[name] = Setting{Value: s.Value, Revision: s.Revision}
			}
		}
	})
	return found
}

// lookSettings runs f on the settings that this node knows, and says of which generation: those
// of the last life that had a session, or those that were recalled, if these are later.
func (n *Node) lookSettings(f func(generation uint32, known *protocol.State)) {
	n.mu.Lock()
	l, r := n.settings, n.recalled
	n.mu.Unlock()
	told := false
	if l != nil {
		l.look(func(s *protocol.State) {
			if r == nil || r.generation < l.generation || r.generation == l.generation && r.state.Applied <= s.Applied {
				told = true
				f(l.generation, s)
			}
		})
	}
	if !told && r != nil {
		f(r.generation, r.state)
	}
}

// Changed returns a channel that is closed at the next change of any setting.
func (n *Node) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

func (n *Node) settingsChanged() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.changed)
	n.changed = make(chan struct{})
}

// Set changes a setting and returns its revision. When it returns without an
// error the change is on the shared storage, and in force on every node that
// has a session: one that cannot be reached has lost its session first.
//
// ErrChanged says that Change.If did not hold. After an error that is ErrUnknown the
// change may have been made, or be made yet: it is agreed, and in force, before it is on the
// storage. That it is not because the storage takes nothing (Refuses) is said at once. The changes
// that come next are refused with that cause before they are agreed, so that nothing comes of them.
func (n *Node) Set(ctx context.Context, c Change) (uint64, error) {
	if len(c.Name) > protocol.MaxSettingName || len(c.Value) > protocol.MaxSettingValue {
		return 0, ErrTooMuch
	}
	l, err := n.awaitLife(ctx)
	if err != nil {
		return 0, err
	}
	command := protocol.SetSetting{Name: c.Name, Value: c.Value, Delete: c.Delete}
	if c.If != nil {
		command.Compare, command.Expect = true, *c.If
	}
	result, index, err := l.propose(ctx, command)
	if err != nil {
		return 0, fmt.Errorf("set %q: %w", c.Name, err)
	}
	switch result.Outcome {
	case protocol.Done:
	case protocol.Mismatch:
		return result.Revision, ErrChanged
	case protocol.SettingsFull:
		return result.Revision, ErrTooMuch
	case protocol.Refused, protocol.Unsupported:
		return 0, fmt.Errorf("set %q: refused", c.Name)
	}
	if err := l.everywhere(ctx, index); err != nil {
		return result.Revision, fmt.Errorf("set %q: %w: %w", c.Name, ErrUnknown, err)
	}
	return result.Revision, nil
}

// everywhere waits until every live session has applied an entry.
func (l *life) everywhere(ctx context.Context, index uint64) error {
	if err := l.await(ctx, func(s *protocol.State) bool { return s.Applied >= index }); err != nil {
		return err
	}
	// Sessions that are opened by later entries apply this one first.
	var peers []protocol.Session
	l.look(func(s *protocol.State) {
		for _, session := range s.Sessions {
			if session.Node != string(l.id) {
				peers = append(peers, *session)
			}
		}
	})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, len(peers))
	for _, peer := range peers {
		go func() { errs <- l.appliedAt(ctx, peer, index) }()
	}
	for range peers {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

// appliedAt waits until a session has applied an entry, or is no more.
func (l *life) appliedAt(ctx context.Context, peer protocol.Session, index uint64) error {
	to := raftAddress(raft.ServerID(peer.Node), peer.Address)
	gone := func(s *protocol.State) bool { return s.Sessions[peer.ID] == nil }
	asking, stop := context.WithCancel(ctx)
	defer stop()
	go func() { // who is cut off does not answer, and does not hang up
		if l.await(asking, gone) == nil {
			stop()
		}
	}()
	for {
		a, err := l.calls.ask(asking, to, request{Generation: l.generation, Applied: index})
		if err == nil && a.Error == "" && !a.NotLeader {
			return nil
		}
		over := false
		l.look(func(s *protocol.State) { over = gone(s) })
		if over {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %s has not followed: %w", nodeOf(raft.ServerID(peer.Node)), context.Cause(ctx))
		case <-l.ctx.Done():
			return context.Cause(l.ctx)
		default:
			sleep(ctx, retryAfter)
		}
	}
}

// change is a committed change of a setting on its way to the storage.
type change struct {
	index   uint64
	content []byte
}

// noteChange takes note of an entry that has been applied. The caller holds mu.
func (l *life) noteChange(entry *raft.Log, c protocol.Command, result protocol.Result) {
	set, ok := c.(protocol.SetSetting)
	if !ok || result.Outcome != protocol.Done {
		return
	}
	if l.term != nil {
		content := protocol.SettingChange{Revision: result.Revision, Name: set.Name, Value: set.Value, Delete: set.Delete}
		l.term.archive.note(change{index: entry.Index, content: protocol.AppendChanges(nil, []protocol.SettingChange{content})})
	}
	go l.node.settingsChanged() // it takes another lock
}

// saved waits until a change that this leader has committed is on the storage.
func (l *life) saved(ctx context.Context, c protocol.Command, result protocol.Result, index uint64) error {
	if _, ok := c.(protocol.SetSetting); !ok || result.Outcome != protocol.Done {
		return nil
	}
	l.mu.Lock()
	t := l.term
	l.mu.Unlock()
	if t == nil {
		return ErrUnknown
	}
	for {
		saved, again, failure := t.archive.state()
		switch {
		case saved >= index:
			return nil
		case Refuses(failure):
			return fmt.Errorf("%w: it is not on the storage yet: %w", ErrUnknown, failure)
		}
		select {
		case <-again:
		case <-t.ctx.Done():
			return ErrUnknown
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnknown, context.Cause(ctx))
		}
	}
}

// archive is the leader's part of keeping the settings on the storage: all of
// them when it begins to lead, and then each change in the order of the log,
// staged in the directory of its own session: when it is fenced it can save no
// more, and the next generation reads what is there.
type archive struct {
	term    *term
	mu      sync.Mutex
	pending []change
	saved   uint64        // up to this entry all is on the storage
	failure error         // of the last attempt to save; nil if it was a success
	again   chan struct{} // closed when an attempt is over
	wake    chan struct{} // one token: there is a change, or somebody to be told whether there can be
	since   int           // changes since all was saved
}

// compactAfter is how many changes are saved one by one before all are again.
const compactAfter = 256

func (a *archive) init(t *term) {
	a.term, a.again, a.wake = t, make(chan struct{}), make(chan struct{}, 1)
}

func (a *archive) note(c change) {
	a.mu.Lock()
	a.pending = append(a.pending, c)
	a.mu.Unlock()
	signal(a.wake)
}

func (a *archive) state() (saved uint64, again <-chan struct{}, failure error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.saved, a.again, a.failure
}

// reached says that all entries up to index are saved.
func (a *archive) reached(index uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.saved, a.failure = max(a.saved, index), nil
	close(a.again)
	a.again = make(chan struct{})
}

// failed says that an attempt was none.
func (a *archive) failed(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failure = err
	close(a.again)
	a.again = make(chan struct{})
}

// admits returns why no change can be saved now. If the storage has refused the last one it is
// asked again, with what waits to be saved.
func (a *archive) admits(ctx context.Context) error {
	_, again, failure := a.state()
	if !Refuses(failure) {
		return nil
	}
	signal(a.wake)
	select {
	case <-again:
	case <-a.term.ctx.Done():
	case <-ctx.Done():
	}
	if _, _, failure = a.state(); !Refuses(failure) {
		return nil
	}
	return fmt.Errorf("nothing was changed: %w", failure)
}

func (a *archive) next() (change, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.pending) > 0 {
		c := a.pending[0]
		a.pending = a.pending[1:]
		if c.index > a.saved {
			return c, true
		}
	}
	return change{}, false
}

func (a *archive) run() {
	a.since = compactAfter // begin with all
	for a.term.ctx.Err() == nil {
		if a.since >= compactAfter {
			if !a.retry("all settings", a.saveAll) {
				return
			}
			a.since = 0
		}
		c, ok := a.next()
		if !ok {
			select {
			case <-a.wake:
			case <-a.term.ctx.Done():
			}
			continue
		}
		if !a.retry("a changed setting", func(ctx context.Context, dir string) error {
			return a.term.life.node.cfg.Arbiter.SaveChange(ctx, a.term.life.generation, dir, c.index, c.content)
		}) {
			return
		}
		a.reached(c.index)
		a.since++
	}
}

// How long the leader waits before it saves again what it could not: longer each time, as a full disk
// stays full for a while. Somebody who comes with a change is told at once how it stands.
const (
	saveAgain     = retryAfter
	saveAgainMost = 4 * time.Second
)

// retry saves until it succeeds or the term is over.
func (a *archive) retry(what string, save func(ctx context.Context, dir string) error) bool {
	l := a.term.life
	wait := saveAgain
	var said reminder
	for a.term.ctx.Err() == nil {
		l.mu.Lock()
		s := l.session
		l.mu.Unlock()
		if s == nil {
			sleep(a.term.ctx, retryAfter)
			continue
		}
		ctx, cancel := context.WithTimeout(a.term.ctx, storageTimeout)
		err := save(ctx, s.dir)
		cancel()
		fails, over := said.about(err)
		switch {
		case over:
			l.log.Info("settings are saved again", "what", what)
		case fails && a.term.ctx.Err() == nil:
			l.log.Warn("settings could not be saved yet: changes wait", "what", what, "error", err)
		}
		if err == nil {
			return true
		}
		a.failed(err)
		waitFor(a.wake, a.term.ctx.Done(), wait)
		wait = min(2*wait, saveAgainMost)
	}
	return false
}

func (a *archive) saveAll(ctx context.Context, dir string) error {
	l := a.term.life
	var index uint64
	var all []byte
	l.look(func(s *protocol.State) {
		index = s.Applied
		all = binary.AppendUvarint(nil, s.Base+index)
		all = protocol.AppendChanges(all, protocol.ChangesOf(s.Settings))
	})
	if err := l.node.cfg.Arbiter.SaveAll(ctx, l.generation, dir, index, all); err != nil {
		return err
	}
	a.reached(index)
	return nil
}

// Known returns up to which place in the log of which generation this node knows the settings,
// be it in a session or not; zeros if it never was in one and has recalled none.
func (n *Node) Known() (generation uint32, index uint64) {
	n.lookSettings(func(g uint32, s *protocol.State) { generation, index = g, s.Applied })
	return generation, index
}

// recalled are settings as the storage had them. Of the state the settings count, and the
// entry up to which it has them.
type recalled struct {
	generation uint32
	state      *protocol.State
}

// Recall learns from the storage what was saved of the settings that this node does not know
// yet. In a session it is told all; without one only the storage is left to ask.
func (n *Node) Recall(ctx context.Context) error {
	before, from := n.Known()
	select {
	case n.recalling <- struct{}{}:
		defer func() { <-n.recalling }()
	case <-ctx.Done():
		return fmt.Errorf("recall settings: %w", context.Cause(ctx))
	}
	if generation, index := n.Known(); generation != before || index != from {
		return nil
	}
	known, _, err := n.loadSettings(ctx)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.recalled = &known
	n.mu.Unlock()
	n.settingsChanged()
	return nil
}

// loadSettings returns what was saved: of earlier generations, or of one that goes on without
// this node. No revision is above base.
func (n *Node) loadSettings(ctx context.Context) (known recalled, base uint64, err error) {
	saved, err := n.cfg.Arbiter.Load(ctx)
	if err != nil {
		return known, 0, fmt.Errorf("load settings: %w", err)
	}
	known = recalled{saved.Generation, &protocol.State{Applied: saved.Index, Settings: make(map[string]protocol.Setting)}}
	changes := saved.Changes
	if len(saved.All) > 0 {
		size := 0
		if base, size = binary.Uvarint(saved.All); size <= 0 {
			return known, 0, errors.New("load settings: the whole copy has no head")
		}
		changes = append([][]byte{saved.All[size:]}, changes...)
	}
	for _, content := range changes {
		list, err := protocol.ParseChanges(content)
		if err != nil {
			return known, 0, fmt.Errorf("load settings: %w", err)
		}
		for _, c := range list {
			c.ApplyTo(known.state.Settings)
			base = max(base, c.Revision)
		}
	}
	return known, base, nil
}

// restoreStep bounds the settings in one entry of the log, in bytes.
const restoreStep = 1 << 20

// restore gives a new generation the settings of the ones before.
func (l *life) restore(ctx context.Context, base uint64, settings map[string]protocol.Setting) error {
	command, size := protocol.RestoreSettings{Base: base}, 0
	send := func() error {
		_, _, err := l.commit(ctx, command)
		command.Settings, size = nil, 0
		return err
	}
	for _, c := range protocol.ChangesOf(settings) {
		command.Settings = append(command.Settings, c)
		if size += len(c.Name) + len(c.Value); size >= restoreStep {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return send()
}

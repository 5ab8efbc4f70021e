package foreign

import (
	"strings"
	"sync"
	"time"
)

// maxPending is how many names wait in a bucket. Of more, the whole bucket does.
const maxPending = 1 << 16

// lookShare is which part of the time goes into looking through a whole bucket at most.
const lookShare = 20

// pending is what may have changed in a bucket and was not looked at since. The zero value
// is ready for use.
type pending struct {
	mu     sync.Mutex
	names  map[string]span // keys, and prefixes that are "" or end with "/"
	notYet time.Time       // before which the whole bucket is not looked through
}

// span is when the first and the last change were noticed.
type span struct{ first, last time.Time }

// note adds a name.
func (p *pending) note(name string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(name, now)
}

// put adds names again which could not be looked at.
func (p *pending) put(names []string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range names {
		p.add(name, now)
	}
}

func (p *pending) add(name string, now time.Time) {
	if p.names == nil || len(p.names) >= maxPending {
		if p.names != nil {
			name = ""
		}
		p.names = make(map[string]span)
	}
	s, ok := p.names[name]
	if !ok {
		s.first = now
	}
	if name != "" || !ok {
		s.last = now // somebody is always doing something, somewhere
	}
	p.names[name] = s
}

// take removes the names that have settled, and returns them: those that have not changed
// for as long as they did before, but no less than quiet and no more than settle.
func (p *pending) take(now time.Time, settle time.Duration) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var due []string
	for name, s := range p.names {
		still := min(max(s.last.Sub(s.first), quiet), settle)
		if now.Sub(s.last) >= still && (name != "" || !now.Before(p.notYet)) {
			due = append(due, name)
			delete(p.names, name)
		}
	}
	return due
}

// looked notes that a look through the whole bucket has taken from one time to another.
func (p *pending) looked(from, to time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notYet = to.Add(lookShare * to.Sub(from))
}

// isPrefix reports whether a name stands for all that begin with it.
func isPrefix(name string) bool { return name == "" || strings.HasSuffix(name, "/") }

// cover splits names into prefixes, none of which is under another one, and keys that are
// under none of them.
func cover(names []string) (prefixes map[string]bool, keys []string) {
	prefixes = make(map[string]bool)
	for _, name := range names {
		if isPrefix(name) {
			prefixes[name] = true
		}
	}
	for _, name := range names {
		switch {
		case !isPrefix(name) && !covered(prefixes, name):
			keys = append(keys, name)
		case isPrefix(name) && name != "" && covered(prefixes, strings.TrimSuffix(name, "/")):
			delete(prefixes, name)
		}
	}
	return prefixes, keys
}

// covered reports whether a key is under one of the prefixes.
func covered(prefixes map[string]bool, key string) bool {
	for i := 0; i <= len(key); i++ {
		if (i == 0 || key[i-1] == '/') && prefixes[key[:i]] {
			return true
		}
	}
	return false
}

package ldap

import (
	"context"
	"errors"
	"sync"
	"time"
)

// How long what a directory has said of somebody counts.
const (
	fresh   = 5 * time.Minute  // before it is asked again
	stale   = time.Hour        // if it cannot be asked
	pause   = 10 * time.Second // after it could not be, or knew nobody
	asking  = 20 * time.Second // it may take to ask
	maxRoll = 1 << 14          // people that are remembered
)

// Roll is a Directory of which it can be asked at every request who is in it: it remembers
// that for a while. Its methods may be called concurrently.
type Roll struct {
	*Directory
	find   func(name string) (Person, error)
	now    func() time.Time
	mu     sync.Mutex
	people map[string]*presence // by DN and name
}

// NewRoll returns a Roll that knows nobody yet, and asks until ctx ends.
func NewRoll(ctx context.Context, d *Directory, now func() time.Time) *Roll {
	find := func(name string) (Person, error) {
		ctx, cancel := context.WithTimeout(ctx, asking)
		defer cancel()
		return d.Find(ctx, name)
	}
	return &Roll{Directory: d, find: find, now: now}
}

// presence is what is known of somebody.
type presence struct {
	mu     sync.Mutex // held while the directory is asked about him
	there  bool
	groups []string
	at     time.Time // when the directory said so; zero: never
	failed time.Time // when it could not be asked since
	err    error     // why
}

// Groups returns the groups that who has a name and a canonical DN is in now, and whether
// there is such a person. What it says may be five minutes old, or an hour if the directory
// cannot be asked; after that the error is ErrUnavailable.
func (r *Roll) Groups(name, dn string) (groups []string, there bool, err error) {
	p := r.presence(dn + "\x00" + name)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.serves(r.now()) {
		r.ask(p, name, dn)
	}
	if p.err != nil && (p.at.IsZero() || r.now().Sub(p.at) >= stale) {
		return nil, false, p.err
	}
	return p.groups, p.there, nil
}

// presence returns what is known of somebody. If there are too many all are forgotten, which
// costs each a question.
func (r *Roll) presence(key string) *presence {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.people[key]; p != nil {
		return p
	}
	if r.people == nil || len(r.people) >= maxRoll {
		r.people = make(map[string]*presence)
	}
	p := new(presence)
	r.people[key] = p
	return p
}

// serves reports whether the directory need not be asked now.
func (p *presence) serves(now time.Time) bool {
	if p.err != nil && now.Sub(p.failed) < pause {
		return true
	}
	if p.there {
		return now.Sub(p.at) < fresh
	}
	return !p.at.IsZero() && now.Sub(p.at) < pause
}

// ask asks the directory about somebody.
func (r *Roll) ask(p *presence, name, dn string) {
	found, err := r.find(name)
	switch {
	case err == nil && found.DN == dn:
		p.there, p.groups, p.at, p.err = true, found.Groups, r.now(), nil
	case err == nil, errors.Is(err, ErrNobody):
		p.there, p.groups, p.at, p.err = false, nil, r.now(), nil
	default:
		p.failed, p.err = r.now(), err
	}
}

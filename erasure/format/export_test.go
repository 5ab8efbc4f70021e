package format

import (
	"os"
	"time"
)

// Edit changes the identity of the drive at a path.
func Edit(path string, change func(id *Identity)) error {
	name := path + "/" + systemDir + "/" + identityName
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	id, err := decodeIdentity(b)
	if err != nil {
		return err
	}
	change(id)
	if b, err = id.encode(); err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o600)
}

// PretendOpenFor has the drives be open for as long.
func (s *Set) PretendOpenFor(d time.Duration) {
	s.local.mu.Lock()
	defer s.local.mu.Unlock()
	for _, p := range s.local.places {
		p.started = time.Now().Add(-d)
	}
}

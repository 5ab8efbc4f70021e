package drive

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/shoal-storage/shoal/erasure/register"
)

// stripe is a lock that some keys share. The store shows what it was given before that is
// durable; so who reads waits for what he may have seen.
type stripe struct {
	mu sync.Mutex
	// writing is the key, encoded, of which a state is being made durable; nil: none is. Where
	// that has failed it stays.
	writing atomic.Pointer[[]byte]
}

func (d *Drive) stripe(key []byte) *stripe {
	return &d.stripes[maphash.Bytes(d.seed, key)%uint64(len(d.stripes))]
}

// lock has nobody else change a key of the stripe until the returned function is called.
func (s *stripe) lock() (unlock func()) {
	s.mu.Lock()
	return s.mu.Unlock
}

// apply makes a new state of a key durable. Whoever calls it has locked the stripe.
func (s *stripe) apply(kv KV, b *Batch, key []byte) error {
	s.writing.Store(&key)
	err := kv.Apply(b, true)
	if err == nil {
		s.writing.Store(nil)
	}
	return err
}

// seen returns what is being made durable, if that is a key from one up to another one.
func (s *stripe) seen(from, to []byte) *[]byte {
	key := s.writing.Load()
	if key == nil || bytes.Compare(*key, from) < 0 || bytes.Compare(*key, to) > 0 {
		return nil
	}
	return key
}

// errNotDurable says that what was seen could not be made durable.
var errNotDurable = fmt.Errorf("drive: it could not be made durable: %w", register.ErrUnknown)

// wait returns when what was seen is durable.
func (s *stripe) wait(key *[]byte) error {
	if key == nil || s.writing.Load() != key {
		return nil
	}
	s.lock()()
	if s.writing.Load() == key {
		return errNotDurable
	}
	return nil
}

// durable returns when what the caller may have seen of keys is durable, from one up to another
// one.
func (d *Drive) durable(from, to []byte) error {
	type one struct {
		stripe *stripe
		key    *[]byte
	}
	var seen []one // at this moment, and not what follows while others are waited for
	for i := range d.stripes {
		if key := d.stripes[i].seen(from, to); key != nil {
			seen = append(seen, one{&d.stripes[i], key})
		}
	}
	for _, s := range seen {
		if err := s.stripe.wait(s.key); err != nil {
			return err
		}
	}
	return nil
}

package drive

// KV is the ordered store in which a drive keeps what it holds of keys. Its methods may
// be called concurrently. After an error of Apply the store may be of no use any more:
// the drive is then closed.
type KV interface {
	// Get returns a value, which the caller may keep.
	Get(key []byte) (value []byte, found bool, err error)
	// Scan returns what is from a key up to another one, which it does not include, as it
	// is now.
	Scan(from, to []byte) (Iterator, error)
	// Apply makes all changes or none. With sync they are durable when it returns, and so
	// are all that were made before.
	Apply(b *Batch, sync bool) error
	Close() error
}

// Iterator goes through keys in ascending order. It is used by one goroutine.
type Iterator interface {
	// Next goes to the next key, at first to the first one.
	Next() bool
	// Seek goes to the first key that is not less.
	Seek(key []byte) bool
	// Key and Value return what is here, valid until it goes on.
	Key() []byte
	Value() []byte
	// Close frees the iterator, and returns what was in its way.
	Close() error
}

// Batch is a number of changes. The zero Batch has none.
type Batch struct{ ops []op }

type op struct {
	what       what
	key, value []byte
}

// what is done with a key.
type what byte

const (
	set what = iota
	extend
	remove
)

// Set has the key be of the value.
func (b *Batch) Set(key, value []byte) { b.ops = append(b.ops, op{set, key, value}) }

// Extend appends to the value that the key has.
func (b *Batch) Extend(key []byte, more ...byte) { b.ops = append(b.ops, op{extend, key, more}) }

// Remove removes the key, if it is there.
func (b *Batch) Remove(key []byte) { b.ops = append(b.ops, op{what: remove, key: key}) }

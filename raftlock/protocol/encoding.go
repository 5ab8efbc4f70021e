package protocol

import "encoding/binary"

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// reader takes values off bytes. After the first that is not there it gives
// zeros, and end tells.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) uint32() uint32 {
	v := r.uint()
	if v > 1<<32-1 {
		r.bad = true
		return 0
	}
	return uint32(v)
}

func (r *reader) slot() Slot {
	v := r.uint()
	if v >= Slots {
		r.bad = true
		return 0
	}
	return Slot(v)
}

func (r *reader) bool() bool {
	if len(r.b) == 0 || r.b[0] > 1 {
		r.bad, r.b = true, nil
		return false
	}
	v := r.b[0] == 1
	r.b = r.b[1:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string { return string(r.bytes()) }

// count reads how many things follow, each of at least so many bytes, so that
// a number alone cannot make us allocate.
func (r *reader) count(least int) int {
	n := r.uint()
	if n > uint64(len(r.b)/least) { //nolint:gosec // least is small and positive
		r.bad, r.b = true, nil
		return 0
	}
	return int(n) //nolint:gosec // bounded by what is there
}

// end returns ErrMalformed if something was missing, or is left.
func (r *reader) end() error {
	if r.bad || len(r.b) > 0 {
		return ErrMalformed
	}
	return nil
}

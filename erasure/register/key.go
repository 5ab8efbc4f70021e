package register

import "encoding/binary"

// Space keeps keys of different uses apart. Its values are stored and must not change.
type Space byte

// The spaces.
const (
	Buckets Space = 'b' // names of buckets
	Objects Space = 'o' // objects of a bucket
	Uploads Space = 'u' // uploads in progress of a bucket
	Parts   Space = 'q' // parts of uploads
	System  Space = 's' // what the server keeps
	Fleet   Space = 'f' // what the fleet of nodes has agreed on
)

// Key names what has registers: one for each of its versions.
type Key struct {
	Space  Space
	Bucket uint64 // of Objects and Uploads: the ID of the bucket; of Parts that of the upload
	Name   string
}

// Append appends the key so that the byte order is that of space, bucket and name, and no
// key is the beginning of another.
func (k Key) Append(b []byte) []byte {
	return append(k.AppendPrefix(b), 0, 1)
}

// AppendPrefix appends what all keys begin with whose names begin with that of k.
func (k Key) AppendPrefix(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, byte(k.Space)), k.Bucket)
	for i := range len(k.Name) {
		if b = append(b, k.Name[i]); k.Name[i] == 0 {
			b = append(b, 0xff)
		}
	}
	return b
}

// Place is where a register of the key is in the order of all: those of one key are in that
// of their making, the newest first.
func (k Key) Place(made Token) string {
	b := k.Append(nil)
	start := len(b)
	b = made.Append(b)
	for i := range b[start:] {
		b[start+i] ^= 0xff
	}
	return string(b)
}

// DecodeKey is the inverse of Append, and returns what follows.
func DecodeKey(b []byte) (k Key, rest []byte, err error) {
	if len(b) < 9 {
		return k, nil, errFormat
	}
	k.Space, k.Bucket = Space(b[0]), binary.BigEndian.Uint64(b[1:])
	b = b[9:]
	name := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] != 0:
			name = append(name, b[i])
		case i+1 < len(b) && b[i+1] == 0xff:
			name = append(name, 0)
			i++
		case i+1 < len(b) && b[i+1] == 1:
			k.Name = string(name)
			return k, b[i+2:], nil
		default:
			return k, nil, errFormat
		}
	}
	return k, nil, errFormat
}

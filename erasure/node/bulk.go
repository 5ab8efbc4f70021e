package node

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
)

// maxPiece bounds a piece of a shard, in bytes.
const maxPiece = 4 << 20

// idleTime is how long a connection for shards is kept that nobody uses.
const idleTime = time.Minute

// bulk is a connection over which shards are read and written, one at a time. An exchange
// begins with a head; pieces have their length before them.
type bulk struct {
	conn   net.Conn
	r      *bufio.Reader
	buffer []byte
}

func newBulk(c net.Conn) *bulk { return &bulk{conn: c, r: bufio.NewReaderSize(c, 32<<10)} }

// bulkHead says what is to be read or written.
type bulkHead struct {
	what   byte
	inner  bool // the drive is meant as it is though it is new
	id     register.DataID
	offset int64 // where reading begins; of a shard that is written how long it will be, 0 if nobody knows
	length int
	drive  string
}

// headSize is the length of a head without the ID of the drive: what 1, inner 1, content 16,
// offset 8, length 4, length of the drive's ID 1.
const headSize = 31

func (h *bulkHead) append(b []byte) []byte {
	b = append(b, h.what, 0)
	if h.inner {
		b[len(b)-1] = 1
	}
	b = append(b, h.id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.offset)) //nolint:gosec // not negative
	b = binary.BigEndian.AppendUint32(b, uint32(h.length)) //nolint:gosec // at most maxPiece
	return append(append(b, byte(len(h.drive))), h.drive...)
}

func (b *bulk) readHead() (h bulkHead, err error) {
	var fixed [headSize]byte
	if _, err := io.ReadFull(b.r, fixed[:]); err != nil {
		return h, err
	}
	h = bulkHead{what: fixed[0], inner: fixed[1] == 1, id: register.DataID(fixed[2:18])}
	offset := binary.BigEndian.Uint64(fixed[18:])
	h.offset, h.length = int64(offset), int(binary.BigEndian.Uint32(fixed[26:])) //nolint:gosec // looked at below
	if h.what != bulkRead && h.what != bulkWrite || h.offset < 0 || h.length > maxPiece {
		return h, errFrame
	}
	drive := make([]byte, fixed[30])
	_, err = io.ReadFull(b.r, drive)
	h.drive = string(drive)
	return h, err
}

// readPiece returns the next piece, valid until the one after it is read.
func (b *bulk) readPiece() ([]byte, error) {
	if err := b.conn.SetReadDeadline(time.Now().Add(stallTime)); err != nil {
		return nil, err
	}
	var length [4]byte
	if _, err := io.ReadFull(b.r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxPiece {
		return nil, errFrame
	}
	piece := b.space(int(n))
	_, err := io.ReadFull(b.r, piece)
	return piece, err
}

// space returns n bytes of the buffer.
func (b *bulk) space(n int) []byte {
	if cap(b.buffer) < n {
		b.buffer = make([]byte, n)
	}
	b.buffer = b.buffer[:n]
	return b.buffer
}

// writePiece sends a piece.
func (b *bulk) writePiece(p []byte) error {
	if err := b.conn.SetWriteDeadline(time.Now().Add(stallTime)); err != nil {
		return err
	}
	if _, err := b.conn.Write(binary.BigEndian.AppendUint32(nil, uint32(len(p)))); err != nil { //nolint:gosec // at most maxPiece
		return err
	}
	if len(p) == 0 {
		return nil
	}
	_, err := b.conn.Write(p)
	return err
}

// answer ends an exchange: an outcome, and a piece or the text of the error.
func (b *bulk) answer(failure error, piece []byte) error {
	o := succeeded
	if failure != nil {
		o, piece = outcomeOf(failure), textOf(failure)
	}
	if err := b.conn.SetWriteDeadline(time.Now().Add(stallTime)); err != nil {
		return err
	}
	head := binary.BigEndian.AppendUint32([]byte{o}, uint32(len(piece))) //nolint:gosec // at most maxPiece
	if len(piece) <= maxText {
		_, err := b.conn.Write(append(head, piece...))
		return err
	}
	if _, err := b.conn.Write(head); err != nil {
		return err
	}
	_, err := b.conn.Write(piece)
	return err
}

// readAnswer reads what an exchange came to, and its piece into p, which has room for it. The
// connection is of use afterwards unless broken is set.
func (b *bulk) readAnswer(p []byte) (n int, broken bool, err error) {
	var head [5]byte
	if _, err := io.ReadFull(b.r, head[:]); err != nil {
		return 0, true, err
	}
	length := binary.BigEndian.Uint32(head[1:])
	if head[0] != succeeded && length <= maxText {
		p = make([]byte, length)
	}
	if int64(length) > int64(len(p)) {
		return 0, true, errFrame
	}
	if _, err := io.ReadFull(b.r, p[:length]); err != nil {
		return 0, true, err
	}
	if err := errorOf(head[0], p[:length]); err != nil {
		return 0, false, err
	}
	return int(length), false, nil
}

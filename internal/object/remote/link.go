package remote

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A frame is a kind, the length of what follows (3 bytes, big-endian), and that:
// a message in gob, whose types are told once on a connection; a piece of a
// content; or how many pieces more may be sent (1 byte).
const (
	messageFrame byte = iota + 1
	pieceFrame
	creditFrame
)

const (
	headerSize = 4
	maxMessage = 8 << 20   // bytes
	pieceSize  = 128 << 10 // bytes, at most
	window     = 8         // pieces that may be on their way, in each direction
)

// Why links end, beside what connections end of.
var (
	errClosed    = errors.New("the connection was closed")
	errMisplaced = errors.New("the other end said what does not belong there")
)

// link is one end of a connection, on which one call is made at a time. What
// comes in is read at all times, so that neither end ever waits for the other to
// read; of contents no more is on its way than there is room for.
type link struct {
	conn   net.Conn
	made   time.Time
	pool   *sync.Pool      // of *[headerSize + pieceSize]byte
	ctx    context.Context // done when the connection is, for the cause
	cancel context.CancelCauseFunc

	talk   chan message  // what the other end says
	pieces chan piece    // of the content that it sends, in order, with its end
	credit chan struct{} // one for each piece that may be sent to it
	owed   int           // pieces taken that the other end has no credit for yet

	mu  sync.Mutex // of what follows
	w   *bufio.Writer
	out bytes.Buffer // the message that is being made
	enc *gob.Encoder
}

// piece is a piece of a content, or its end.
type piece struct {
	buffer *[headerSize + pieceSize]byte
	data   []byte // in buffer
	end    *end
}

func newPool() *sync.Pool {
	return &sync.Pool{New: func() any { return new([headerSize + pieceSize]byte) }}
}

func newLink(ctx context.Context, conn net.Conn, pool *sync.Pool) *link {
	l := &link{
		conn: conn, made: time.Now(), pool: pool, w: bufio.NewWriterSize(conn, 16<<10),
		talk: make(chan message, 4), pieces: make(chan piece, window+1), credit: make(chan struct{}, window),
	}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	l.enc = gob.NewEncoder(&l.out)
	for range window {
		l.credit <- struct{}{}
	}
	// Never io.EOF itself, which would make a whole content of half a one.
	go func() { l.close(fmt.Errorf("connection lost: %w", l.read())) }()
	context.AfterFunc(l.ctx, func() { l.close(errClosed) }) // if root has ended
	return l
}

// close ends the connection. It can be called twice, and does not block.
func (l *link) close(why error) {
	l.cancel(why)
	if t, ok := l.conn.(interface{ NetConn() net.Conn }); ok {
		_ = t.NetConn().Close() // TLS would say goodbye to an end that may not listen
	}
	_ = l.conn.Close() // what was to be said has been, or is lost
}

// next returns what the other end says next, false when it has gone.
func (l *link) next() (message, bool) {
	select {
	case m := <-l.talk:
		return m, true
	case <-l.ctx.Done():
	}
	select {
	case m := <-l.talk: // its last words
		return m, true
	default:
		return message{}, false
	}
}

// read takes in what comes until the connection ends.
func (l *link) read() error {
	r := bufio.NewReaderSize(l.conn, 32<<10)
	var said bytes.Buffer
	dec := gob.NewDecoder(&said)
	for {
		var header [headerSize]byte
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return err
		}
		kind, n := header[0], int(binary.BigEndian.Uint32(header[:])&0xffffff)
		var err error
		switch {
		case kind == messageFrame && n <= maxMessage:
			if _, err = io.CopyN(&said, r, int64(n)); err == nil {
				err = l.hear(dec)
			}
		case kind == pieceFrame && n <= pieceSize:
			p := piece{buffer: l.pool.Get().(*[headerSize + pieceSize]byte)} //nolint:forcetypeassert // the pool has nothing else
			p.data = p.buffer[:n]
			if _, err = io.ReadFull(r, p.data); err == nil {
				err = l.arrive(p)
			}
		case kind == creditFrame && n == 1:
			err = l.credited(r)
		default:
			err = fmt.Errorf("a frame of kind %d with %d bytes", kind, n)
		}
		if err != nil {
			return err
		}
	}
}

func (l *link) hear(dec *gob.Decoder) error {
	var m message
	if err := dec.Decode(&m); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	if m.End != nil {
		return l.arrive(piece{end: m.End})
	}
	select {
	case l.talk <- m:
		return nil
	case <-l.ctx.Done():
		return errClosed
	}
}

func (l *link) arrive(p piece) error {
	select {
	case l.pieces <- p:
		return nil
	default:
		return errors.New("more of a content came than there is room for")
	}
}

func (l *link) credited(r io.ByteReader) error {
	n, err := r.ReadByte()
	if err != nil {
		return err
	}
	for range n {
		select {
		case l.credit <- struct{}{}:
		default:
			return errors.New("more credit came than was due")
		}
	}
	return nil
}

// send says something. What is held back goes with the next that is not.
func (l *link) send(m message, holdBack bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out.Reset()
	_, _ = l.out.Write(make([]byte, headerSize)) // a Buffer takes all
	err := l.enc.Encode(m)
	if n := l.out.Len() - headerSize; err == nil && n > maxMessage {
		err = fmt.Errorf("a message of %d bytes", n)
	}
	if err == nil {
		err = l.write(l.out.Bytes(), messageFrame, holdBack)
	}
	if err != nil {
		l.close(err) // the encoder may have told types that did not arrive
	}
	if l.out.Cap() > 1<<20 {
		l.out = bytes.Buffer{}
	}
	return err
}

// write writes a frame whose header is to be filled in. The caller holds mu.
func (l *link) write(frame []byte, kind byte, holdBack bool) error {
	binary.BigEndian.PutUint32(frame, uint32(kind)<<24|uint32(len(frame)-headerSize)) //nolint:gosec // bounded by maxMessage
	if _, err := l.w.Write(frame); err != nil || holdBack {
		return err
	}
	return l.w.Flush()
}

// sendPiece sends a piece that stands in buffer behind room for the header. The
// caller has taken a credit for it.
func (l *link) sendPiece(buffer *[headerSize + pieceSize]byte, n int, holdBack bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.write(buffer[:headerSize+n], pieceFrame, holdBack)
	if err != nil {
		l.close(err)
	}
	return err
}

// taken says that a piece was used, which makes room for others. It is called
// for the end too.
func (l *link) taken(p piece) error {
	if p.end == nil {
		l.pool.Put(p.buffer)
		l.owed++
	}
	if l.owed == 0 || l.owed < window/2 && p.end == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	frame := []byte{0, 0, 0, 0, byte(l.owed)}
	l.owed = 0
	if err := l.write(frame, creditFrame, false); err != nil {
		l.close(err)
		return err
	}
	return nil
}

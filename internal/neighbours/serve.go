package neighbours

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"time"
)

// A connection begins with a text, the caller's Here, and signSame or signOther, after
// which it ends. Then, any number of times: a text, the path; signHeld; signDone. A text is
// its length in two bytes, the greater first, and its bytes.
const (
	signOther = 'o'
	signSame  = 's'
	signHeld  = 'h' // from now on, until signDone or the end of the connection
	signDone  = 'd'
)

// Serve does what another gateway asks for on c, until that ends. It closes c.
func (g *Group) Serve(c net.Conn) {
	err := errors.Join(g.serve(c), c.Close())
	g.cfg.Logger.Debug("another gateway of this host is gone", "error", err)
}

func (g *Group) serve(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	here, err := readText(c)
	if err != nil {
		return err
	}
	if here != g.cfg.Here {
		_, err := c.Write([]byte{signOther})
		return err
	}
	if _, err := c.Write([]byte{signSame}); err != nil {
		return err
	}
	for {
		if err := c.SetDeadline(time.Time{}); err != nil {
			return err
		}
		path, err := readText(c)
		if err != nil {
			return err
		}
		if err := g.letGo(c, path); err != nil {
			return err
		}
	}
}

// letGo lets go of a path until the other end says that it is done, or does not.
func (g *Group) letGo(c net.Conn, path string) error {
	done := g.cfg.LetGo(path)
	defer done()
	if err := c.SetDeadline(time.Now().Add(holdTime)); err != nil {
		return err
	}
	if _, err := c.Write([]byte{signHeld}); err != nil {
		return err
	}
	return readSign(c, signDone)
}

func writeText(w io.Writer, text string) error {
	if len(text) > math.MaxUint16 {
		return fmt.Errorf("a path of %d bytes", len(text))
	}
	b := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(text)), uint16(len(text))) //nolint:gosec // looked at above
	_, err := w.Write(append(b, text...))
	return err
}

func readText(r io.Reader) (string, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return "", err
	}
	text := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, text)
	return string(text), err
}

func readSign(r io.Reader, want byte) error {
	var sign [1]byte
	if _, err := io.ReadFull(r, sign[:]); err != nil {
		return err
	}
	if sign[0] != want {
		return fmt.Errorf("a neighbour says %#x, and not %#x", sign[0], want)
	}
	return nil
}

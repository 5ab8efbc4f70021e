package drive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/shoal-storage/shoal/erasure/register"
)

// The log of what other drives may have missed is a key of its own for each register that is
// pending: it is set with every state of that, in the same batch, and removed when it is told
// that every drive has the state.

// settled has a Batch say that a register is pending no more, if it is.
func (d *Drive) settled(b *Batch, k *keyed, made register.Token) error {
	name := pendingName(k.name, made)
	_, found, err := d.kv.Get(name)
	if found {
		b.Remove(name)
	}
	return err
}

// Pending returns registers that are pending in the order of their places, each an item of the
// page that is named by its place. It fails with register.ErrNoLog where not all of them are
// known; with Every it returns others as well, and does not.
func (d *Drive) Pending(ctx context.Context, q register.PendingQuery) (page register.ScanPage, err error) {
	if err := d.enter(nil); err != nil {
		return page, err
	}
	defer d.leave(nil)
	first := byte(pendingKey)
	if q.Every {
		first = entryKey
	} else if !d.logging.complete.Load() {
		return page, register.ErrNoLog
	}
	prefix := []byte{first}
	if q.Space != 0 {
		prefix = append(prefix, byte(q.Space))
	}
	from := append([]byte{first}, q.From...)
	if bytes.Compare(from, prefix) <= 0 {
		from = append(prefix, 0) // not what stands for all
	}
	it, err := d.kv.Scan(from, after(prefix))
	if err != nil {
		return page, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for it.Next() {
		if len(page.Items) == q.Limit {
			page.More = true
			break
		}
		place := bytes.Clone(it.Key()[1:])
		e, found, err := d.at(place)
		if err != nil {
			return register.ScanPage{}, err
		}
		if found { // it is not forgotten meanwhile
			page.Items = append(page.Items, register.ScanItem{Name: string(place), View: register.View{Entries: []register.Entry{e}}})
		}
	}
	if err := d.durable(from[1:], []byte{0xff}); err != nil {
		return register.ScanPage{}, err
	}
	return page, context.Cause(ctx)
}

// at returns the entry of the register at a place.
func (d *Drive) at(place []byte) (e register.Entry, found bool, err error) {
	b, found, err := d.kv.Get(append([]byte{entryKey}, place...))
	if err != nil || !found {
		return e, false, err
	}
	if e, err = register.DecodeEntry(b); err != nil {
		return e, false, fmt.Errorf("register at %x: %w", place, err)
	}
	return e, true, nil
}

// logging is how far the log of a drive is that was made before there was one.
type logging struct {
	complete atomic.Bool
	from     []byte // the name of the first entry that is not looked at
}

// logPiece is how many registers are made pending at a time.
const logPiece = 1000

// StartLog has the drive go on as it was closed, and tell which registers are pending. Where it has never done so that is
// all that it holds: it takes note of many in the background, and tells nothing until then. It
// is called before anything else.
func (d *Drive) StartLog() error {
	if err := d.recall(); err != nil {
		return err
	}
	_, found, err := d.kv.Get([]byte{pendingKey})
	if err != nil {
		return err
	}
	if found {
		d.logging.complete.Store(true)
		return nil
	}
	d.logging.from = []byte{entryKey}
	more, err := d.logMore()
	if err == nil && more {
		go d.logRest()
	}
	return err
}

// logRest makes the rest of the registers pending, unless the drive is closed or fails: then it
// begins anew when it is opened again.
func (d *Drive) logRest() {
	for more := true; more; {
		if d.enter(nil) != nil {
			return
		}
		var err error
		more, err = d.logMore()
		d.leave(nil)
		if err != nil {
			return
		}
	}
}

// logMore makes some registers pending, and reports whether there are more.
func (d *Drive) logMore() (more bool, err error) {
	it, err := d.kv.Scan(d.logging.from, []byte{entryKey + 1})
	if err != nil {
		return false, err
	}
	var places [][]byte
	for len(places) < logPiece && it.Next() {
		places = append(places, bytes.Clone(it.Key()[1:]))
	}
	if err := it.Close(); err != nil {
		return false, err
	}
	for _, place := range places {
		if err := d.logOne(place); err != nil {
			return false, err
		}
	}
	if len(places) == logPiece {
		d.logging.from = append([]byte{entryKey}, append(places[logPiece-1], 0)...)
		return true, nil
	}
	var b Batch
	b.Set([]byte{pendingKey}, nil)
	if err := d.kv.Apply(&b, true); err != nil {
		return false, err
	}
	d.logging.complete.Store(true)
	return false, nil
}

// logOne makes the register at a place pending, if it is still there.
func (d *Drive) logOne(place []byte) error {
	key, _, err := register.DecodeKey(place)
	if err != nil {
		return err
	}
	defer d.stripe(key.Append(nil)).lock()()
	if _, found, err := d.kv.Get(append([]byte{entryKey}, place...)); err != nil || !found {
		return err
	}
	var b Batch
	b.Set(append([]byte{pendingKey}, place...), nil)
	return d.kv.Apply(&b, false)
}

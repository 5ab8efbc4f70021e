// Package shard turns contents into shards and back: k with the content and m from which
// any k give it again, each in units that say themselves whose they are and whether they
// are whole. The format is in DESIGN.md.
package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/reedsolomon"
	"github.com/zeebo/xxh3"
)

// The measures of the format, in bytes. They are stored with nothing and must not change.
const (
	UnitSize    = 64 << 10               // of a unit that is not the last one of its shard
	trailerSize = 64                     // of what is behind the content of a unit
	UnitData    = UnitSize - trailerSize // content of such a unit
	cellUnits   = 4                      // units of a cell
	CellData    = cellUnits * UnitData   // content of a cell
	MaxShards   = 16                     // of one content
	formatUnits = 1                      // version of the trailer
)

// ID names a content.
type ID [16]byte

// Geometry says into how many shards a content is cut.
type Geometry struct {
	K int // that have the content
	M int // that can stand in for others
}

// N returns how many shards there are.
func (g Geometry) N() int { return g.K + g.M }

// Validate returns an error for what no content can be cut into.
func (g Geometry) Validate() error {
	if g.K < 1 || g.M < 0 || g.N() > MaxShards {
		return fmt.Errorf("shard: %d shards and %d more are not possible", g.K, g.M)
	}
	return nil
}

func (g Geometry) stripe() int64 { return int64(g.K) * CellData }

// lastCell returns how long the cells of a last stripe with so much content are.
func (g Geometry) lastCell(content int64) int64 {
	return (content + int64(g.K) - 1) / int64(g.K)
}

// dataLen returns how much content and padding each shard has of a content of size bytes.
func (g Geometry) dataLen(size int64) int64 {
	full := size / g.stripe()
	n := full * CellData
	if rest := size % g.stripe(); rest > 0 {
		n += g.lastCell(rest)
	}
	return n
}

// Size returns how long each shard of a content of size bytes is.
func (g Geometry) Size(size int64) int64 {
	n := g.dataLen(size)
	full := n / UnitData
	if rest := n % UnitData; rest > 0 {
		return full*UnitSize + rest + trailerSize
	}
	return full * UnitSize
}

// ErrDamaged is returned for a unit that is not what it should be.
var ErrDamaged = errors.New("shard: damaged unit")

// seal makes a unit whole whose content is there: it writes the trailer, in the room behind it.
//
//	0 checksum 8 | 8 content's ID 16 | 24 shard 1 | 25 version 1 | 26 zero 2 | 28 unit 4 | 32 length 4 | 36 zero 28
func seal(unit []byte, id ID, shard int, number int64) {
	content, t := unit[:len(unit)-trailerSize], unit[len(unit)-trailerSize:]
	clear(t)
	copy(t[8:], id[:])
	t[24], t[25] = byte(shard), formatUnits
	binary.LittleEndian.PutUint32(t[28:], uint32(number))       //nolint:gosec // below 2^32: 5 TiB have less
	binary.LittleEndian.PutUint32(t[32:], uint32(len(content))) //nolint:gosec // below UnitSize
	binary.LittleEndian.PutUint64(t, checksum(content, t))
}

// checksum covers the content of a unit and its trailer behind the checksum.
func checksum(content, trailer []byte) uint64 {
	return xxh3.HashSeed(content, xxh3.Hash(trailer[8:trailerSize]))
}

// open returns the content of a unit, which must be that one.
func open(unit []byte, id ID, shard int, number int64) ([]byte, error) {
	if len(unit) < trailerSize {
		return nil, ErrDamaged
	}
	content, t := unit[:len(unit)-trailerSize], unit[len(unit)-trailerSize:]
	if ID(t[8:24]) != id || int(t[24]) != shard || t[25] != formatUnits ||
		int64(binary.LittleEndian.Uint32(t[28:])) != number || int(binary.LittleEndian.Uint32(t[32:])) != len(content) ||
		binary.LittleEndian.Uint64(t) != checksum(content, t) {
		return nil, ErrDamaged
	}
	return content, nil
}

// Whole returns an error unless what is given are whole units of one shard of a content, one
// behind the other from a number on, as they are up to the end of the shard.
func Whole(id ID, number int64, units []byte) error {
	for first := -1; len(units) > 0; number++ {
		unit := units[:min(len(units), UnitSize)]
		if len(unit) < trailerSize {
			return ErrDamaged
		}
		shard := int(unit[len(unit)-trailerSize+24])
		if first < 0 {
			first = shard
		}
		if _, err := open(unit, id, first, number); err != nil {
			return err
		}
		units = units[len(unit):]
	}
	return nil
}

// Codec makes shards of one geometry. It may be used concurrently.
type Codec struct {
	Geometry
	rs    reedsolomon.Encoder // nil without redundancy
	cells sync.Pool           // of *[cellSize]byte
}

// cellSize is the length of a cell with its trailers, in bytes.
const cellSize = cellUnits * UnitSize

func (c *Codec) cell() []byte {
	if b, ok := c.cells.Get().(*[cellSize]byte); ok {
		return b[:]
	}
	return make([]byte, cellSize)
}

// giveBack gives back what cell returned, and nothing that is smaller.
func (c *Codec) giveBack(b []byte) {
	if cap(b) == cellSize {
		c.cells.Put((*[cellSize]byte)(b[:cellSize]))
	}
}

// NewCodec returns a Codec.
func NewCodec(g Geometry) (*Codec, error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	c := &Codec{Geometry: g}
	if g.M > 0 {
		rs, err := reedsolomon.New(g.K, g.M, reedsolomon.WithMaxGoroutines(1), reedsolomon.WithInversionCache(true))
		if err != nil {
			return nil, fmt.Errorf("shard: %w", err)
		}
		c.rs = rs
	}
	return c, nil
}

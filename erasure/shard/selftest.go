package shard

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/xxh3"
)

// errComputes says that this machine, or a library, computes something else than those before.
var errComputes = errors.New("shard: this machine computes other shards than it should: its processor or memory is faulty, or this program was built wrongly")

// SelfTest cuts a known content as some geometries do and makes it whole again without the first
// shards, and returns an error if anything comes out other than it always has: what was
// written so could not be read elsewhere.
func SelfTest() error {
	for g, want := range map[Geometry]uint64{
		{K: 1, M: 1}:  0xe5e5402140f38536,
		{K: 2, M: 2}:  0xa3fcf4e5942d37bd,
		{K: 4, M: 2}:  0x206bce3c4dc0eb88,
		{K: 8, M: 8}:  0x0a1ce8a024996942,
		{K: 12, M: 4}: 0x616b123059ca9315,
	} {
		if err := g.selfTest(want); err != nil {
			return fmt.Errorf("%w: %d+%d: %w", errComputes, g.K, g.M, err)
		}
	}
	return nil
}

// selfTest is SelfTest of one geometry, whose shards have one checksum together.
func (g Geometry) selfTest(want uint64) error {
	content := make([]byte, 3*UnitData+12345)
	for i, x := 0, uint32(1); i < len(content); i++ {
		x = x*1664525 + 1013904223
		content[i] = byte(x >> 24)
	}
	c, err := NewCodec(g)
	if err != nil {
		return err
	}
	shards, sinks := make([]bytes.Buffer, g.N()), make([]io.Writer, g.N())
	for i := range shards {
		sinks[i] = &shards[i]
	}
	id := ID{1, 2, 3}
	w := c.NewWriter(id, int64(len(content)), sinks, g.N())
	if _, err := w.Write(content); err != nil {
		return err
	}
	if _, err := w.Close(); err != nil {
		return err
	}
	sum := xxh3.New()
	given := make([][]byte, g.N())
	for i := range shards {
		_, _ = sum.Write(shards[i].Bytes()) // it never fails
		if i >= g.M {
			given[i] = shards[i].Bytes()
		}
	}
	if got := sum.Sum64(); got != want {
		return fmt.Errorf("the checksum of the shards is %#x, not %#x", got, want)
	}
	got, err := c.Join(id, int64(len(content)), given)
	if err == nil && !bytes.Equal(got, content) {
		err = errors.New("the content does not come back")
	}
	return err
}

//go:build !purego

package md5lanes

// width is how many streams are summed at a time at most.
const width = 3

// blocks2 adds as many blocks of 64 bytes to the states of two streams, the first two.
//
//go:noescape
func blocks2(states *[width][4]uint32, data *[width]*byte, blocks int)

// blocks3 does so to those of three.
//
//go:noescape
func blocks3(states *[width][4]uint32, data *[width]*byte, blocks int)

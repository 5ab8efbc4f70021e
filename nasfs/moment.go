package nasfs

import (
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Times are kept as ns since 1970, which end in 2262 and begin in 1677. Before this was heeded,
// what lay beyond came around: 2300 was kept as 1716.

// firstFileTime is the earliest time that file systems of Linux have for a file: ext4 ends in
// 2446, and XFS 2^64 ns after this. So an earlier one of a stamp is one that came around.
const firstFileTime = -1 << 31 * int64(time.Second)

// fits reports whether a time has its own number of ns.
func fits(t time.Time) bool { return time.Unix(0, t.UnixNano()).Equal(t) }

// nanos returns a time as ns, the nearest there is if it has none.
func nanos(t time.Time) int64 {
	switch {
	case fits(t):
		return t.UnixNano()
	case t.Unix() < 0:
		return math.MinInt64
	}
	return math.MaxInt64
}

// around returns the time of ns that came around.
func around(ns int64) time.Time {
	return time.Unix(0, ns).Add(math.MaxInt64).Add(math.MaxInt64).Add(2).UTC()
}

// unixTime returns the time of a stamp or an ID.
func unixTime(ns int64) time.Time {
	if ns < firstFileTime {
		return around(ns)
	}
	return time.Unix(0, ns).UTC()
}

// fileNanos returns the time of a file as it is in stamps. They are on disk: what comes around
// in them stays so, but what would be taken for another time is the nearest that is not.
func fileNanos(t time.Time) int64 {
	switch last := unixTime(firstFileTime - 1); {
	case t.After(last):
		t = last
	case t.Unix() < 0 && !fits(t):
		return firstFileTime
	}
	return t.UnixNano()
}

// appendTime appends a time as ns and, where that is not it, as it is: who does not know the
// field reads the nearest time that there is.
func appendTime(b []byte, n, exact protowire.Number, t time.Time) []byte {
	b = protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), protowire.EncodeZigZag(nanos(t)))
	if fits(t) {
		return b
	}
	e := appendInt(nil, 1, protowire.EncodeZigZag(t.Unix()))
	e = appendInt(e, 2, uint64(t.Nanosecond())) //nolint:gosec // not negative
	return protowire.AppendBytes(protowire.AppendTag(b, exact, protowire.BytesType), e)
}

// exactTime is the inverse of appendTime for what does not fit.
func exactTime(b []byte) (time.Time, error) {
	var s, ns int64
	err := eachField(b, func(n protowire.Number, v uint64, _ []byte) error {
		switch n { //nolint:exhaustive // field numbers, not the constants of protowire
		case 1:
			s = protowire.DecodeZigZag(v)
		case 2:
			ns = int64(min(v, uint64(time.Second-1))) //nolint:gosec // bounded
		}
		return nil
	})
	return time.Unix(s, ns).UTC(), err
}

// retainedUntil returns the end of a retention by its ns. None was ever before 1970, since
// it has to lie ahead when it is given: that one came around.
func retainedUntil(ns int64) time.Time {
	if ns < 0 {
		return around(ns)
	}
	return time.Unix(0, ns).UTC()
}

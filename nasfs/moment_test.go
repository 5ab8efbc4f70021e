package nasfs

import (
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// moments are times at and beyond the ends of what ns can say.
func moments() []time.Time {
	return []time.Time{
		{},
		time.Date(1600, 1, 1, 0, 0, 0, 1, time.UTC), time.Unix(0, math.MinInt64), time.Unix(-1, 5), time.Unix(0, 0), time.Unix(0, math.MaxInt64),
		time.Unix(0, math.MaxInt64).Add(1), time.Date(2300, 1, 1, 0, 0, 0, 7, time.UTC), time.Date(2600, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), time.Unix(math.MaxInt64, 999999999), time.Unix(math.MinInt64, 0),
	}
}

func retained(until time.Time) *record {
	return &record{key: "k", modified: until.UTC(), meta: object.Meta{Retention: object.Retention{Mode: object.Compliance, Until: until.UTC()}}}
}

func TestATimeOfARecordComesBackHoweverFarOff(t *testing.T) {
	for _, at := range moments() {
		got, err := decodeRecord(retained(at).encode())
		if err != nil || !got.modified.Equal(at) {
			t.Errorf("modified %s: got %+v, %v", at, got, err)
		}
		if past := at.Unix() < 0 && fits(at); err == nil && !past && !got.meta.Retention.Until.Equal(at) {
			t.Errorf("retained until %s: got %s", at, got.meta.Retention.Until)
		}
	}
}

// TestProgramsFromBeforeReadTheNearestTimeThereIs: they know neither of the exact fields.
func TestProgramsFromBeforeReadTheNearestTimeThereIs(t *testing.T) {
	for at, want := range map[time.Time]int64{
		time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC): math.MaxInt64, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC): 4102444800e9,
		time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC): math.MinInt64,
	} {
		b, seen := retained(at).encode(), 0
		err := eachField(b[1:len(b)-4], func(n protowire.Number, v uint64, _ []byte) error {
			if n == fieldModified || n == fieldRetainUntil {
				seen++
				if got := protowire.DecodeZigZag(v); got != want {
					t.Errorf("field %d of %s is %d, want %d", n, at, got, want)
				}
			}
			return nil
		})
		if err != nil || seen != 2 {
			t.Errorf("%s: %d fields, %v", at, seen, err)
		}
	}
}

// TestARetentionThatWasKeptAsThePastHoldsAgain, as records from before have those from 2262 to 2554.
func TestARetentionThatWasKeptAsThePastHoldsAgain(t *testing.T) {
	until := time.Date(2300, 1, 1, 0, 0, 0, 7, time.UTC)
	b := appendInt([]byte{recordVersion}, fieldRetention, uint64(object.Compliance))
	b = appendInt(b, fieldRetainUntil, protowire.EncodeZigZag(until.UnixNano()))
	got, err := decodeRecord(seal(b))
	if err != nil || !got.meta.Retention.Until.Equal(until) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestTheTimeOfAFileIsShownAsItIs(t *testing.T) {
	last := time.Date(2486, 7, 2, 20, 20, 25, 709551615, time.UTC) // of XFS
	first := time.Date(1901, 12, 13, 20, 45, 52, 0, time.UTC)
	for at, want := range map[time.Time]time.Time{
		first: first, last: last, time.Unix(1, 2): time.Unix(1, 2), time.Unix(-1, 2): time.Unix(-1, 2),
		time.Date(2446, 5, 10, 22, 38, 55, 0, time.UTC): time.Date(2446, 5, 10, 22, 38, 55, 0, time.UTC),
		time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC):     last, time.Date(1000, 1, 1, 0, 0, 0, 0, time.UTC): first,
	} {
		if got := unixTime(stampOf(vfs.Stat{Mtime: at}).mtime); !got.Equal(want) {
			t.Errorf("%s is shown as %s, want %s", at, got, want)
		}
	}
}

// TestTheStampOfAFileStays: stamps are on disk.
func TestTheStampOfAFileStays(t *testing.T) {
	for _, at := range []time.Time{time.Unix(1<<31, 999), time.Unix(-1, 1), time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if got := fileNanos(at); got != at.UnixNano() {
			t.Errorf("%s is %d in a stamp, and was %d", at, got, at.UnixNano())
		}
	}
}

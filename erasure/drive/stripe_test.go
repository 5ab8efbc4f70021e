package drive

import (
	"context"
	"errors"
	"testing"

	"github.com/shoal-storage/shoal/erasure/register"
)

// visible is a store that shows a state before it is durable, as real ones do, and then waits for
// what becomes of it.
type visible struct {
	*Memory
	shown chan struct{}
	then  chan error
}

func (v *visible) Apply(b *Batch, sync bool) error {
	if err := v.Memory.Apply(b, sync); err != nil || !sync || v.shown == nil {
		return err
	}
	close(v.shown)
	return <-v.then
}

// Whoever asks while a state is made durable hears of it when it is, and an error where it
// cannot be: it may be gone after a power cut.
func TestNothingIsToldThatIsNotDurable(t *testing.T) {
	key := register.Key{Space: register.Objects, Bucket: 1, Name: "a/b"}
	asks := map[string]func(ctx context.Context, d *Drive) (entries int, err error){
		"read": func(ctx context.Context, d *Drive) (int, error) {
			v, err := d.Read(ctx, register.Query{Key: key})
			return len(v.Entries), err
		},
		"scan": func(ctx context.Context, d *Drive) (int, error) {
			p, err := d.Scan(ctx, register.ScanQuery{Space: key.Space, Bucket: 1, Limit: 1, Versions: true})
			return len(p.Items), err
		},
		"a common prefix": func(ctx context.Context, d *Drive) (int, error) {
			p, err := d.Scan(ctx, register.ScanQuery{Space: key.Space, Bucket: 1, Limit: 1, Delimiter: "/"})
			return len(p.Items), err
		},
		"what is pending": func(ctx context.Context, d *Drive) (int, error) {
			p, err := d.Pending(ctx, register.PendingQuery{Limit: 1})
			return len(p.Items), err
		},
	}
	for name, ask := range asks {
		for what, becomes := range map[string]error{"durable": nil, "not durable": errDead} {
			t.Run(name+", "+what, func(t *testing.T) {
				kv := &visible{Memory: NewMemory()}
				d := New(kv, NewMemoryFiles(), nil)
				if err := d.StartLog(); err != nil {
					t.Fatal(err)
				}
				kv.shown, kv.then = make(chan struct{}), make(chan error)
				committed := make(chan error)
				go func() {
					r := register.Record{Version: register.Null, Kind: register.Object, Made: register.Token{Minor: 1}, Changed: register.Token{Minor: 1}, Quorum: 1}
					committed <- d.Commit(t.Context(), register.Change{Key: key, Record: r})
				}()
				<-kv.shown
				type answer struct {
					entries int
					err     error
				}
				answers := make(chan answer, 1)
				go func() {
					n, err := ask(t.Context(), d)
					answers <- answer{n, err}
				}()
				select {
				case a := <-answers: // it has not waited
					t.Errorf("%d entries are told, %v", a.entries, a.err)
					kv.then <- becomes
				case kv.then <- becomes:
					if a := <-answers; (a.err == nil) != (becomes == nil) || becomes == nil && a.entries != 1 {
						t.Errorf("%d entries are told, %v", a.entries, a.err)
					}
				}
				if err := <-committed; !errors.Is(err, becomes) {
					t.Error(err)
				}
			})
		}
	}
}

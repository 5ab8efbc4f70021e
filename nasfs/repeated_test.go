package nasfs_test

import (
	"fmt"
	"maps"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// repeats is what a file server answers to a call that it has carried out before: the
// client has lost the first answer and asks again, and the server, which was
// restarted, has forgotten it.
func repeats() map[vfs.Op]syscall.Errno {
	return map[vfs.Op]syscall.Errno{
		vfs.OpRename: syscall.ENOENT, vfs.OpRemove: syscall.ENOENT, vfs.OpRmdir: syscall.ENOENT,
		vfs.OpLink: syscall.EEXIST, vfs.OpMkdir: syscall.EEXIST,
	}
}

// repeatNth has the n-th call that changes names be made twice, and returns what
// ends that and tells which it was.
func repeatNth(fault *vfs.Fault, n int) (stop func() (call string, reached bool)) {
	made, which := 0, ""
	remove := fault.InjectAfter(func(c vfs.OpCall) error {
		errno, changes := repeats()[c.Op]
		if !changes {
			return nil
		}
		if made++; made != n {
			return nil
		}
		which = fmt.Sprintf("%v %q", c.Op, c.Path)
		return &injected{errno}
	})
	return func() (string, bool) {
		remove()
		return which, made >= n
	}
}

// TestACallThatWasMadeTwiceIsTakenForDone has the answer to each call of each
// operation that changes names be that to a repetition.
func TestACallThatWasMadeTwiceIsTakenForDone(t *testing.T) {
	t.Parallel()
	for _, metadata := range []nasfs.MetadataMode{nasfs.Xattr, nasfs.Sidecar} {
		for name, op := range operations() {
			t.Run(metadata.String()+" "+name, func(t *testing.T) {
				t.Parallel()
				_, after, _ := outcomes(t, metadata, op)
				for n, reached := 1, true; reached; n++ {
					_, fault, sc := stagedScene(t, metadata)
					stop := repeatNth(fault, n)
					err := op(t.Context(), sc)
					nasfs.Quiesce(sc.Store)
					var call string
					if call, reached = stop(); err != nil {
						t.Errorf("%s, made twice: %v", call, err)
					} else if seen := mustDump(t, sc.Store); !maps.Equal(seen, after) {
						t.Errorf("%s, made twice: %s", call, difference(seen, after, after))
					}
				}
			})
		}
	}
}

// TestACallOfAFleetThatWasMadeTwiceIsTakenForDone: what is missing is not missing
// because the session was ended.
func TestACallOfAFleetThatWasMadeTwiceIsTakenForDone(t *testing.T) {
	t.Parallel()
	for name, change := range changes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := threeOn(t, "memory")
			must(t, change(t.Context(), setStage(t, w)))
			after := everything(t, w.gateways[1])
			for n, reached := 1, true; reached; n++ {
				w := threeOn(t, "memory")
				s := setStage(t, w)
				w.swept() // or a sweep makes the call
				stop := repeatNth(w.faults[0], n)
				err := change(t.Context(), s)
				var call string
				if call, reached = stop(); err != nil {
					t.Errorf("%s, made twice: %v", call, err)
				} else if seen := everything(t, w.gateways[1]); !maps.Equal(seen, after) {
					t.Errorf("%s, made twice: %s", call, difference(seen, after, after))
				}
			}
		})
	}
}

// TestAChangeOfVersionsThatWasMadeTwiceIsTakenForDone is that for versions.
func TestAChangeOfVersionsThatWasMadeTwiceIsTakenForDone(t *testing.T) {
	t.Parallel()
	for _, part := range []int{whole, 1} {
		for name, edition := range editions() {
			t.Run(fmt.Sprint(name, " ", part), func(t *testing.T) {
				t.Parallel()
				w := threeSplit(t, "memory", part)
				must(t, edition.change(t.Context(), edit(t, w.gateways[0], edition.prepare)))
				after := mustTell(t, w.gateways[1])
				for n, reached := 1, true; reached; n++ {
					w := threeSplit(t, "memory", part)
					e := edit(t, w.gateways[0], edition.prepare)
					stop := repeatNth(w.faults[0], n)
					err := edition.change(t.Context(), e)
					var call string
					if call, reached = stop(); err != nil {
						t.Errorf("%s, made twice: %v", call, err)
					} else if seen := mustTell(t, w.gateways[1]); !maps.Equal(seen, after) {
						t.Errorf("%s, made twice: %s", call, difference(seen, after, after))
					}
				}
			})
		}
	}
}

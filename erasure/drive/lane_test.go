package drive

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// TestADriveThatHangsIsAskedNothingUntilItAnswers has the reads of a disk hang. What is
// written goes on meanwhile, and nobody is let in to wait once it is certain.
func TestADriveThatHangsIsAskedNothingUntilItAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fault := vfs.NewFault(vfs.NewMemory().Root())
		files, err := OpenFiles(fault.Root())
		if err != nil {
			t.Fatal(err)
		}
		d := New(NewMemory(), files, nil)
		defer d.Close()
		write := func(id register.DataID) {
			t.Helper()
			w, err := d.Create(t.Context(), id, 0)
			if err == nil {
				_, err = w.Write(make([]byte, 2*maxInline))
			}
			if err == nil {
				err = w.Finish()
			}
			if err != nil {
				t.Error(err)
			}
		}
		read := func() error {
			_, err := d.ReadShard(t.Context(), register.DataID{1}, 0, make([]byte, 100))
			return err
		}
		write(register.DataID{1})
		hang := fault.Hang(func(c vfs.OpCall) bool { return c.Op == vfs.OpOpen })
		first := make(chan error, 1)
		go func() { first <- read() }()
		time.Sleep(hungAfter)
		if d.Hangs() {
			t.Error("it is given up too early")
		}
		time.Sleep(time.Second)
		if err := read(); !d.Hangs() || !errors.Is(err, register.ErrUnknown) {
			t.Errorf("a read: %v", err)
		}
		write(register.DataID{2})
		hang.Release()
		if err := <-first; err != nil {
			t.Errorf("the read that hung: %v", err)
		}
		if err := read(); d.Hangs() || err != nil {
			t.Errorf("a read of a disk that is well again: %v", err)
		}
	})
}

package accept

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestAServerOutlivesThatItHasNoFilesForConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(e syscall.Errno) error {
			return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", e)}
		}
		end := fmt.Errorf("it ends: %w", net.ErrClosed)
		script := []error{at(syscall.EMFILE), at(syscall.EMFILE), at(syscall.ENFILE), at(syscall.ECONNABORTED), nil, at(syscall.ENOMEM), end}
		var told []error
		next := func() (string, error) {
			return Next(func() (string, error) {
				err := script[0]
				script = script[1:]
				return "connection", err
			}, func(err error) { told = append(told, err) })
		}
		begun := time.Now()
		if c, err := next(); c != "connection" || err != nil {
			t.Errorf("it gets %q, %v", c, err)
		}
		if took := time.Since(begun); took != 7*firstWait {
			t.Errorf("it waits %v for three errors", took)
		}
		if _, err := next(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the end is %v", err)
		}
		if want := []error{at(syscall.EMFILE), at(syscall.EMFILE), at(syscall.ENFILE), at(syscall.ENOMEM)}; !slices.EqualFunc(told, want, func(a, b error) bool { return a.Error() == b.Error() }) {
			t.Errorf("told %v", told)
		}
	})
	if _, err := Next(func() (net.Conn, error) { return nil, io.ErrUnexpectedEOF }, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("another error comes back as %v", err)
	}
}

func TestHowManyFilesThereMayBeIsKnown(t *testing.T) {
	if n := Files(); n < 16 {
		t.Errorf("%d", n)
	}
}

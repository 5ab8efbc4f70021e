package timerslack

import (
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// tried is the variable by which a program knows that Widen has executed it: where the slack
// gets lost in that, it goes on without.
const tried = "SHOAL_TIMER_SLACK_TRIED"

// Widen lets all threads of this process sleep by as much longer as slack than they ask for.
// What is made anew inherits that from the thread that makes it, and the one of the Go runtime
// that sleeps most is there before anything of the program runs. So Widen has the program
// executed once more, as the same process, with its arguments and its environment, and does
// not return if it can do that. It is to be the first call of main.
//
// It changes nothing where the process has as much slack or more, or the system has none.
func Widen(slack time.Duration) {
	if os.Getenv(tried) != "" {
		_ = os.Unsetenv(tried) // it is no setting of the program's, nor of those that it starts
		return
	}
	runtime.LockOSThread() // the thread that executes it is the one whose slack counts
	defer runtime.UnlockOSThread()
	if now, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || time.Duration(now) >= slack {
		return
	}
	program, err := os.Executable()
	if err != nil || unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack.Nanoseconds()), 0, 0, 0) != nil {
		return
	}
	_ = unix.Exec(program, os.Args, append(os.Environ(), tried+"=1")) // it is served without as well
}

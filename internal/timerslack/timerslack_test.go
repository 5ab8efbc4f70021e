//go:build linux

package timerslack_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/timerslack"
)

const slack = 300 * time.Microsecond

// TestMain is, where a test has started it for that, a program that widens its slack and tells
// how it was started and what slack its threads have.
func TestMain(m *testing.M) {
	if os.Getenv("WIDENS") == "" {
		os.Exit(m.Run())
	}
	timerslack.Widen(slack)
	threads, err := filepath.Glob("/proc/self/task/*")
	fmt.Println(os.Getpid(), os.Args[1:], err)
	for _, name := range os.Environ() {
		if strings.HasPrefix(name, "SHOAL_") {
			fmt.Println(name)
		}
	}
	for _, thread := range threads {
		b, err := os.ReadFile("/proc/" + filepath.Base(thread) + "/timerslack_ns")
		fmt.Println("slack", strings.TrimSpace(string(b)), err)
	}
}

// widen runs that program and returns what it tells.
func widen(t *testing.T, environment ...string) (pid int, lines []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "an argument", "-another")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SHOAL_") }), append(environment, "WIDENS=1")...)
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.ENOEXEC) {
		t.Skip("the kernel runs no programs of this processor")
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return cmd.Process.Pid, strings.Split(strings.TrimSpace(string(out)), "\n")
}

func TestEveryThreadHasTheSlackAndTheProgramIsTheSame(t *testing.T) {
	pid, lines := widen(t)
	if want := fmt.Sprint(pid, []string{"an argument", "-another"}, nil); lines[0] != want {
		t.Errorf("it tells %q, want %q", lines[0], want)
	}
	if len(lines) < 3 {
		t.Fatalf("a program of Go has two threads or more: %q", lines)
	}
	for _, line := range lines[1:] {
		if strings.HasSuffix(line, "operation not permitted") {
			t.Skip("the slack of other threads is for root to see")
		}
		if want := fmt.Sprint("slack ", slack.Nanoseconds(), " <nil>"); line != want {
			t.Errorf("it tells %q, want %q", line, want)
		}
	}
}

func TestAProgramWhoseSlackGetsLostIsNotExecutedForEver(t *testing.T) {
	_, lines := widen(t, "SHOAL_TIMER_SLACK_TRIED=1")
	told := strings.Join(lines, " ")
	if len(lines) < 2 || strings.Contains(told, "SHOAL_") || strings.Contains(told, fmt.Sprint("slack ", slack.Nanoseconds())) {
		t.Errorf("it tells %q", lines)
	}
}

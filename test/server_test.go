// Package test runs the real shoal binary and real clients against it. It knows
// the product only from outside.
//
// Tests that mainly wait, for fences, retries or a client, are parallel. A test has the
// machine for itself that measures (memory, speed, limits), that has to do much within a time, or that
// uses what there is once: a file server, a device, the umask, ports that others may take.
package test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	user     = "tester"
	password = "secret/with+odd=chars"
	region   = "us-east-1"
)

// full reports whether the long way was asked for.
func full() bool { return os.Getenv("SHOAL_TEST_MODE") == "full" }

// binary returns the program under test.
func binary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("SHOAL_TEST_BINARY"); path != "" {
		return path
	}
	path, err := filepath.Abs("../bin/shoal")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: make build makes it", err)
	}
	return path
}

// server is a running shoal.
type server struct {
	url     string
	dir     string // what it serves
	at      place
	flags   []string // further ones
	env     []string // further variables, which stand for those of serverEnv too
	cmd     *exec.Cmd
	logPath string
	code    int           // that it is to exit with
	exited  chan struct{} // closed when the process has ended
	ending  bool          // it has been told to end
}

// start starts shoal over a new directory, with further flags.
func start(t *testing.T, flags ...string) *server {
	t.Helper()
	return startOn(t, t.TempDir(), flags...)
}

// startOn starts shoal over dir on a free port. When the test is over the
// server is stopped as a service manager does it.
func startOn(t *testing.T, dir string, flags ...string) *server {
	t.Helper()
	return startAt(t, place{host: "127.0.0.1"}, dir, flags...)
}

// startAt is startOn on a certain host.
func startAt(t *testing.T, at place, dir string, flags ...string) *server {
	t.Helper()
	return startWith(t, nil, at, dir, flags...)
}

// startWith is startAt with further variables.
func startWith(t *testing.T, env []string, at place, dir string, flags ...string) *server {
	t.Helper()
	s := launch(t, env, at, dir, flags...)
	s.waitReady(t)
	return s
}

// launch is startWith without waiting until the server is ready.
func launch(t *testing.T, env []string, at place, dir string, flags ...string) *server {
	t.Helper()
	home := t.TempDir()
	s := &server{dir: dir, at: at, flags: flags, env: env, logPath: filepath.Join(home, "log"), exited: make(chan struct{})}
	log, err := os.Create(s.logPath)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	args := append([]string{"server", "--address", at.host + ":0", "--quiet", "--state-dir", filepath.Join(home, "state")}, flags...)
	s.cmd = at.command(append(append([]string{binary(t)}, args...), dir)...)
	s.cmd.Env = append(serverEnv(home), env...)
	s.cmd.Stderr = log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait() // the state of the process says how it ended
		close(s.exited)
	}()
	t.Cleanup(func() {
		s.stop(t)
		s.complain(t)
	})
	return s
}

// again starts another server as this one was started.
func (s *server) again(t *testing.T) *server {
	t.Helper()
	return startWith(t, s.env, s.at, s.dir, s.flags...)
}

// complain shows what a server of a test that has failed said, but for requests
// that were served.
func (s *server) complain(t *testing.T) {
	t.Helper()
	if !t.Failed() {
		return
	}
	for _, line := range s.lines(t) {
		if line["msg"] != "access" && line["msg"] != "request failed" {
			t.Log(line["text"])
		}
	}
}

// serverEnv is all that a server knows of this machine.
func serverEnv(home string) []string {
	return []string{"SHOAL_ROOT_USER=" + user, "SHOAL_ROOT_PASSWORD=" + password, "HOME=" + home}
}

// waitReady learns the address from the log and waits for the readiness check.
func (s *server) waitReady(t *testing.T) {
	t.Helper()
	eventually(t, "shoal is ready", func() bool {
		select {
		case <-s.exited:
			t.Fatalf("shoal ended at its start: %v\n%s", s.cmd.ProcessState, s.log(t))
		default:
		}
		if s.url == "" {
			s.url = s.address(t)
		}
		return s.url != "" && s.probe("/minio/health/ready") == http.StatusOK
	})
}

// address returns the URL that the log tells, "" if it tells none yet.
func (s *server) address(t *testing.T) string {
	t.Helper()
	scheme := "http://"
	if strings.Contains(strings.Join(s.cmd.Args, " "), "--certs-dir") {
		scheme = "https://"
	}
	for _, line := range s.lines(t) {
		if address, ok := line["address"].(string); ok && line["msg"] == "serving" {
			return scheme + address
		}
		_, address, ok := strings.Cut(line["text"].(string), "msg=serving address=")
		if address, _, _ = strings.Cut(address, " "); ok {
			return scheme + address
		}
	}
	return ""
}

// probe asks for a page on a connection of its own and returns the status, 0 if
// there was no answer.
func (s *server) probe(path string) int {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	resp, err := client.Get(s.url + path)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// log returns all that the server has logged.
func (s *server) log(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(s.logPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// lines returns the log's whole lines, each with its "text", and the fields of
// those that are JSON.
func (s *server) lines(t *testing.T) []map[string]any {
	t.Helper()
	var lines []map[string]any
	whole := s.log(t)
	whole = whole[:strings.LastIndexByte(whole, '\n')+1]
	for scanner := bufio.NewScanner(strings.NewReader(whole)); scanner.Scan(); {
		line := map[string]any{}
		_ = json.Unmarshal(scanner.Bytes(), &line) // a line of text leaves it empty
		line["text"] = scanner.Text()
		lines = append(lines, line)
	}
	return lines
}

// terminate asks the server to stop, once, and does not wait.
func (s *server) terminate(t *testing.T) {
	t.Helper()
	if s.ending {
		return
	}
	s.ending = true
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
}

// kill ends the server as a crash does.
func (s *server) kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.exited
}

// stop ends the server, unless it has been killed, and fails the test if it
// does not end well.
func (s *server) stop(t *testing.T) {
	t.Helper()
	s.terminate(t)
	select {
	case <-s.exited:
	case <-time.After(time.Minute):
		t.Error("shoal does not stop")
		s.kill(t)
	}
	status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if killed := ok && status.Signaled() && status.Signal() == syscall.SIGKILL; !killed && s.cmd.ProcessState.ExitCode() != s.code {
		t.Errorf("shoal ended with %v\n%s", s.cmd.ProcessState, tail(s.log(t)))
	}
	if strings.Contains(s.log(t), "panic") {
		t.Errorf("shoal panicked\n%s", s.log(t))
	}
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// shoal runs the program to its end and returns what it printed and its exit
// code.
func shoal(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, binary(t), args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

func tail(s string) string {
	if len(s) > 4000 {
		return "..." + s[len(s)-4000:]
	}
	return s
}

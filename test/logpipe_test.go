package test

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"syscall"
	"testing"
)

// As `shoal server 2>&1 | head` does: the process would be killed by the next line that it logs.
func TestAServerGoesOnWhenNobodyReadsItsLogAnyMore(t *testing.T) {
	home := t.TempDir()
	cmd := exec.Command(binary(t), "server", "--address", "127.0.0.1:0", "--single-gateway", "--state-dir", home, t.TempDir())
	cmd.Env = serverEnv(home)
	log, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	s := &server{}
	for lines := bufio.NewScanner(log); s.url == "" && lines.Scan(); {
		var line struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
			s.url = "http://" + line.Address
		}
	}
	must(t, log.Close())
	for range 3 {
		if status := s.probe("/bucket"); status != 404 { // there is no such bucket
			t.Errorf("a request that is logged: %d", status)
		}
	}
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends by %v", err)
	}
}

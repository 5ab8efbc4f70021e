package test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cli is a client that is a command, with what stands before all arguments and
// all that it knows of this machine.
type cli struct {
	path string
	args []string
	env  []string
	in   string // that it reads
}

// client returns a client that test/run has installed.
func client(t *testing.T, name string, env []string, args ...string) *cli {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing; test/run installs it", name)
	}
	return &cli{path: path, args: args, env: append(clientEnv(t), env...)}
}

// clientEnv is an environment without the settings of whoever runs the tests.
func clientEnv(t *testing.T) []string {
	t.Helper()
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LANG=C.UTF-8"}
}

// awsEnv gives credentials to the clients that read AWS_ variables.
func awsEnv() []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + user, "AWS_SECRET_ACCESS_KEY=" + password, "AWS_DEFAULT_REGION=" + region,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
	}
}

// run runs the client to its end and returns what it printed; it fails the test
// if the client does.
func (c *cli) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.try(t, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", c.path, strings.Join(args, " "), err, tail(out))
	}
	return out
}

// try runs the client to its end.
func (c *cli) try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, append(c.args, args...)...)
	cmd.Env = c.env
	if c.in != "" {
		cmd.Stdin = strings.NewReader(c.in)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// lastLine returns the last line of an output.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

func TestHealthAndStatusTellByTheirExitCodes(t *testing.T) {
	s := start(t)
	env := serverEnv(t.TempDir())
	if _, errOut, code := shoal(t, env, "health", s.url); code != 0 {
		t.Errorf("health of a gateway that serves: %d, %s", code, errOut)
	}
	out, errOut, code := shoal(t, append(env, "SHOAL_URL="+s.url), "status")
	if code != 0 || !strings.Contains(out, "leader") || !strings.Contains(out, "4096") {
		t.Errorf("status: %d, %s%s", code, out, errOut)
	}
	stranger := append(env, "SHOAL_ROOT_PASSWORD=another password")
	if _, errOut, code := shoal(t, stranger, "status", s.url); code != 1 || !strings.Contains(errOut, "credentials") {
		t.Errorf("status with other credentials: %d, %s", code, errOut)
	}
	s.kill(t)
	if _, errOut, code := shoal(t, env, "health", s.url); code != 3 || !strings.Contains(errOut, "cannot serve") {
		t.Errorf("health of a gateway that is gone: %d, %s", code, errOut)
	}
}

func TestDoctorLooksAtADirectory(t *testing.T) {
	env := serverEnv(t.TempDir())
	dir := t.TempDir()
	out, errOut, code := shoal(t, env, "doctor", "--quick", dir)
	if code != 0 && code != 3 || !strings.Contains(out, "atomic replace") || !strings.Contains(out, "commit latency") {
		t.Errorf("%d, %s%s", code, out, errOut)
	}
	out, _, _ = shoal(t, env, "doctor", "--quick", "--json", dir)
	var report struct {
		Findings []struct{ Check, Severity string }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || len(report.Findings) < 8 {
		t.Errorf("%v: %s", err, out)
	}
	if _, errOut, code := shoal(t, env, "doctor", filepath.Join(dir, "none")); code != 1 || !strings.Contains(errOut, "none") {
		t.Errorf("a directory that is not there: %d, %s", code, errOut)
	}
}

// What a gateway keeps on its host it can do without, but for a place to keep it.
func TestAStateDirectoryThatCannotBeUsedIsSaid(t *testing.T) {
	for name, dir := range map[string]string{"read-only": "/proc/shoal", "full": "/dev/full/shoal"} {
		t.Run(name, func(t *testing.T) {
			_, errOut, code := shoal(t, serverEnv(t.TempDir()), "server", "--address", "127.0.0.1:0", "--state-dir", dir, t.TempDir())
			if code == 0 || strings.Count(errOut, "\n") != 1 || !strings.Contains(errOut, "state directory") {
				t.Errorf("exit %d: %s", code, errOut)
			}
		})
	}
}

package test

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// diagnosis is a report of shoal doctor.
type diagnosis struct{ Findings []finding }

type finding struct{ Check, Severity, Found, Effect, Cure string }

// says returns the severity of what a check has found, "" if it was not made.
func (d diagnosis) says(check string) (severity, found string) {
	for _, f := range d.Findings {
		if f.Check == check {
			return f.Severity, f.Found
		}
	}
	return "", ""
}

// doctorAt runs the doctor on a mount, where it is mounted.
func doctorAt(t *testing.T, m mountOf, flags ...string) (d diagnosis, code int) {
	t.Helper()
	cmd := m.command(append(append([]string{binary(t), "doctor", "--json", "--quick"}, flags...), m.dir)...)
	cmd.Env = serverEnv(t.TempDir())
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, _ := cmd.Output() // its exit code says what became of it
	if err := json.Unmarshal(out, &d); err != nil {
		t.Errorf("the doctor on %s: %v: %s", m.dir, err, errOut.String())
	}
	return d, cmd.ProcessState.ExitCode()
}

// TestTwoDoctorsMeasureWhatOneCannot has two find each other by the tree.
func TestTwoDoctorsMeasureWhatOneCannot(t *testing.T) {
	mounts := mountsOfOneTree(t)
	var reports [2]diagnosis
	var codes [2]int
	var group sync.WaitGroup
	for i := range reports {
		group.Go(func() {
			reports[i], codes[i] = doctorAt(t, mounts[i%len(mounts)], "--pair", "--pair-wait", "50s", "--patience", "1s")
		})
	}
	group.Wait()
	for i, r := range reports {
		if codes[i] != 0 && codes[i] != 3 {
			t.Errorf("doctor %d: exit %d", i, codes[i])
		}
		checks := []string{"atomic replace", "two clients", "two clocks", "seen by the other host", "seen by this host", "plain on the other host", "plain on this host"}
		if _, found := r.says("mount"); found == "SMB" || found == "GlusterFS" {
			checks = slices.DeleteFunc(checks, func(c string) bool { return strings.HasPrefix(c, "seen") }) // such gateways route
		}
		for _, check := range checks {
			severity, found := r.says(check)
			if severity != "ok" && (severity != "info" || !strings.HasPrefix(check, "plain")) && check != "atomic replace" || severity == "" {
				t.Errorf("doctor %d, %s: %s %q", i, check, severity, found)
			}
			if remote := len(list("SHOAL_TEST_MOUNTS")) > 0; remote && strings.HasPrefix(check, "plain") && severity != "info" {
				t.Errorf("doctor %d, %s: %s: a mount where nothing is stale proves nothing", i, check, found)
			}
			t.Logf("doctor %d, %s: %s %s", i, check, severity, found)
		}
	}
}

// diagnosed is of what severity a check is to find something, what that says, and what
// would cure it.
type diagnosed struct{ severity, found, cure string }

// diagnoses are what the doctor is to find on the mounts of file servers with default
// options.
func diagnoses() map[string]map[string]diagnosed {
	common := map[string]diagnosed{
		"write": {"ok", "uid 0", ""}, "exclusive create": {"ok", "mkdir, O_EXCL: one winner", ""}, "hard links": {"ok", "one winner", ""}, "inode numbers": {"ok", "", ""},
		"file locks": {"ok", "", ""}, "upper and lower case": {"ok", "", ""}, "clock": {"ok", "", ""}, "space": {"ok", "free", ""},
	}
	of := func(own map[string]diagnosed) map[string]diagnosed {
		all := maps.Clone(common)
		maps.Copy(all, own)
		return all
	}
	return map[string]map[string]diagnosed{
		"nfs4": of(map[string]diagnosed{
			"mount": {"ok", "nfs4 from", ""}, "several gateways": {"ok", "asked before each look", ""}, "extended attributes": {"ok", "2048", ""}, "names": {"ok", "", ""},
		}),
		"nfs": of(map[string]diagnosed{
			"mount": {"info", "NFS version 3", "mount -t nfs -o vers=4.2,hard,proto=tcp,nconnect=8,noatime 10.99.0.1:/mnt/export /mnt/"}, "several gateways": {"ok", "clock", ""},
			"extended attributes": {"info", "there are none", "vers=4.2"}, "names": {"ok", "", ""},
		}),
		"cifs": of(map[string]diagnosed{
			"mount": {"warn", "SMB", "mount -t nfs -o vers=4.2,hard,proto=tcp,nconnect=8,noatime 10.99.0.1:/PATH-OF-SHARE /mnt/"}, "several gateways": {"info", "waits 2s", ""},
			"names": {"info", "", ""},
		}),
		"fuse.glusterfs": of(map[string]diagnosed{
			"mount": {"info", "GlusterFS", "--mount-stale"}, "several gateways": {"info", "waits 3s", ""}, "extended attributes": {"ok", "2048", ""}, "names": {"ok", "", ""},
		}),
	}
}

// TestDoctorsKnowTheMountsOfFileServers looks at one of a bed.
func TestDoctorsKnowTheMountsOfFileServers(t *testing.T) {
	if len(list("SHOAL_TEST_MOUNTS")) == 0 {
		t.Skip("needs mounts of a file server: make e2e-mounts")
	}
	m := mountsOfOneTree(t)[0]
	kind, _ := kindOf(t, list("SHOAL_TEST_MOUNTS")[0])
	d, code := doctorAt(t, m)
	for _, f := range d.Findings {
		t.Logf("%+v", f)
		if f.Severity == "bad" || f.Severity != "ok" && f.Effect == "" {
			t.Errorf("on %s, %s: %s, without an effect or bad", kind, f.Check, f.Found)
		}
	}
	for check, want := range diagnoses()[kind] {
		i := slices.IndexFunc(d.Findings, func(f finding) bool { return f.Check == check })
		if i < 0 {
			t.Errorf("on %s nothing is said of %s", kind, check)
			continue
		}
		if f := d.Findings[i]; f.Severity != want.severity || !strings.Contains(f.Found, want.found) || !strings.Contains(f.Cure, want.cure) {
			t.Errorf("on %s, %s: %+v, not %+v", kind, check, f, want)
		}
	}
	if warns := slices.ContainsFunc(d.Findings, func(f finding) bool { return f.Severity == "warn" }); (code == 3) != warns {
		t.Errorf("exit %d", code)
	}
}

func TestADoctorDoesNotWaitForEverForAnother(t *testing.T) {
	_, errOut, code := shoal(t, serverEnv(t.TempDir()), "doctor", "--quick", "--pair", "--pair-wait", "100ms", t.TempDir())
	if code != 1 || !strings.Contains(errOut, "nobody else") {
		t.Errorf("exit %d: %s", code, errOut)
	}
}

// TestTwoMountsOfOneHostAreRefused: an NFSv4 server takes them for one client, and
// does not tell the one what the other has done.
func TestTwoMountsOfOneHostAreRefused(t *testing.T) {
	again := list("SHOAL_TEST_READ_MOUNTS")
	if len(again) == 0 || len(callsOf(t, list("SHOAL_TEST_MOUNTS")[0])) == 0 {
		t.Skip("not on NFSv4")
	}
	m := mountsOfOneTree(t)[0]
	startAt(t, m.place, m.dir)
	second := m.command(binary(t), "server", "--address", m.host+":0", "--quiet", "--state-dir", t.TempDir(), filepath.Join(again[0], filepath.Base(m.dir)))
	second.Env = serverEnv(t.TempDir())
	out, _ := second.CombinedOutput() // its exit code says what became of it
	if code := second.ProcessState.ExitCode(); code != 4 || !strings.Contains(string(out), "nosharecache") {
		t.Errorf("exit %d: %s", code, tail(string(out)))
	}
}

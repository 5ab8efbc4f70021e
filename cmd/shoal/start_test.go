package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/erasure/cluster"
	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// code returns the exit code that an error leads to.
func code(t *testing.T, err error) int {
	t.Helper()
	var f *failure
	if !errors.As(err, &f) {
		t.Fatalf("%v is no failure", err)
	}
	if text := f.text(); strings.Contains(text, "\n") || !strings.HasPrefix(text, "shoal: ") {
		t.Errorf("not one line: %q", text)
	}
	return f.code
}

func testState(t *testing.T) *state {
	t.Helper()
	s, err := openState(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWithoutCredentialsOnlyThisMachineIsServed(t *testing.T) {
	state := testState(t)
	for _, address := range []string{":9000", "0.0.0.0:9000", "192.0.2.1:9000", "[::]:9000"} {
		f := serverFlags{address: address}
		if _, err := f.chooseAddress(credentials{}, state); code(t, err) != exitUnsafe {
			t.Errorf("%s: %v", address, err)
		}
	}
	elsewhere := serverFlags{address: ":9400"}
	var refused *failure
	if _, err := elsewhere.chooseAddress(credentials{}, state); !errors.As(err, &refused) || !strings.HasSuffix(refused.remedy, "--address 127.0.0.1:9400") {
		t.Errorf("the remedy is for another port: %+v", refused)
	}
	var f serverFlags
	made, err := f.chooseAddress(credentials{}, state)
	if err != nil || f.address != "127.0.0.1:9000" || len(made.password) < 20 {
		t.Fatalf("%+v, %s, %v", made, f.address, err)
	}
	if again, err := f.chooseAddress(credentials{}, state); err != nil || again.password != made.password {
		t.Errorf("another pair at the next start: %v", err)
	}
	info, err := os.Stat(filepath.Join(state.dir, ownCredentialsFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	given := serverFlags{}
	if _, err := given.chooseAddress(credentials{user: "admin", password: "long-enough"}, state); err != nil || given.address != ":9000" {
		t.Errorf("%s, %v", given.address, err)
	}
}

func TestTheRemedyFitsWhyAnAddressCannotBeListenedOn(t *testing.T) {
	for _, c := range []struct {
		why    syscall.Errno
		remedy string
	}{
		{syscall.EACCES, "CAP_NET_BIND_SERVICE"},
		{syscall.EADDRNOTAVAIL, "address of this host"},
		{syscall.EADDRINUSE, "stop what uses it"},
	} {
		err := &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", c.why)}
		if is := listenRemedy(err); !strings.Contains(is, c.remedy) {
			t.Errorf("%v: %s", c.why, is)
		}
	}
}

func TestAStateThatCannotBeWrittenNamesOneCause(t *testing.T) {
	state := testState(t)
	if err := os.RemoveAll(state.dir); err != nil {
		t.Fatal(err)
	}
	err := state.write("some", nil)
	if code(t, err) != exitFailed || strings.Contains(errors.Unwrap(err).Error(), "rename") {
		t.Errorf("%v: %v", err, errors.Unwrap(err))
	}
}

func TestTheHelpOfTheServerNamesItsVariables(t *testing.T) {
	help := newServerCommand().Long
	for _, name := range []string{
		"--certs-dir is SHOAL_CERTS_DIR", "SHOAL_VOLUMES", "SHOAL_ROOT_USER", "SHOAL_ROOT_PASSWORD", "_OLD", "_FILE", "SHOAL_CLUSTER_SECRET",
		"SHOAL_KMS_SECRET_KEY", "SHOAL_KMS_VAULT_TOKEN", "SHOAL_KMS_VAULT_ROLE_ID", "SHOAL_KMS_VAULT_SECRET_ID", ldapPassword,
	} {
		if !strings.Contains(help, name) {
			t.Errorf("%s is not in the help, which a misspelt variable is told to look at", name)
		}
	}
}

func TestATreeThatIsGoneIsTakenForAMissingMount(t *testing.T) {
	state, path := testState(t), t.TempDir()
	if err := state.checkMount(path); err != nil {
		t.Fatalf("a path that was never served: %v", err)
	}
	root, err := vfs.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	cfg := nasfs.DefaultConfig()
	cfg.Root = root
	store, err := nasfs.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.Close(), state.rememberMount(path), state.checkMount(path)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(path, ".shoal.sys")); err != nil {
		t.Fatal(err)
	}
	if err := state.checkMount(path); code(t, err) != exitUnsafe {
		t.Errorf("%v", err)
	}
}

func TestPathsThatCannotBeServedAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, file + ".none"} {
		if err := checkPath(path); code(t, err) != exitUnsafe {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, args := range [][]string{{"/a", "/a"}, {"/mnt/d{1..4}"}, {"/mnt/d{4...1}"}, {"/mnt/d{1...4"}, {"/d{1...9999999}"}, {"/"}, {"//"}, {"/mnt/.."}, {"/a", "/"}} {
		if _, err := directories(args); code(t, err) != exitUsage {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestPathsAreWrittenOut(t *testing.T) {
	for want, args := range map[string][]string{
		"[/mnt/x]":                      {"/mnt/x"},
		"[/a /b]":                       {"/a", "/b"},
		"[/d1 /d2 /d3 /d4]":             {"/d{1...4}"},
		"[/d09 /d10 /d11]":              {"/d{09...11}"},
		"[/n1/d1 /n1/d2 /n2/d1 /n2/d2]": {"/n{1...2}/d{1...2}"},
		"[/x1 /x2] [/y]":                {"/x{1...2}", "/y"},
	} {
		got, err := directories(args)
		var texts []string
		for _, pool := range got {
			texts = append(texts, fmt.Sprint(pool.drives))
		}
		if text := strings.Join(texts, " "); err != nil || text != want {
			t.Errorf("%v are %s, %v", args, text, err)
		}
	}
	got, err := new(serverFlags).served(nil, readEnvironment([]string{"MINIO_VOLUMES=/mnt/x /mnt/y"}))
	if err != nil || got.drives.what() != "2 drives, EC:1" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestValuesThatCannotBeMeantAreRefused(t *testing.T) {
	good := serverFlags{address: ":9000", metricsAuth: "jwt", maxRequests: 1, region: "r", mountMode: "auto"}
	good.serverURL, good.domain, good.corsOrigins = "https://s3.example.com", "s3.example.com,my_stack.", "https://a.example.com,*.b.example.com,null,*"
	if err := good.validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*serverFlags){
		"an address without port": func(f *serverFlags) { f.address = "nas" },
		"a port above all":        func(f *serverFlags) { f.address = "127.0.0.1:9999999" },
		"a port above any number": func(f *serverFlags) { f.address = ":99999999999999999999" },
		"a negative port":         func(f *serverFlags) { f.clusterAddress = ":-1" },
		"a console's port":        func(f *serverFlags) { f.consoleAddress = ":65536" },
		"another metrics auth":    func(f *serverFlags) { f.metricsAuth = "none" },
		"no requests":             func(f *serverFlags) { f.maxRequests = 0 },
		"no region":               func(f *serverFlags) { f.region = "" },
		"another mount mode":      func(f *serverFlags) { f.mountMode = "shared" },
		"a negative staleness":    func(f *serverFlags) { f.mountStale = -time.Second },
		"a negative drain":        func(f *serverFlags) { f.drain = -time.Second },
		"negative rounds":         func(f *serverFlags) { f.lifecycleInterval = -time.Second },
		"another port's address":  func(f *serverFlags) { f.clusterAddress = "nas" },
		"no URL":                  func(f *serverFlags) { f.serverURL = "s3.example.com" },
		"a URL for a domain":      func(f *serverFlags) { f.domain = "s3.example.com,http://s3.example.com" },
		"a port of a domain":      func(f *serverFlags) { f.websiteDomain = "web.example.com:9000" },
		"a host for an origin":    func(f *serverFlags) { f.corsOrigins = "https://a.example.com,b.example.com" },
	} {
		f := good
		change(&f)
		if err := f.validate(); code(t, err) != exitUsage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCommandLinesEndWithTheirCodes(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want int
	}{
		{[]string{"version"}, exitOK},
		{[]string{"--version"}, exitOK},
		{[]string{"server", "--help"}, exitOK},
		{[]string{"completion", "bash"}, exitOK},
		{[]string{"completion"}, exitOK},
		{[]string{"completion", "nonsense"}, exitUsage},
		{[]string{"help"}, exitOK},
		{[]string{"help", "admin", "user"}, exitOK},
		{[]string{"help", "nonsense"}, exitUsage},
		{[]string{"help", "admin", "nonsense"}, exitUsage},
		{[]string{"nonsense"}, exitUsage},
		{[]string{"server", "--nonsense"}, exitUsage},
		{[]string{"server", "--address", "127.0.0.1:0", "http://node1/data"}, exitUsage},
		{[]string{"bench", "--size", "big"}, exitUsage},
	} {
		if got := run(t.Context(), newRoot(), tt.args); got != tt.want {
			t.Errorf("shoal %s ends with %d, not %d", strings.Join(tt.args, " "), got, tt.want)
		}
	}
}

func TestAHangUpEndsAServerAsSIGTERMDoes(t *testing.T) {
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("it is ignored here (nohup)")
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	ctx := new(serverFlags).untilHangUp(t.Context())
	if err := self.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
}

func TestAFailureOfSeveralCausesIsOneLine(t *testing.T) {
	f := failed("cannot read the users", errors.Join(errors.New("other credentials"), errors.New("wrong password")), "start with those")
	if want := "shoal: cannot read the users: other credentials: wrong password; start with those"; f.text() != want {
		t.Errorf("%q, not %q", f.text(), want)
	}
}

func TestWhatCannotBeSharedIsRefusedWithItsCure(t *testing.T) {
	err := openFailure("/mnt/nas", fmt.Errorf("open: %w", &vfs.IncoherentError{Why: "why", Cure: "mount it otherwise"}))
	if code(t, err) != exitUnsafe {
		t.Errorf("%v", err)
	}
	for _, word := range []string{"/mnt/nas", "why", "mount it otherwise", "--single-gateway"} {
		if f, ok := errors.AsType[*failure](err); !ok || !strings.Contains(f.text(), word) {
			t.Errorf("%v does not say %q", err, word)
		}
	}
}

// TestDrivesThatAreMissingOrNotTheRightOnesAreRefusedAsADirectoryIs has each kind of what keeps drives from
// being served, and an error of a disk, which is a failure.
func TestDrivesThatAreMissingOrNotTheRightOnesAreRefusedAsADirectoryIs(t *testing.T) {
	for cause, want := range map[error]int{
		format.ErrInUse: exitUnsafe, format.ErrNotEmpty: exitUnsafe, format.ErrMissing: exitUnsafe, format.ErrOther: exitUnsafe,
		format.ErrIncomplete: exitUnsafe, format.ErrTooFew: exitUnsafe, cluster.ErrLayout: exitUnsafe, syscall.EIO: exitFailed,
	} {
		err := nodesFailure(fmt.Errorf("open: %w", cause))
		if f, ok := errors.AsType[*failure](err); !ok || f.code != want || want == exitUnsafe && f.remedy == "" || !errors.Is(err, cause) {
			t.Errorf("%v: %v", cause, err)
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	f := serverFlags{setSize: 2}
	l, err := layoutOf(&f, []poolOf[string]{{drives: []string{none + "1", none + "2"}}}, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.openDrives(t.Context(), l, slog.New(slog.DiscardHandler)); code(t, err) != exitUnsafe {
		t.Errorf("drives that are not there: %v", err)
	}
}

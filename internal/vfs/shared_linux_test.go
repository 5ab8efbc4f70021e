package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestOnlyWhatCanBeMadeToAskIsShared(t *testing.T) {
	for name, c := range map[string]struct {
		kind, options string
		want          sharing
		cure          string // "" if it is not refused
	}{
		"local":            {"ext4", "rw", sharedKernel, ""},
		"unknown":          {"", "", sharedKernel, ""},
		"nfs4":             {"nfs4", "rw,vers=4.2", sharedAsk, ""},
		"nfs3":             {"nfs", "rw,vers=3", sharedAskTime, ""},
		"nfs3 that asks":   {"nfs", "rw,vers=3,lookupcache=none", sharedAskTime, ""},
		"nfs2":             {"nfs", "rw,vers=2", 0, "vers=4.2"},
		"nfs without cto":  {"nfs4", "rw,vers=4.2,nocto", 0, "without nocto"},
		"smb":              {"cifs", "rw,vers=3.1.1,actimeo=0", 0, "NFS"},
		"gluster":          {"fuse.glusterfs", "rw", 0, "NFS"},
		"9p":               {"9p", "rw,cache=mmap", 0, "cache=none"},
		"9p without cache": {"9p", "rw,cache=none", sharedKernel, ""},
	} {
		got, err := mountPoint{c.kind, strings.Split(c.options, ",")}.sharing()
		if c.cure == "" && (err != nil || got != c.want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, c.want)
		}
		if refused, ok := errors.AsType[*IncoherentError](err); c.cure != "" && (!ok || !strings.Contains(refused.Cure, c.cure)) {
			t.Errorf("%s: %v does not say %q", name, err, c.cure)
		}
	}
}

func TestNumbersHoldOnSMBAsLongAsTheyAreTheServers(t *testing.T) {
	for options, want := range map[string]error{
		"rw,vers=3.1.1,serverino,mapposix":   nil,
		"rw,vers=3.1.1,noserverino,mapposix": ErrNumbers,
		"rw,vers=3.1.1,mapposix":             ErrNumbers,
	} {
		for _, kind := range []string{"cifs", "smb3"} {
			if got := (mountPoint{kind, strings.Split(options, ",")}).numbersHold(); !errors.Is(got, want) {
				t.Errorf("%s with %s: %v, want %v", kind, options, got, want)
			}
		}
	}
	root, err := OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := NumbersHold(root); err != nil {
		t.Errorf("on a local disk: %v", err)
	}
}

func TestWhatCannotBeSharedIsRoutedIfItIsKnownWhenItExpires(t *testing.T) {
	for name, c := range map[string]struct {
		kind, options string
		how           Sharing
		routed        bool
		stale         time.Duration
		cure          string // "" if it is not refused
	}{
		"local":                     {"ext4", "rw", Sharing{}, false, 0, ""},
		"local, on demand":          {"ext4", "rw", Sharing{Mode: Routed}, true, 0, ""},
		"local, on other terms":     {"ext4", "rw", Sharing{Mode: Routed, Stale: time.Second}, true, time.Second, ""},
		"nfs4":                      {"nfs4", "rw,vers=4.2", Sharing{}, false, 0, ""},
		"nfs4, on demand":           {"nfs4", "rw,vers=4.2", Sharing{Mode: Routed}, true, 0, ""},
		"nfs without cto":           {"nfs4", "rw,vers=4.2,nocto", Sharing{}, false, 0, "without nocto"},
		"smb":                       {"cifs", "rw,vers=3.1.1,actimeo=1,closetimeo=1", Sharing{}, true, 2 * time.Second, ""},
		"smb that remembers longer": {"smb3", "rw,acregmax=5,acdirmax=30", Sharing{}, true, 31 * time.Second, ""},
		"smb that is told not to":   {"cifs", "rw,actimeo=0,closetimeo=0", Sharing{}, true, 2 * time.Second, ""},
		"smb, not to be routed":     {"cifs", "rw", Sharing{Mode: Direct}, false, 0, "--mount-mode auto"},
		"gluster":                   {"fuse.glusterfs", "rw", Sharing{}, true, 3 * time.Second, ""},
		"fuse":                      {"fuse.sshfs", "rw", Sharing{}, false, 0, "--mount-stale"},
		"fuse, on demand":           {"fuse.sshfs", "rw", Sharing{Mode: Routed}, false, 0, "--mount-stale"},
		"fuse, on known terms":      {"fuse.sshfs", "rw", Sharing{Mode: Routed, Stale: time.Minute}, true, time.Minute, ""},
		"9p":                        {"9p", "rw,cache=mmap", Sharing{}, false, 0, "cache=none"},
	} {
		m := mountPoint{c.kind, strings.Split(c.options, ",")}
		_, refused := m.sharing()
		routed, stale, err := m.routing(c.how, refused)
		if c.cure == "" && (err != nil || routed != c.routed || stale != c.stale) {
			t.Errorf("%s: %v, %v, %v; want %v, %v", name, routed, stale, err, c.routed, c.stale)
		}
		if refused, ok := errors.AsType[*IncoherentError](err); c.cure != "" && (!ok || !strings.Contains(refused.Cure, c.cure)) {
			t.Errorf("%s: %v does not say %q", name, err, c.cure)
		}
	}
}

func TestTheLastMountOfADeviceCounts(t *testing.T) {
	table := `21 1 0:18 / / rw,relatime - ext4 /dev/a rw
61 21 0:29 /old /mnt/A ro - nfs 10.0.0.1:/ rw,vers=3
62 21 0:29 / /mnt/A rw,noatime shared:7 master:2 - nfs4 10.0.0.1:/ rw,vers=4.2
63 21 0:30 / /mnt/with\040space rw - cifs //a/b\040c rw
64 short
`
	if m := findMount(table, "0:29"); m.kind != "nfs4" || !m.has("noatime") || !m.has("vers=4.2") || m.has("vers=3") {
		t.Errorf("found %+v", m)
	}
	if m := findMount(table, "0:30"); m.kind != "cifs" {
		t.Errorf("found %+v", m)
	}
	if m := findMount(table, "8:1"); m.kind != "" {
		t.Errorf("found %+v", m)
	}
}

// clients returns a new directory as the clients of a file server see it that
// SHOAL_TEST_MOUNTS names; the last two of one kernel if it names none.
func clients(t *testing.T) (writer, reader Dir) {
	t.Helper()
	roots := strings.Split(os.Getenv("SHOAL_TEST_MOUNTS"), ":")
	if len(roots) < 2 {
		dir := t.TempDir()
		roots = []string{dir, dir}
	}
	tree, err := os.MkdirTemp(roots[0], "shared-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(tree) }) // the bed goes with all that is on it
	byTime := new(atomic.Bool)
	open := func(root string) Dir {
		d, err := OpenShared(filepath.Join(root, filepath.Base(tree)), Sharing{ByTime: byTime.Load})
		must(t, err)
		if SeesByTime(d) {
			byTime.Store(true) // as one of a fleet tells the others
		}
		t.Cleanup(func() { must(t, d.Close()) })
		return d
	}
	return open(roots[0]), open(roots[1])
}

func create(t *testing.T, d Dir, name string) Stat {
	t.Helper()
	f, err := d.Create(name, 0o600)
	must(t, err)
	st, err := f.Stat()
	must(t, err)
	must(t, f.Close())
	return st
}

// inode returns that of what path names, 0 if there is nothing.
func inode(t *testing.T, d Dir, path string) uint64 {
	t.Helper()
	f, err := d.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	must(t, err)
	st, err := f.Stat()
	must(t, errors.Join(err, f.Close()))
	return st.Ino
}

// looks returns how often something is done that another client looks at: on a file
// server more often, since it takes time there until nothing is met by chance.
func looks() int {
	switch {
	case os.Getenv("SHOAL_TEST_MOUNTS") == "":
		return 10
	case testing.Short():
		return 40
	}
	return 150
}

// onlooker is a client that looks at what another one does to a name.
type onlooker struct {
	writer, reader, stage Dir
	dir                   string
	made                  int
}

// look has the reader look at the name, which has the given inode, or 0.
func (o *onlooker) look(t *testing.T, what string, want uint64) {
	t.Helper()
	path := o.dir + "/name"
	if got := inode(t, o.reader, path); got != want {
		t.Fatalf("inode %d and not %d: %s", got, want, what)
	}
	if f, err := Glance(o.reader, path); err == nil {
		st, err := f.Stat()
		if must(t, errors.Join(err, f.Close())); st.Ino != want {
			t.Fatalf("a glance shows inode %d and not %d: %s", st.Ino, want, what)
		}
	}
	st, err := o.reader.Stat(path)
	if want == 0 && !errors.Is(err, fs.ErrNotExist) || want != 0 && st.Ino != want {
		t.Fatalf("stat %d, %v and not %d: %s", st.Ino, err, want, what)
	}
	if listed := isListed(t, o.reader, o.dir, "name"); listed != (want != 0) {
		t.Fatalf("listed: %v, %s", listed, what)
	}
}

// put has the writer put a new file under the name.
func (o *onlooker) put(t *testing.T) uint64 {
	t.Helper()
	o.made++
	name := fmt.Sprint("new.", o.made)
	st := create(t, o.stage, name)
	to, _, err := OpenTarget(o.writer, o.dir)
	must(t, err)
	must(t, o.stage.Rename(name, to, "name"))
	must(t, errors.Join(to.Sync(), to.Close()))
	return st.Ino
}

// take has the writer move the file away.
func (o *onlooker) take(t *testing.T) {
	t.Helper()
	o.made++
	from, err := o.writer.OpenDir(o.dir)
	must(t, err)
	must(t, from.Rename("name", o.stage, fmt.Sprint("taken.", o.made)))
	must(t, errors.Join(from.Sync(), from.Close()))
}

func (o *onlooker) makeDir(t *testing.T) {
	t.Helper()
	must(t, o.writer.Mkdir(o.dir, 0o700))
	synced(t, o.writer, "top")
}

func (o *onlooker) removeDir(t *testing.T) {
	t.Helper()
	top, err := o.writer.OpenDir("top")
	must(t, err)
	must(t, top.Rmdir("dir"))
	must(t, errors.Join(top.Sync(), top.Close()))
}

// TestAnotherClientsChangesAreSeen changes a name, as fast as it can be done, so
// that changes and looks fall into one tick of the server's clock, and has
// another client look which has seen the name before.
func TestAnotherClientsChangesAreSeen(t *testing.T) {
	a, b := clients(t)
	for _, dir := range []string{"top", "top/stage"} {
		must(t, a.Mkdir(dir, 0o700))
	}
	must(t, a.Sync())
	synced(t, a, "top")
	stage, err := a.OpenDir("top/stage")
	must(t, err)
	defer stage.Close()
	o := &onlooker{writer: a, reader: b, stage: stage, dir: "top/dir"}
	for range looks() {
		o.look(t, "nor is its directory", 0)
		o.makeDir(t)
		o.look(t, "its directory was made", 0)
		o.look(t, "made", o.put(t))
		o.look(t, "replaced", o.put(t))
		o.take(t)
		o.look(t, "removed", 0)
		o.look(t, "made again", o.put(t))
		o.take(t)
		o.removeDir(t)
		o.look(t, "removed with its directory", 0)
		o.makeDir(t)
		o.look(t, "made again with its directory", o.put(t))
		o.take(t)
		o.removeDir(t)
	}
}

// TestAnotherClientsChangesAreSeenByOneThatChangesTheDirectoryToo: the time of its own
// change is not taken for one at which it knew what is there.
func TestAnotherClientsChangesAreSeenByOneThatChangesTheDirectoryToo(t *testing.T) {
	a, b := clients(t)
	for _, dir := range []string{"top", "top/stage", "top/other", "top/dir"} {
		must(t, a.Mkdir(dir, 0o700))
	}
	var leases dirLeases
	leased := func(d Dir) Dir {
		root, err := Leased(d, leases.lease)
		must(t, err)
		if root != d {
			t.Cleanup(func() { must(t, root.Close()) })
		}
		return root
	}
	open := func(d Dir, path string) Dir {
		dir, err := d.OpenDir(path)
		must(t, err)
		t.Cleanup(func() { must(t, dir.Close()) })
		return dir
	}
	o := &onlooker{writer: leased(a), reader: b, stage: open(a, "top/stage"), dir: "top/dir"}
	other, dir := open(b, "top/other"), open(leased(b), "top/dir")
	create(t, other, "its")
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := errors.Join(other.Rename("its", dir, "its"), dir.Rename("its", other, "its"), dir.Sync()); err != nil {
				stopped <- err
				return
			}
		}
	}()
	for range looks() {
		o.look(t, "removed", 0)
		o.look(t, "made", o.put(t))
		o.take(t)
	}
	close(stop)
	must(t, <-stopped)
}

// TestWhatAnotherClientMadeAnewWithItsDirectoryIsFoundAtOnce: within one step of the
// server's clock the name of a directory may go on standing for one that is gone.
func TestWhatAnotherClientMadeAnewWithItsDirectoryIsFoundAtOnce(t *testing.T) {
	a, b := clients(t)
	must(t, a.Mkdir("top", 0o700))
	top, err := a.OpenDir("top")
	must(t, err)
	defer top.Close()
	makeAnew := func() uint64 {
		must(t, top.Mkdir("dir", 0o700))
		dir, err := top.OpenDir("dir")
		must(t, err)
		defer dir.Close()
		return create(t, dir, "name").Ino
	}
	want := makeAnew()
	for round := range 100 {
		if got := inode(t, b, "top/dir/name"); got != want {
			t.Fatalf("round %d: inode %d and not %d", round, got, want)
		}
		dir, err := top.OpenDir("dir")
		must(t, err)
		must(t, errors.Join(dir.Remove("name"), dir.Close(), top.Rmdir("dir")))
		want = makeAnew()
	}
}

// TestWhatIsWrittenToIsNotWhatWasMovedAway: a directory that was moved away lives
// on, and a client that knows it would go on writing into it.
func TestWhatIsWrittenToIsNotWhatWasMovedAway(t *testing.T) {
	a, b := clients(t)
	for _, dir := range []string{"top", "top/gone", "top/mid", "top/mid/dir"} {
		must(t, a.Mkdir(dir, 0o700))
	}
	inodeOf := func(d Dir) uint64 {
		dir, err := d.OpenDir("top/mid/dir")
		must(t, err)
		defer dir.Close()
		st, err := dir.Stat(".")
		must(t, err)
		return st.Ino
	}
	targetOf := func(d Dir) uint64 {
		dir, _, err := OpenTarget(d, "top/mid/dir")
		must(t, err)
		defer dir.Close()
		st, err := dir.Stat(".")
		must(t, err)
		return st.Ino
	}
	before := targetOf(b)
	top, err := a.OpenDir("top")
	must(t, err)
	defer top.Close()
	gone, err := top.OpenDir("gone")
	must(t, err)
	defer gone.Close()
	must(t, top.Rename("mid", gone, "mid"))
	for _, dir := range []string{"top/mid", "top/mid/dir"} {
		must(t, a.Mkdir(dir, 0o700))
	}
	must(t, top.Sync())
	for _, after := range []uint64{targetOf(b), inodeOf(b)} {
		if after == before || after != inodeOf(a) {
			t.Errorf("inode %d before, %d after, and not %d", before, after, inodeOf(a))
		}
	}
}

// TestWhatComesInPlaceOfWhatWasMovedAwayIsSeen: nor is what a client has not found in
// a directory missing in another one.
func TestWhatComesInPlaceOfWhatWasMovedAwayIsSeen(t *testing.T) {
	a, b := clients(t)
	for _, dir := range []string{"top", "top/gone", "top/mid", "top/mid/dir"} {
		must(t, a.Mkdir(dir, 0o700))
	}
	if inode(t, b, "top/mid/dir/name") != 0 {
		t.Fatal("there is no file yet")
	}
	top, err := a.OpenDir("top")
	must(t, err)
	defer top.Close()
	gone, err := top.OpenDir("gone")
	must(t, err)
	defer gone.Close()
	must(t, top.Rename("mid", gone, "mid"))
	for _, dir := range []string{"top/mid", "top/mid/dir"} {
		must(t, a.Mkdir(dir, 0o700))
	}
	dir, err := a.OpenDir("top/mid/dir")
	must(t, err)
	defer dir.Close()
	made := create(t, dir, "name")
	must(t, errors.Join(dir.Sync(), top.Sync()))
	if got := inode(t, b, "top/mid/dir/name"); got != made.Ino {
		t.Errorf("inode %d and not %d", got, made.Ino)
	}
}

// TestAFileReplacesWhateverAnotherClientPutThere: the one that replaces it has seen
// something else under the name.
func TestAFileReplacesWhateverAnotherClientPutThere(t *testing.T) {
	a, b := clients(t)
	for _, dir := range []string{"top", "top/dir", "top/stage"} {
		must(t, a.Mkdir(dir, 0o700))
	}
	dir, err := a.OpenDir("top/dir")
	must(t, err)
	defer dir.Close()
	stage, err := b.OpenDir("top/stage")
	must(t, err)
	defer stage.Close()
	for _, seen := range []string{"nothing", "a file", "a directory"} {
		switch seen {
		case "a file":
			create(t, dir, "name")
		case "a directory":
			must(t, dir.Mkdir("name", 0o700))
		}
		must(t, dir.Sync())
		if _, err := b.Stat("top/dir/name"); err != nil && seen != "nothing" {
			t.Fatal(err)
		}
		switch seen {
		case "a file":
			must(t, dir.Remove("name"))
		case "a directory":
			must(t, dir.Rmdir("name"))
		}
		create(t, dir, "name")
		must(t, dir.Sync())
		own := create(t, stage, "own")
		to, _, err := OpenTarget(b, "top/dir")
		must(t, err)
		if err := stage.Rename("own", to, "name"); err != nil {
			_, asked := to.Stat(".")
			must(t, errors.Join(asked, stage.Rename("own", to, "name")))
		}
		must(t, errors.Join(to.Sync(), to.Close()))
		if got := inode(t, a, "top/dir/name"); got != own.Ino {
			t.Errorf("over a file where it had seen %s: inode %d and not %d", seen, got, own.Ino)
		}
		must(t, errors.Join(dir.Remove("name"), dir.Sync()))
	}
}

func synced(t *testing.T, d Dir, path string) {
	t.Helper()
	dir, err := d.OpenDir(path)
	must(t, err)
	must(t, errors.Join(dir.Sync(), dir.Close()))
}

func isListed(t *testing.T, d Dir, path, name string) bool {
	t.Helper()
	dir, err := d.OpenDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	must(t, err)
	defer dir.Close()
	entries, err := dir.ReadDir()
	must(t, err)
	for _, e := range entries {
		if e.Name == name {
			return true
		}
	}
	return false
}

// TestNothingIsDelegatedWhereOthersSeeByTime: a client of NFSv3 that takes the name of a
// delegated file away is told to come back, which takes it 5 s.
func TestNothingIsDelegatedWhereOthersSeeByTime(t *testing.T) {
	if clients, _ := filepath.Glob(nfsStates); len(clients) == 0 {
		t.Skip("no client of NFSv4")
	}
	client, _, _ := strings.Cut(os.Getenv("SHOAL_TEST_MOUNTS"), ":")
	tree, err := os.MkdirTemp("/mnt/export", "delegated-")
	must(t, err)
	opened := 0
	for _, byTime := range []bool{false, true} {
		d, err := OpenShared(filepath.Join(client, filepath.Base(tree)), Sharing{ByTime: func() bool { return byTime }})
		must(t, err)
		if SeesByTime(d) {
			t.Skip("this client is of NFSv3")
		}
		delegated := false
		for try := 0; try < 200 && !delegated && (try == 0 || !byTime); try++ {
			if try > 0 {
				time.Sleep(100 * time.Millisecond) // a server that has just started delegates nothing for a while
			}
			opened++
			name := fmt.Sprintf("name-%d.", opened)
			must(t, os.WriteFile(filepath.Join(tree, name), []byte("content"), 0o600))
			f, err := d.Open(name)
			must(t, err)
			delegated = isDelegated(t, name)
			must(t, f.Close())
		}
		if delegated == byTime {
			t.Errorf("where others see by time: %v, delegated: %v", byTime, delegated)
		}
		must(t, d.Close())
	}
}

// nfsStates are files that tell what the clients of this machine's NFS server have open.
const nfsStates = "/proc/fs/nfsd/clients/*/states"

// isDelegated reports whether a file of that name is delegated to some client.
func isDelegated(t *testing.T, name string) bool {
	t.Helper()
	clients, err := filepath.Glob(nfsStates)
	must(t, err)
	for _, path := range clients {
		states, err := os.ReadFile(path)
		must(t, err)
		for state := range strings.Lines(string(states)) {
			if strings.Contains(state, "type: deleg") && strings.Contains(state, name) {
				return true
			}
		}
	}
	return false
}

// TestWhatARenameInVainIntoWhatAnotherClientRemovedWasAboutIsStillThere: a client that is
// told that there is nothing takes it for the file, and not for the directory that it was to
// be moved to.
func TestWhatARenameInVainIntoWhatAnotherClientRemovedWasAboutIsStillThere(t *testing.T) {
	a, b := clients(t)
	for _, dir := range []string{"top", "top/dir", "top/stage"} {
		must(t, a.Mkdir(dir, 0o700))
	}
	must(t, a.Sync())
	synced(t, a, "top")
	stage, err := a.OpenDir("top/stage")
	must(t, err)
	defer stage.Close()
	dir, err := a.OpenDir("top/dir")
	must(t, err)
	defer dir.Close()
	want := create(t, dir, "name").Ino
	must(t, dir.Sync())
	// A server that has the directory in use finds it, dead, and says that there is nothing.
	if trees, _ := filepath.Glob("/mnt/export/shared-*/top/stage"); os.Getenv("SHOAL_TEST_MOUNTS") != "" && len(trees) == 1 {
		inUse, err := os.Open(trees[0])
		must(t, err)
		defer inUse.Close()
	}
	other, err := b.OpenDir("top")
	must(t, err)
	must(t, other.Rmdir("stage"))
	must(t, errors.Join(other.Sync(), other.Close()))
	if err := dir.Rename("name", stage, "taken"); err == nil {
		t.Fatal("it was moved into a directory that is gone")
	}
	st, err := dir.Stat("name")
	if err != nil || st.Ino != want {
		t.Errorf("by the directory's handle: inode %d, %v and not %d", st.Ino, err, want)
	}
	for who, client := range map[string]Dir{"who tried": a, "another one": b} {
		if got := inode(t, client, "top/dir/name"); got != want {
			t.Errorf("%s finds inode %d and not %d", who, got, want)
		}
	}
}

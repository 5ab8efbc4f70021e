package doctor

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/internal/vfs"
)

const mountinfo = `21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 21 0:40 / /mnt/my\040nas rw,noatime shared:2 - nfs4 nas:/export rw,vers=4.2,hard,proto=tcp
41 21 0:41 / /mnt/old rw shared:3 - nfs nas:/old rw,vers=3,soft,nolock
42 21 0:42 / /mnt/none rw shared:3 - nfs nas:/old rw,vers=3,hard,lookupcache=none
43 21 0:43 / /mnt/smb rw shared:4 - cifs //nas/share rw,vers=3.1.1,serverino
44 21 0:44 / /mnt/ro ro shared:4 - xfs /dev/vdb rw
45 21 0:45 / /mnt/twice rw - tmpfs tmpfs rw
46 45 0:46 / /mnt/twice rw - nfs4 nas:/x rw,vers=4.1,hard
47 21 0:47 / /mnt/asks rw - nfs4 nas:/x rw,vers=4.2,hard,lookupcache=pos
`

func TestMountsAreFoundAndJudged(t *testing.T) {
	for path, want := range map[string]struct {
		kind  string
		worst Severity
		says  string
		not   string
	}{
		"/home/x":            {"ext4", OK, "/dev/vda", "mounted"},
		"/mnt/my nas/bucket": {"nfs4", OK, "nas:/export", "mounted"},
		"/mnt/my nasty":      {"ext4", OK, "", "nas:/export"},
		"/mnt/old":           {"nfs", Bad, "soft", "lookupcache"},
		"/mnt/none":          {"nfs", Info, "version 3; lookupcache", "soft"},
		"/mnt/asks":          {"nfs4", Info, "lookupcache", "version"},
		"/mnt/smb/x":         {"cifs", Warn, "SMB", "NFS"},
		"/mnt/ro":            {"xfs", Bad, "read-only", "NFS"},
		"/mnt/twice":         {"nfs4", Info, "4.1", "lookupcache"},
	} {
		e := &Examination{mount: FindMount(mountinfo, path)}
		found, err := mountOptions(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, f := range found {
			text += f.Found + "; "
			if f.Severity == Bad && (f.Effect == "" || f.Cure == "") {
				t.Errorf("%s: %q has no effect or no cure", path, f.Found)
			}
		}
		if got := (Report{Findings: found}).Worst(); e.mount.Type != want.kind || got != want.worst || !strings.Contains(text, want.says) || strings.Contains(text, want.not) {
			t.Errorf("%s: %s, %s: %s", path, e.mount.Type, got, text)
		}
	}
	if m := FindMount("garbage\n1 2 3\n - - -\n", "/x"); m.Type != "" {
		t.Errorf("garbage is a mount: %+v", m)
	}
}

func examine(t *testing.T, root vfs.Dir) Report {
	t.Helper()
	e := Examination{Path: "/tree", Root: root, Rounds: 10}
	report, err := e.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	entries, err := root.ReadDir()
	if err != nil || slices.ContainsFunc(entries, func(e vfs.Entry) bool { return strings.HasPrefix(e.Name, ".shoal-doctor") }) {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	return report
}

func TestAGoodDirectoryIsFoundGood(t *testing.T) {
	root, err := vfs.OpenRoot(t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	defer root.Close()
	report := examine(t, root)
	for _, f := range report.Findings {
		// How much is free and how long a commit takes is this machine's.
		if f.Severity == Bad && f.Check != "space" && f.Check != "commit latency" {
			t.Errorf("%+v", f)
		}
	}
	if len(report.Findings) < len(looks())+len(trials())-1 {
		t.Errorf("%d findings of %d checks", len(report.Findings), len(looks())+len(trials()))
	}
}

func TestWhatTheFileSystemCannotDoIsFound(t *testing.T) {
	for name, tt := range map[string]struct {
		op    vfs.Op
		errno syscall.Errno
		check string
		worst Severity
	}{
		"nothing can be written":          {vfs.OpCreate, syscall.EROFS, "write", Bad},
		"no directory can be made":        {vfs.OpMkdir, syscall.EACCES, "write", Bad},
		"an open file cannot be replaced": {vfs.OpRename, syscall.EACCES, "atomic replace", Bad},
		"there are no links":              {vfs.OpLink, syscall.EPERM, "hard links", Info},
		"there are no attributes":         {vfs.OpSetxattr, syscall.ENOTSUP, "extended attributes", Info},
		"the disk is full at an fsync":    {vfs.OpSync, syscall.ENOSPC, "write", Bad},
	} {
		t.Run(name, func(t *testing.T) {
			fault := vfs.NewFault(vfs.NewMemory().Root())
			fault.Inject(func(c vfs.OpCall) error {
				if c.Op == tt.op {
					return tt.errno
				}
				return nil
			})
			report := examine(t, fault.Root())
			if !slices.ContainsFunc(report.Findings, func(f Finding) bool { return f.Check == tt.check && f.Severity == tt.worst }) {
				t.Errorf("%+v", report.Findings)
			}
		})
	}
}

func TestAnExaminationEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e := Examination{Path: "/tree", Root: vfs.NewMemory().Root(), Rounds: 10}
	if _, err := e.Run(ctx); err == nil {
		t.Error("it went on")
	}
}

// TestCuresAreTheMountsOwnLines looks for what can be pasted.
func TestCuresAreTheMountsOwnLines(t *testing.T) {
	nas := Mount{Point: "/mnt/nas", Type: "nfs4", Source: "nas:/export/data", Options: []string{"rw", "vers=4.1", "soft"}}
	share := Mount{Point: "/mnt/share", Type: "cifs", Source: "//nas/data", Options: []string{"rw", "vers=3.1.1"}}
	line := "umount /mnt/nas; mount -t nfs -o vers=4.2,hard,proto=tcp,nconnect=8,noatime nas:/export/data /mnt/nas"
	for name, c := range map[string]struct {
		found Finding
		cure  string
	}{
		"soft":               {ofMount(t, nas, "soft"), line},
		"version 4.1":        {ofMount(t, nas, "NFS version 4.1"), line},
		"SMB":                {ofMount(t, share, "SMB"), "mount -t nfs -o vers=4.2,hard,proto=tcp,nconnect=8,noatime nas:/PATH-OF-DATA /mnt/share"},
		"made-up inodes":     {ofMount(t, share, "no serverino"), "mount -o remount,serverino /mnt/share"},
		"read-only":          {(&Examination{mount: nas}).notWritable(syscall.EROFS), "mount -o remount,rw /mnt/nas"},
		"full":               {(&Examination{mount: nas, Path: "/mnt/nas/tree"}).notWritable(syscall.ENOSPC), "df -i /mnt/nas/tree"},
		"over the quota":     {(&Examination{mount: nas}).notWritable(syscall.EDQUOT), "quota"},
		"somebody else's":    {(&Examination{mount: nas}).notWritable(syscall.EACCES), "/etc/exports: /export/data CLIENTS(rw,sync,no_subtree_check,no_root_squash), then exportfs -ra"},
		"something is wrong": {(&Examination{mount: nas}).notWritable(syscall.EIO), "log"},
	} {
		if c.found.Severity == OK || c.found.Effect == "" || !strings.Contains(c.found.Cure, c.cure) {
			t.Errorf("%s: %+v, not %q", name, c.found, c.cure)
		}
	}
}

// ofMount returns the finding on a mount that says what is found.
func ofMount(t *testing.T, m Mount, found string) Finding {
	t.Helper()
	all, err := mountOptions(t.Context(), &Examination{mount: m})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.Found == found {
			return f
		}
	}
	t.Errorf("nothing is said of %s: %+v", found, all)
	return Finding{}
}

// odd is a file system that is odd in some way.
type odd struct {
	vfs.Dir
	usage func(vfs.Usage) vfs.Usage
	stat  func(name string, st vfs.Stat, err error) (vfs.Stat, error)
}

func (o odd) Usage() (vfs.Usage, error) {
	u, err := o.Dir.Usage()
	return o.usage(u), err
}

func (o odd) OpenDir(path string) (vfs.Dir, error) {
	d, err := o.Dir.OpenDir(path)
	return odd{d, o.usage, o.stat}, err
}

func (o odd) Stat(path string) (vfs.Stat, error) {
	st, err := o.Dir.Stat(path)
	return o.stat(path, st, err)
}

// Rename has to be told where the other directory is beneath.
func (o odd) Rename(oldname string, to vfs.Dir, newname string) error {
	return o.Dir.Rename(oldname, beneath(to), newname)
}

func (o odd) Link(oldname string, to vfs.Dir, newname string) error {
	return o.Dir.Link(oldname, beneath(to), newname)
}

func beneath(d vfs.Dir) vfs.Dir {
	if o, ok := d.(odd); ok {
		return o.Dir
	}
	return d
}

func TestWhatAFileSystemDoesInItsOwnWayIsFound(t *testing.T) {
	asIs := func(u vfs.Usage) vfs.Usage { return u }
	plain := func(_ string, st vfs.Stat, err error) (vfs.Stat, error) { return st, err }
	for name, tt := range map[string]struct {
		usage func(vfs.Usage) vfs.Usage
		stat  func(name string, st vfs.Stat, err error) (vfs.Stat, error)
		check string
		worst Severity
	}{
		"nothing is odd":        {asIs, plain, "inode numbers", OK},
		"hardly a file is left": {func(u vfs.Usage) vfs.Usage { u.Inodes, u.FreeNodes = 1<<20, 10; return u }, plain, "files", Bad},
		"files become few":      {func(u vfs.Usage) vfs.Usage { u.Inodes, u.FreeNodes = 1<<20, 1<<16; return u }, plain, "files", Warn},
		"hardly a byte is left": {func(u vfs.Usage) vfs.Usage { u.Free = u.Total / 100; return u }, plain, "space", Bad},
		"case and Case are one": {asIs, func(_ string, _ vfs.Stat, _ error) (vfs.Stat, error) { return vfs.Stat{Ino: 1}, nil }, "upper and lower case", Bad},
		"inode numbers are made": {asIs, func(name string, st vfs.Stat, err error) (vfs.Stat, error) {
			st.Ino += uint64(len(name))
			return st, err
		}, "inode numbers", Bad},
	} {
		t.Run(name, func(t *testing.T) {
			report := examine(t, odd{vfs.NewMemory().Root(), tt.usage, tt.stat})
			if !slices.ContainsFunc(report.Findings, func(f Finding) bool { return f.Check == tt.check && f.Severity == tt.worst }) {
				t.Errorf("%+v", report.Findings)
			}
		})
	}
}

// TestADriveIsJudgedByWhatADriveNeeds has a drive on several kinds of mounts, and one that cannot be written to.
func TestADriveIsJudgedByWhatADriveNeeds(t *testing.T) {
	for path, want := range map[string]struct {
		worst Severity
		says  string
	}{
		"/home/x":            {OK, "/dev/vda"},
		"/mnt/my nas/bucket": {Warn, "over a network"},
		"/mnt/old":           {Warn, "over a network"},
		"/mnt/ro":            {Bad, "read-only"},
		"/mnt/smb/x":         {Warn, "over a network"},
	} {
		found, err := driveMount(t.Context(), &Examination{mount: FindMount(mountinfo, path)})
		if err != nil || (Report{Findings: found}).Worst() != want.worst || !strings.Contains(found[0].Found, want.says) {
			t.Errorf("%s: %+v, %v", path, found, err)
		}
	}
	identity := []Finding{{Check: "identity", Severity: OK, Found: "drive 1"}}
	fault := vfs.NewFault(vfs.NewMemory().Root())
	e := Examination{Path: "/drive", Root: fault.Root(), Rounds: 3, Drive: identity}
	report, err := e.Run(t.Context())
	if err != nil || report.Worst() == Bad || report.Findings[0] != identity[0] || len(report.Findings) < len(driveLooks())+len(driveTrials()) {
		t.Errorf("%+v, %v", report, err)
	}
	fault.Inject(func(c vfs.OpCall) error {
		if c.Op == vfs.OpSync {
			return syscall.EIO
		}
		return nil
	})
	if report, err = e.Run(t.Context()); err != nil || report.Worst() != Bad {
		t.Errorf("of a disk that cannot sync: %+v, %v", report, err)
	}
}

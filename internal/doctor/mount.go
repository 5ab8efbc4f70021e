package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Mount is how a directory is mounted.
type Mount struct {
	Point   string   `json:"point,omitempty"`
	Type    string   `json:"type,omitempty"` // of the file system
	Source  string   `json:"source,omitempty"`
	Options []string `json:"options,omitempty"`
}

// network reports whether other hosts have the file system too.
func (m Mount) network() bool {
	return slices.Contains([]string{"nfs", "nfs4", "cifs", "smb3", "fuse.glusterfs", "ceph", "9p", "lustre", "fuse.sshfs", "fuse.s3fs"}, m.Type)
}

// option returns the value of an option, and whether it is set.
func (m Mount) option(name string) (string, bool) {
	for _, o := range m.Options {
		key, value, _ := strings.Cut(o, "=")
		if key == name {
			return value, true
		}
	}
	return "", false
}

// FindMount returns the mount that path is on, by the content of
// /proc/self/mountinfo (proc(5)).
// Of several on one place the last one counts.
func FindMount(mountinfo, path string) Mount {
	var found Mount
	for line := range strings.Lines(mountinfo) {
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		fields, behind := strings.Fields(left), strings.Fields(right)
		if !ok || len(fields) < 6 || len(behind) < 3 {
			continue
		}
		point := unescape(fields[4])
		if !within(path, point) || len(point) < len(found.Point) {
			continue
		}
		found = Mount{Point: point, Type: behind[0], Source: unescape(behind[1])}
		for _, list := range []string{fields[5], behind[2]} {
			for o := range strings.SplitSeq(list, ",") {
				if !slices.Contains(found.Options, o) {
					found.Options = append(found.Options, o)
				}
			}
		}
	}
	return found
}

func within(path, point string) bool {
	return path == point || point == "/" || strings.HasPrefix(path, point+"/")
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// Cure returns what to do where clients of a mount do not see what others do.
func (m Mount) Cure() string {
	switch {
	case slices.Contains(nfs(), m.Type):
		return m.line() + "   on every host, without nocto and nosharecache; give each host a name of its own"
	case m.network():
		return "Have the gateways route (--mount-mode routed --mount-stale TIME), or use NFS to the same server: " + m.line()
	}
	return "Serve it with one gateway (--single-gateway)."
}

// nfsOptions are those that are advised.
const nfsOptions = "vers=4.2,hard,proto=tcp,nconnect=8,noatime"

// line returns the command that mounts the same by NFS.
func (m Mount) line() string {
	source := m.Source
	switch host, share, isSMB := strings.Cut(strings.TrimPrefix(source, "//"), "/"); {
	case slices.Contains(nfs(), m.Type):
	case isSMB && strings.HasPrefix(source, "//"):
		source = host + ":/PATH-OF-" + strings.ToUpper(share)
	default:
		source = "SERVER:/EXPORT"
	}
	return m.command("nfs", nfsOptions, source)
}

// smbLine returns the command that mounts an SMB share as it is advised.
func (m Mount) smbLine() string {
	return m.command("cifs", "vers=3.1.1,hard,serverino,mapposix,iocharset=utf8,credentials=FILE", m.Source)
}

func (m Mount) command(kind, options, source string) string {
	return fmt.Sprintf("umount %[4]s; mount -t %[1]s -o %[2]s %[3]s %[4]s", kind, options, source, m.Point)
}

func (m Mount) remount(option string) string { return "mount -o remount," + option + " " + m.Point }

// export returns what makes an NFS server export with the given options.
func (m Mount) export(options string) string {
	path := "PATH"
	if _, exported, ok := strings.Cut(m.Source, ":/"); ok && slices.Contains(nfs(), m.Type) {
		path = "/" + exported
	}
	return "in the server's /etc/exports: " + path + " CLIENTS(" + options + "), then exportfs -ra"
}

// rule is what an option, or its absence, means on a type of file system.
type rule struct {
	types  []string
	holds  func(m Mount) bool
	result Finding
}

func has(name string, values ...string) func(Mount) bool {
	return func(m Mount) bool {
		v, set := m.option(name)
		return set && (len(values) == 0 || slices.Contains(values, v))
	}
}

func nfs() []string { return []string{"nfs", "nfs4"} }

// always holds of every mount.
func always(Mount) bool { return true }

func lacks(name string) func(Mount) bool {
	return func(m Mount) bool { _, set := m.option(name); return !set }
}

func smb() []string { return []string{"cifs", "smb3"} }

func rules(m Mount) []rule {
	line := m.line()
	half := "When the server is slow, writes fail half done, and errors can come after a write was taken for good."
	return slices.Concat([]rule{
		{nil, has("ro"), Finding{Severity: Bad, Found: "it is mounted read-only", Effect: "Nothing can be written.", Cure: m.remount("rw")}},
		{nfs(), has("soft"), Finding{Severity: Bad, Found: "soft", Effect: half, Cure: line}},
		{nfs(), has("softerr"), Finding{Severity: Bad, Found: "softerr", Effect: half, Cure: line}},
		{nfs(), has("nocto"), Finding{Severity: Bad, Found: "nocto", Effect: "A file that was opened may be an older one for a long time.", Cure: line}},
		{nfs(), has("vers", "2"), Finding{Severity: Bad, Found: "NFS version 2", Effect: "Files end at 2 GiB, and several gateways cannot share it.", Cure: line}},
		{nfs(), has("vers", "3"), Finding{
			Severity: Info, Found: "NFS version 3", Effect: "Each change waits up to 10 ms for the server's clock, so that other gateways see it, and those that change one directory wait for one another. Metadata goes into files of its own.", Cure: line,
		}},
		{nfs(), has("vers", "4.0"), Finding{Severity: Warn, Found: "NFS version 4.0", Effect: "After a lost answer the client repeats what was done, and has to find out what happened.", Cure: line}},
		{nfs(), has("vers", "4.1"), Finding{Severity: Info, Found: "NFS version 4.1", Effect: "Metadata goes into files of its own: version 4.2 has extended attributes, and copies inside the server.", Cure: line}},
		{nfs(), has("noac"), Finding{Severity: Warn, Found: "noac", Effect: "Every look at a file asks the server; Shoal asks where it has to without that.", Cure: line}},
		{nfs(), has("lookupcache", "none", "pos", "positive"), Finding{Severity: Info, Found: "lookupcache", Effect: "Names are asked for more often than is needed; Shoal asks where it has to without that.", Cure: line}},
	}, otherRules(m))
}

// otherRules are those of file systems that are not NFS.
func otherRules(m Mount) []rule {
	return []rule{
		{smb(), always, Finding{
			Severity: Warn, Found: "SMB", Effect: "Names and files are cached for a second and more: several gateways pass requests on to one another, and a bucket is as fast as one of them. " +
				"A download that takes longer than 2 s is cut when its object is replaced.",
			Cure: "Use NFS to the same server: " + m.line(),
		}},
		{smb(), lacks("serverino"), Finding{
			Severity: Bad, Found: "no serverino", Effect: "The client makes inode numbers up, and others later: gateways answer 503.",
			Cure: "While nothing else uses it: " + m.remount("serverino"),
		}},
		{smb(), lacks("hard"), Finding{
			Severity: Info, Found: "soft, the default of SMB", Effect: "What is under way when the server or the network fails is answered with an error, whether it was done or not.", Cure: m.smbLine(),
		}},
		{[]string{"fuse.glusterfs"}, always, Finding{
			Severity: Info, Found: "GlusterFS", Effect: "Replaced files are read as they were for about a second: several gateways pass requests on to one another, and a bucket is as fast as one of them.",
			Cure: "None is needed. Where attribute-timeout, entry-timeout or performance.md-cache-timeout were raised above 1 s, give the gateways --mount-stale: two seconds more than the longest.",
		}},
		{[]string{"fuse.sshfs", "fuse.s3fs"}, always, Finding{
			Severity: Bad, Found: "a file system without the promises that Shoal rests on", Effect: "Acknowledged objects can be lost.", Cure: "Serve a local disk or NFS.",
		}},
		{[]string{"tmpfs", "ramfs"}, always, Finding{Severity: Warn, Found: "it is in memory", Effect: "All is gone after a restart.", Cure: "Serve a directory on a disk."}},
		{[]string{"overlay"}, always, Finding{Severity: Warn, Found: "it is the file system of a container", Effect: "All is gone with the container.", Cure: "Mount a volume on it."}},
	}
}

func mountOptions(_ context.Context, e *Examination) ([]Finding, error) {
	m := e.mount
	if m.Type == "" {
		return []Finding{{Check: "mount", Severity: Info, Found: "this system does not tell how it is mounted"}}, nil
	}
	var found []Finding
	for _, r := range rules(m) {
		if (r.types == nil || slices.Contains(r.types, m.Type)) && r.holds(m) {
			f := r.result
			f.Check = "mount"
			found = append(found, f)
		}
	}
	if found == nil {
		found = []Finding{{Check: "mount", Severity: OK, Found: m.Type + " from " + m.Source}}
	}
	return found, nil
}

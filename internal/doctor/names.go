package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// names looks which names can be given to files.
func names(_ context.Context, e *Examination) ([]Finding, error) {
	var found []Finding
	for what, name := range map[string]string{
		"255 bytes": strings.Repeat("n", 255), "non-UTF-8 bytes": "n\xff\xfe", "letters that are not ASCII": "näme", "any characters": `n:*?"<>|\`,
		"a space or dot at the end": "n. ", "a name that Windows reserves": "nul.txt",
	} {
		f, ok, err := e.nameOf(what, name)
		if err != nil {
			return nil, err
		}
		if !ok {
			found = append(found, f)
		}
	}
	if found == nil {
		found = []Finding{{Check: "names", Severity: OK, Found: "any name of 255 bytes"}}
	}
	slices.SortFunc(found, func(a, b Finding) int { return strings.Compare(a.Found, b.Found) })
	return found, nil
}

// nameOf gives a file a name, and looks whether it is listed under that.
func (e *Examination) nameOf(what, name string) (f Finding, ok bool, err error) {
	err = e.write(name, what)
	if isFull(err) {
		return f, false, err
	}
	if err == nil {
		var got string
		if got, err = e.read(name); err == nil && got == what && e.lists(name) {
			return f, true, nil
		}
	}
	f = Finding{Check: "names", Severity: Warn, Found: fmt.Sprintf("a file whose name has %s is listed under another one", what), Effect: "An object of such a key is not listed under it."}
	if err != nil {
		f.Found, f.Effect = fmt.Sprintf("names with %s are refused: %v", what, err), "Keys with such names are answered with an error."
	}
	switch {
	case !slices.Contains(smb(), e.mount.Type):
		f.Cure = "Serve a file system that takes them, such as ext4, XFS or NFS."
	case what == "letters that are not ASCII":
		f.Cure = e.mount.smbLine()
	default:
		f.Severity, f.Effect = Info, "Where a tree was made on SMB, Shoal stores such keys under other names; users of the share see those."
	}
	return f, false, nil
}

// lists reports whether a name is listed.
func (e *Examination) lists(name string) bool {
	there, err := list(e.Root, e.name, name)
	return err == nil && there
}

// letters looks whether names are told apart that differ in how their letters are
// written.
func letters(_ context.Context, e *Examination) ([]Finding, error) {
	const check = "upper and lower case"
	var found []Finding
	for _, pair := range [][2]string{{"Case", "case"}, {"\u00e9", "e\u0301"}} {
		if err := e.write(pair[0], "one"); err != nil {
			return nil, err
		}
		if _, err := e.dir.Stat(pair[1]); err != nil {
			continue
		}
		cure := "Serve a file system that tells them apart (ZFS: a dataset with casesensitivity=sensitive and normalization=none)."
		if slices.Contains(smb(), e.mount.Type) {
			cure = "In the server's smb.conf, for the share: case sensitive = yes; then smbcontrol all reload-config, and mount it anew."
		}
		found = append(found, Finding{
			Check: check, Severity: Bad, Found: fmt.Sprintf("%s and %s (%+q) are one name", pair[0], pair[1], pair[1]),
			Effect: "Two keys become one file: an object would be overwritten by another one, and Shoal does not start where that is so of upper and lower case.", Cure: cure,
		})
	}
	if found == nil {
		found = []Finding{{Check: check, Severity: OK, Found: "are told apart, and so are composed and decomposed letters"}}
	}
	return found, nil
}

package keypath

import "strings"

// Hidden reports whether a name belongs to us, to the file server or to its
// clients: it is never shown as a key and never touched. A key of that name is
// escaped and so has another place.
func Hidden(name string) bool {
	if name == "" {
		return false
	}
	switch name[0] {
	case '.':
		switch name {
		case SystemName, ".snapshot", ".zfs", ".glusterfs", ".trashcan":
			return true
		}
		return isSilly(name, ".nfs", 16) || isSilly(name, ".fuse_hidden", 1) || strings.HasPrefix(name, ".cifs")
	case '~':
		return name == "~snapshot"
	case '#':
		return name == "#recycle" || name == "#snapshot"
	case '@':
		return name == "@eaDir"
	case '$':
		return name == "$RECYCLE.BIN"
	case 'l':
		return name == "lost+found"
	case 'S':
		return name == "System Volume Information"
	}
	return false
}

// isSilly reports whether name is a prefix and at least so many hex digits, as
// the names are that clients give to files removed while they are open.
func isSilly(name, prefix string, digits int) bool {
	rest, found := strings.CutPrefix(name, prefix)
	return found && len(rest) >= digits && strings.Trim(rest, "0123456789abcdef") == ""
}

// windowsBytes may not be in a file name, beside control characters.
//
// https://learn.microsoft.com/windows/win32/fileio/naming-a-file
const windowsBytes = `\:*?<>|"`

// windowsEnds may not be the last character of a file name.
const windowsEnds = ". "

// isWindowsName reports whether Windows and SMB servers take a name, that has
// no control characters, as it is.
func isWindowsName(s string) bool {
	return !endsBadly(s) && !strings.ContainsAny(s, windowsBytes) && !isReserved(s)
}

func endsBadly(s string) bool { return strings.IndexByte(windowsEnds, s[len(s)-1]) >= 0 }

// isReserved reports whether a name is one of a DOS device, with any extension.
func isReserved(s string) bool {
	stem, _, _ := strings.Cut(s, ".")
	stem = strings.TrimRight(stem, " ")
	switch len(stem) {
	case 3:
		return strings.EqualFold(stem, "CON") || strings.EqualFold(stem, "PRN") || strings.EqualFold(stem, "AUX") || strings.EqualFold(stem, "NUL")
	case 4:
		return '1' <= stem[3] && stem[3] <= '9' && (strings.EqualFold(stem[:3], "COM") || strings.EqualFold(stem[:3], "LPT"))
	}
	return false
}

package vfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// ACL is what a directory has files inherit that are made in it: an access
// control list (acl(5), or one of NFSv4, RFC 8881 6.2.1). The zero ACL is none.
type ACL struct{ posix, nfs4 []byte }

// IsZero reports whether there is none.
func (a ACL) IsZero() bool { return a.posix == nil && a.nfs4 == nil }

// The attributes that lists are kept in.
const (
	defaultACL = "system.posix_acl_default"
	accessACL  = "system.posix_acl_access"
	nfs4ACL    = "system.nfs4_acl"
)

// InheritedACL returns what files inherit in a directory. On NFSv4 it asks the
// server, unless the client knows.
func InheritedACL(dir Dir) (ACL, error) {
	d, ok := dir.(*osDir)
	if !ok {
		return ACL{}, nil
	}
	var a ACL
	var err error
	a.posix, err = d.attribute(defaultACL)
	if errors.Is(err, ErrUnsupported) && d.tree.sharing == sharedAsk {
		a.nfs4, err = d.attribute(nfs4ACL)
		a.nfs4 = inherited(a.nfs4)
	}
	if errors.Is(err, ErrUnsupported) || errors.Is(err, ErrNoXattr) {
		return ACL{}, nil
	}
	return a, err
}

// attribute returns an attribute of the directory itself.
func (d *osDir) attribute(name string) ([]byte, error) {
	if err := d.enter(); err != nil {
		return nil, pathError("getxattr", ".", err)
	}
	defer func() { _ = d.leave() }() // a directory open for reading has nothing to lose
	buf := make([]byte, xattrMax)
	n, err := retry(func() (int, error) {
		if d.mere { // fgetxattr(2) takes no mere path
			return unix.Getxattr(fmt.Sprintf("/proc/self/fd/%d", d.fd), name, buf)
		}
		return unix.Fgetxattr(d.fd, name, buf)
	})
	if errors.Is(err, unix.ENODATA) {
		err = &classed{ErrNoXattr, err}
	}
	if err != nil {
		return nil, pathError("getxattr", ".", err)
	}
	return buf[:n:n], nil
}

// Inherit gives a file what it would have inherited, had it been made with
// permissions in the directory of the list.
func (a ACL) Inherit(f File, perm fs.FileMode) error {
	switch {
	case a.posix != nil:
		return f.Setxattr(accessACL, masked(a.posix, perm))
	case a.nfs4 != nil:
		return f.Setxattr(nfs4ACL, masked4(a.nfs4, perm))
	}
	return nil
}

// Tags of the entries of a POSIX list, as the kernel shows them: a version in 4 bytes,
// then for each entry its tag and permissions, 2 bytes each, and a user or group, 4.
const (
	aclUserObj  = 0x01
	aclGroupObj = 0x04
	aclMask     = 0x10
	aclOther    = 0x20
)

// masked returns the list with no more permissions than perm has, as open(2) does.
func masked(list []byte, perm fs.FileMode) []byte {
	list = append([]byte(nil), list...)
	entries := func(do func(tag uint16, perms []byte)) {
		for e := list[min(4, len(list)):]; len(e) >= 8; e = e[8:] {
			do(binary.LittleEndian.Uint16(e), e[2:4])
		}
	}
	group := uint16(aclGroupObj)
	entries(func(tag uint16, _ []byte) {
		if tag == aclMask {
			group = aclMask
		}
	})
	entries(func(tag uint16, perms []byte) {
		have := fs.FileMode(binary.LittleEndian.Uint16(perms))
		switch tag {
		case aclUserObj:
			have &= perm >> 6
		case group:
			have &= perm >> 3
		case aclOther:
			have &= perm
		}
		binary.LittleEndian.PutUint16(perms, uint16(have&7)) //nolint:gosec // three bits
	})
	return list
}

// Of the entries of a list of NFSv4: types, flags, and bits of the mask.
const (
	ace4Allow       = 0
	ace4FileInherit = 0x1
	ace4Inherits    = 0xf // files, directories, not further, only
	ace4Read        = 0x1
	ace4Write       = 0x2 | 0x4 // and append
	ace4Execute     = 0x20
)

// ace4 is an entry, its fields as in XDR.
type ace4 struct {
	kind, flags, mask uint32
	who               string
}

// parse4 returns the entries of a list, none if it is not one.
func parse4(list []byte) (entries []ace4) {
	word := func() (n uint32) {
		if len(list) >= 4 {
			n, list = binary.BigEndian.Uint32(list), list[4:]
		}
		return n
	}
	for count := word(); count > 0 && len(list) >= 16; count-- {
		e := ace4{kind: word(), flags: word(), mask: word()}
		n := int(word())
		padded := (n + 3) &^ 3
		if n < 0 || padded > len(list) {
			return nil
		}
		e.who, list = string(list[:n]), list[padded:]
		entries = append(entries, e)
	}
	return entries
}

func encode4(entries []ace4) []byte {
	list := binary.BigEndian.AppendUint32(nil, uint32(len(entries))) //nolint:gosec // as many as there were
	for _, e := range entries {
		for _, n := range []uint32{e.kind, e.flags, e.mask, uint32(len(e.who))} { //nolint:gosec // as long as it was
			list = binary.BigEndian.AppendUint32(list, n)
		}
		list = append(list, e.who...)
		for len(list)%4 != 0 {
			list = append(list, 0)
		}
	}
	return list
}

// inherited returns what a file gets of the list of its directory, nil if nothing.
func inherited(list []byte) []byte {
	var entries []ace4
	for _, e := range parse4(list) {
		if e.flags&ace4FileInherit != 0 {
			e.flags &^= ace4Inherits
			entries = append(entries, e)
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return encode4(entries)
}

// masked4 is masked for a list of NFSv4.
func masked4(list []byte, perm fs.FileMode) []byte {
	entries := parse4(list)
	for i := range entries {
		e := &entries[i]
		if e.kind != ace4Allow {
			continue
		}
		may := perm >> 3
		switch e.who {
		case "OWNER@":
			may = perm >> 6
		case "EVERYONE@":
			may = perm
		}
		for _, right := range []struct {
			bit  fs.FileMode
			mask uint32
		}{{4, ace4Read}, {2, ace4Write}, {1, ace4Execute}} {
			if may&right.bit == 0 {
				e.mask &^= right.mask
			}
		}
	}
	return encode4(entries)
}

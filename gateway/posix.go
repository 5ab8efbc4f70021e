package gateway

import "github.com/shoal-storage/shoal/internal/object"

// files returns what the files of objects are given that the sender makes.
func (r *request) files() object.Files {
	if r.identity.POSIX == nil {
		return object.Files{}
	}
	return object.Files{UID: r.identity.POSIX.UID, GID: r.identity.POSIX.GID}
}

package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/object"
)

// files returns what the files of objects are given that the sender makes.
func (r *request) files() object.Files {
	if r.identity.POSIX == nil {
		return object.Files{}
	}
	return filesOf(*r.identity.POSIX)
}

func filesOf(who iam.POSIX) object.Files { return object.Files{UID: who.UID, GID: who.GID} }

// setUserPOSIX serves set-user-posix, one of Shoal's own: who a user is to the file
// system. What cannot be is refused here, and not when he writes.
func (s *Server) setUserPOSIX(ctx context.Context, r *request) error {
	text, err := s.adminBody(r)
	if err != nil {
		return err
	}
	var who iam.POSIX
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&who); err != nil {
		return errAdminConfig.because(err)
	}
	files := filesOf(who)
	if err := files.Validate(); err != nil {
		return errAdminInvalid.because(err)
	}
	if len(who.Supplementary) > maxGroups || slices.Contains(who.Supplementary, ^uint32(0)) {
		return errAdminInvalid.with(fmt.Sprintf("A user can have %d supplementary groups, with the numbers from 0 to 4294967294.", maxGroups))
	}
	if err := s.canGive(ctx, files); err != nil {
		return err
	}
	return s.Directory.SetPOSIX(ctx, r.query.get("accessKey"), who)
}

// maxGroups bounds the supplementary groups of a user.
const maxGroups = 64

// canGive finds out whether new files can be given what files says.
func (s *Server) canGive(ctx context.Context, files object.Files) error {
	if files.IsZero() {
		return nil
	}
	giver, ok := s.Store.(object.Giver)
	err := error(object.NotImplemented)
	if ok {
		err = giver.Prove(ctx, files)
	}
	if errors.Is(err, object.NotImplemented) {
		return errNotImplemented.with("Objects are no files here that could be somebody's.").because(err)
	}
	return err
}

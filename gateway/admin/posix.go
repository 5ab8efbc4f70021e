package admin

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

// setUserPOSIX serves set-user-posix, one of Shoal's own: who a user is to the file
// system. What cannot be is refused here, and not when he writes.
func (a *API) setUserPOSIX(ctx context.Context, c *Call) error {
	text, err := c.body()
	if err != nil {
		return err
	}
	var who iam.POSIX
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&who); err != nil {
		return errDocument.because(err)
	}
	files := object.Files{UID: who.UID, GID: who.GID}
	if err := files.Validate(); err != nil {
		return errInvalid.because(err)
	}
	if len(who.Supplementary) > maxGroups || slices.Contains(who.Supplementary, ^uint32(0)) {
		return errInvalid.with(fmt.Sprintf("A user can have %d supplementary groups, with the numbers from 0 to 4294967294.", maxGroups))
	}
	if err := a.canGive(ctx, files); err != nil {
		return err
	}
	return a.Directory.SetPOSIX(ctx, c.Query.Get("accessKey"), who)
}

// maxGroups bounds the supplementary groups of a user.
const maxGroups = 64

// canGive finds out whether new files can be given what files says.
func (a *API) canGive(ctx context.Context, files object.Files) error {
	if files.IsZero() {
		return nil
	}
	giver, ok := a.Store.(object.Giver)
	err := error(object.NotImplemented)
	if ok {
		err = giver.Prove(ctx, files)
	}
	if errors.Is(err, object.NotImplemented) {
		return errNotImplemented.with("Objects are no files here that could be somebody's.").because(err)
	}
	return err
}

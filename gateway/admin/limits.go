package admin

import (
	"context"

	"github.com/shoal-storage/shoal/internal/limits"
)

// maxLimits bounds a document of limits.
const maxLimits = 128 << 10

// getUserLimits serves get-user-limits: everybody may know his own.
func (a *API) getUserLimits(_ context.Context, c *Call) error {
	name := c.Query.Get("accessKey")
	if err := a.allowOn(c, "admin:GetUser", name); err != nil {
		return err
	}
	u, err := a.Directory.User(name)
	if err != nil {
		return err
	}
	var rates limits.Rates
	if u.Limits != "" {
		if rates, err = limits.Parse(u.Limits); err != nil {
			return err
		}
	}
	return c.answerJSON(rates)
}

// setUserLimits serves set-user-limits.
func (a *API) setUserLimits(ctx context.Context, c *Call) error {
	text, err := c.Body(maxLimits)
	if err != nil {
		return err
	}
	rates, err := limits.Parse(string(text))
	if err != nil {
		return errInvalidArgument.with("The limits are not valid: " + err.Error())
	}
	return a.Directory.SetLimits(ctx, c.Query.Get("accessKey"), rates.String())
}

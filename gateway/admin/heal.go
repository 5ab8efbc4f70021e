package admin

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/upkeep"
)

// Healer brings drives what they lack, in passes over what they hold. Its methods may be
// called concurrently.
type Healer interface {
	// Passes returns the last pass of each kind, under way or over.
	Passes() ([]upkeep.Pass, error)
	// Due reports whether drives are away, or have come of which no pass has seen yet what they
	// have missed.
	Due(ctx context.Context) bool
	// Ask asks for a pass of the kind Asked. It returns ErrHealing while another one is asked
	// for or under way, unless it is to be taken instead of that.
	Ask(ctx context.Context, p upkeep.Pass, instead bool) error
	// End ends the pass that was asked for, if it is not over.
	End(ctx context.Context) error
}

// Pass is a pass over the drives, and what follows from its numbers.
type Pass struct {
	upkeep.Pass
	State upkeep.PassState `json:"state"`
	Rate  float64          `json:"rate"`                  // bytes made anew in a second: since Limit was changed, or of one that is over in all
	ETA   float64          `json:"eta_seconds,omitempty"` // until it ends, if that is known
}

func newPass(p *upkeep.Pass, now time.Time) Pass {
	s := Pass{Pass: *p, State: p.State(now)}
	until := p.Ended
	if until.IsZero() {
		until = p.CountedAt()
	}
	since := upkeep.Stage{Time: p.Begun}
	if p.Since != nil && s.State == upkeep.Running { // before that it was slower or faster than it goes on
		since = *p.Since
	}
	took, names := until.Sub(since.Time).Seconds(), p.Names-since.Names
	if p.Begun.IsZero() || took <= 0 {
		return s
	}
	s.Rate = float64(p.Bytes-since.Bytes) / took
	if s.State == upkeep.Running && names > 0 && p.Expected > p.Names {
		s.ETA = took / float64(names) * float64(p.Expected-p.Names)
	}
	return s
}

// Passes returns the last pass of each kind, under way or over.
func (a *API) Passes() ([]Pass, error) {
	shown := []Pass{}
	if a.Healing == nil {
		return shown, nil
	}
	all, err := a.Healing.Passes()
	if err != nil {
		return nil, object.E("passes", "", object.Unavailable, err)
	}
	now := a.Now()
	for i := range all {
		shown = append(shown, newPass(&all[i], now))
	}
	return shown, nil
}

// passesOrWhy returns the last passes, or why they are not known.
func (a *API) passesOrWhy() (passes []Pass, why string) {
	passes, err := a.Passes()
	if err != nil {
		return []Pass{}, inOneLine(err)
	}
	return passes, ""
}

// healStatus serves background-heal/status: which drives do not have all yet that is to be
// on them, and what is done about it. The drives are told also while the latter is not known.
func (a *API) healStatus(ctx context.Context, c *Call) error {
	passes, unknown := a.passesOrWhy()
	var everything *Pass
	for i := range passes {
		if passes[i].Kind == upkeep.Everything {
			everything = &passes[i]
		}
	}
	healing, offline, away, drives := []string{}, []string{}, []string{}, []Drive(nil)
	for _, g := range a.gateways(c) {
		if !g.Online {
			offline = append(offline, g.Endpoint)
		}
		drives = append(drives, g.Drives...)
	}
	scanned, sets := int64(0), []any{}
	for i, set := range SetsOf(drives) {
		disks := []map[string]any{}
		for _, d := range set.Drives {
			disk := d.document()
			if !d.Online {
				away = append(away, d.endpoint())
			}
			if d.Healing {
				healing = append(healing, d.endpoint())
				disk["heal_info"] = everything.ofDrive(d)
			}
			disks = append(disks, disk)
		}
		if everything != nil {
			scanned = everything.Names
			sets = append(sets, map[string]any{
				"id": strconv.Itoa(i), "pool_index": set.Pool, "set_index": set.Set, "heal_status": everything.State, "heal_priority": "",
				"total_objects": everything.Expected, "disks": disks,
			})
		}
	}
	standard, reduced := a.Parities()
	return c.answerJSON(map[string]any{
		"due": a.Healing != nil && a.Healing.Due(ctx), "offline_nodes": offline, "offline_drives": away, "ScannedItemsCount": scanned, "HealDisks": healing, "sets": sets, "mrf": map[string]any{},
		"sc_parity": map[string]int{"STANDARD": standard, "REDUCED_REDUNDANCY": reduced}, "passes": passes, "passes_error": unknown,
	})
}

// ofDrive is what a pass over everything does for a drive that stands for another one. All
// that it makes is taken to be for that. A pass that is over may have ended before the drive
// came, and has done nothing for it.
func (p *Pass) ofDrive(d Drive) map[string]any {
	if p == nil {
		return nil
	}
	var done upkeep.Pass
	if p.State == upkeep.Running {
		done = p.Pass
	}
	return map[string]any{
		"id": d.ID, "heal_id": p.Token, "pool_index": d.Pool, "set_index": d.Set, "disk_index": d.place, "endpoint": d.endpoint(), "path": d.Path,
		"started": p.Begun, "last_update": p.Told, "objects_total_count": p.Expected, "items_healed": done.Names, "items_failed": done.Failed, "bytes_done": done.Bytes,
		"finished": false,
	}
}

// healOptions are what a pass is asked to do, as MinIO's tools say it.
type healOptions struct {
	Recursive    bool `json:"recursive"`
	DryRun       bool `json:"dryRun"`
	Remove       bool `json:"remove"`
	Recreate     bool `json:"recreate"`
	ScanMode     int  `json:"scanMode"`
	UpdateParity bool `json:"updateParity"`
	NoLock       bool `json:"nolock"`
	Pool         *int `json:"pool,omitempty"`
	Set          *int `json:"set,omitempty"`
}

// healCall is the path of the call that heals everything, and begins those that heal a
// part.
const healCall = "heal/"

// scanDeep is the mode in which every shard is read.
const scanDeep = 2

// refusal says why what was asked for is not done, "" if it can be.
func (o *healOptions) refusal() string {
	switch {
	case o.DryRun:
		return "Nothing is looked for without healing it: leave out --dry-run."
	case o.Remove:
		return "Nothing is removed because it cannot be read: leave out --remove."
	case o.Recreate, o.UpdateParity, o.NoLock:
		return "A pass heals what drives lack, and does nothing else."
	case !o.Recursive:
		return "A pass is over everything below a bucket or prefix: add --recursive."
	case o.Pool != nil && *o.Pool != 0, o.Set != nil && *o.Set != 0:
		return "A pass is over all sets of drives: leave out which."
	}
	return ""
}

// heal serves heal/, where passes are asked for, followed and ended.
func (a *API) heal(ctx context.Context, c *Call) error {
	if a.Healing == nil {
		return errNotImplemented.with(nothingToHeal)
	}
	if token := c.Query.Get("clientToken"); token != "" {
		return a.followPass(c, token)
	}
	if c.Query.Get("forceStop") == "true" {
		return a.endPass(ctx, c)
	}
	var o healOptions
	if err := c.decode(&o); err != nil {
		return err
	}
	if why := o.refusal(); why != "" {
		return errNotImplemented.with(why)
	}
	bucket, prefix, _ := strings.Cut(c.Below, "/")
	if bucket != "" {
		if _, err := a.Store.StatBucket(ctx, bucket); err != nil {
			return err
		}
	}
	now := a.Now()
	p := upkeep.Pass{Kind: upkeep.Asked, Token: newPassToken(), Bucket: bucket, Prefix: prefix, Deep: o.ScanMode == scanDeep, Asked: now, Told: now}
	if err := a.Healing.Ask(ctx, p, c.Query.Get("forceStart") == "true"); err != nil {
		return fromHealer(err)
	}
	a.Logger.Info("a pass over the drives was asked for", "bucket", bucket, "prefix", prefix, "deep", p.Deep, "request", c.ID, "user", c.Identity.AccessKey)
	return c.answerPass(&p)
}

func newPassToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func fromHealer(err error) error {
	if errors.Is(err, upkeep.ErrHealing) {
		return errHealRunning.because(err)
	}
	return object.E("heal", "", object.Unavailable, err)
}

// answerPass answers how to follow a pass.
func (c *Call) answerPass(p *upkeep.Pass) error {
	return c.answerJSON(map[string]any{"clientToken": p.Token, "clientAddress": c.Remote, "startTime": p.Asked})
}

// askedPass returns the pass that was asked for last.
func (a *API) askedPass() (*Pass, error) {
	all, err := a.Passes()
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Kind == upkeep.Asked {
			return &all[i], nil
		}
	}
	return nil, errHealUnknown
}

// endPass ends the pass that was asked for.
func (a *API) endPass(ctx context.Context, c *Call) error {
	p, err := a.askedPass()
	if err != nil {
		return err
	}
	if err := a.Healing.End(ctx); err != nil {
		return fromHealer(err)
	}
	return c.answerPass(&p.Pass)
}

// followPass answers how far a pass is. What was healed is told when it is over, since a
// client adds up what it is told.
func (a *API) followPass(c *Call, token string) error {
	p, err := a.askedPass()
	if err != nil {
		return err
	}
	if p.Token != token {
		return errHealUnknown
	}
	state, detail, items := p.State, p.Error, []any{}
	if p.Over(a.Now()) {
		items = a.healItems(p.Mended)
		if p.Failed > 0 {
			state, detail = upkeep.Stopped, fmt.Sprintf("%d names could not be healed: \"shoal admin heal\" shows why", p.Failed)
		}
	}
	scan := 1
	if p.Deep {
		scan = scanDeep
	}
	return c.answerJSON(map[string]any{
		"summary": state, "detail": detail, "startTime": p.Asked, "items": items, "settings": map[string]any{"recursive": true, "scanMode": scan},
	})
}

// healItems are objects that were healed, as MinIO's tools know them. It is known of how many
// drives something was missing, and not of which. All are shown as of the first set.
func (a *API) healItems(mended []upkeep.Mended) []any {
	type state struct {
		UUID     string `json:"uuid"`
		Endpoint string `json:"endpoint"`
		State    string `json:"state"`
	}
	n := 0
	if a.Drives != nil {
		n = len(a.Drives())
		if sets := SetsOf(a.Drives()); len(sets) > 1 {
			n = len(sets[0].Drives)
		}
	}
	parity, _ := a.Parities()
	items := make([]any, 0, len(mended))
	for i, m := range mended {
		before, after := make([]state, n), make([]state, n)
		for j := range n {
			before[j].State, after[j].State = "ok", "ok"
			if j < m.Drives {
				before[j].State = "missing"
			}
		}
		items = append(items, map[string]any{
			"resultId": i + 1, "type": "object", "bucket": m.Bucket, "object": m.Key, "objectSize": m.Bytes, "setCount": 1,
			"diskCount": n, "parityBlocks": parity, "dataBlocks": n - parity,
			"before": map[string]any{"drives": before}, "after": map[string]any{"drives": after},
		})
	}
	return items
}

// Why there is no pass.
const nothingToHeal = "In a directory nothing needs to be healed: its objects are files, which are whole or not there."

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strings"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/usage"
)

// info serves info: the gateways, and what they serve. Where too many of them are away to know
// the latter it tells the former, which are then what is looked for.
func (a *API) info(ctx context.Context, c *Call) error {
	gateways := a.gateways(c)
	online, offline := 0, 0
	network, servers := make(map[string]string), []map[string]any{}
	for _, g := range gateways {
		network[g.Endpoint] = g.state()
		for _, d := range g.drives() {
			if d.Online {
				online++
			} else {
				offline++
			}
		}
	}
	for _, g := range gateways {
		servers = append(servers, g.document(c.Scheme, network))
	}
	standard, reduced := a.Parities()
	// mc hides the gateways of another backend.
	backend := map[string]any{"backendType": "Erasure", "onlineDisks": online, "offlineDisks": offline, "standardSCParity": standard, "rrSCParity": reduced}
	info, held := a.served(ctx)
	if a.Drives != nil {
		all := a.Drives()
		backend["totalSets"], backend["totalDrivesPerSet"] = poolSizes(all)
		info["pools"] = poolDocuments(SetsOf(all), held)
	}
	maps.Copy(info, map[string]any{
		"mode": "online", "deploymentID": a.Deployment, "region": a.Region, "services": map[string]any{}, "sqsARN": a.targets(),
		"backend": backend, "servers": servers,
	})
	return c.answerJSON(info)
}

// served is what info tells of the buckets, or why it cannot, and what they hold together.
func (a *API) served(ctx context.Context) (info map[string]any, held usage.Usage) {
	buckets, err := a.Store.ListBuckets(ctx)
	if err != nil {
		why := inOneLine(err)
		info = unknownUsage(why)
		info["buckets"] = map[string]any{"count": 0, "error": why}
		return info, held
	}
	each, held, err := a.usageOf(buckets)
	info = usageSummary(held, len(each), len(buckets))
	switch {
	case err != nil:
		info = unknownUsage(inOneLine(err))
	case a.Usage == nil:
		info = unknownUsage("this server does not count what buckets hold (--single-gateway)")
	}
	info["buckets"] = map[string]any{"count": len(buckets)}
	return info, held
}

// inOneLine is the text of an error for a table: joined ones have a line each.
func inOneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// targets returns the ARNs of those that events can be sent to.
func (a *API) targets() []string {
	if a.Events == nil {
		return []string{}
	}
	return a.Events.ARNs()
}

// poolSizes returns how many sets each pool has, and how many drives each of its sets.
func poolSizes(all []Drive) (sets, drives []int) {
	for _, s := range SetsOf(all) {
		for len(sets) <= s.Pool {
			sets, drives = append(sets, 0), append(drives, 0)
		}
		sets[s.Pool]++
		drives[s.Pool] = max(drives[s.Pool], len(s.Drives))
	}
	return sets, drives
}

// poolDocuments are the sets as info tells them, by pool and set. What sets hold is counted together, and so is told
// where there is one.
func poolDocuments(sets []DriveSet, held usage.Usage) map[int]map[int]any {
	pools := make(map[int]map[int]any)
	for _, s := range sets {
		var used, total uint64
		for _, d := range s.Drives {
			used, total = used+d.Room.Used(), total+d.Room.Total
		}
		d := map[string]any{"id": s.Set, "rawUsage": used, "rawCapacity": total, "healDisks": s.Quorums().Healing}
		if len(sets) == 1 {
			maps.Copy(d, map[string]any{"usage": held.Bytes, "objectsCount": held.Objects, "versionsCount": held.Versions, "deleteMarkersCount": held.Markers})
		}
		if pools[s.Pool] == nil {
			pools[s.Pool] = make(map[int]any)
		}
		pools[s.Pool][s.Set] = d
	}
	return pools
}

// accountInfo serves accountinfo: who the sender is, and which buckets he may use.
func (a *API) accountInfo(ctx context.Context, c *Call) error {
	buckets, err := a.Store.ListBuckets(ctx)
	if err != nil {
		return err
	}
	each, _, err := a.usageOf(buckets)
	if err != nil {
		return err
	}
	seen := []map[string]any{}
	for i := range buckets {
		name := buckets[i].Name
		read := c.Allow("s3:ListBucket", object.Ref{Bucket: name}) == nil || c.Allow("s3:GetObject", object.Ref{Bucket: name, Key: "*"}) == nil
		write := c.Allow("s3:PutObject", object.Ref{Bucket: name, Key: "*"}) == nil
		if read || write {
			u := each[name]
			seen = append(seen, map[string]any{
				"name": name, "created": buckets[i].Created, "access": map[string]bool{"read": read, "write": write},
				"size": u.Bytes, "objects": u.Objects, "objectHistogram": histogram(u),
			})
		}
	}
	policy, err := a.shownPolicy(c)
	if err != nil {
		return err
	}
	return c.answerJSON(map[string]any{"AccountName": c.Identity.User(), "Server": map[string]any{"Type": "Erasure"}, "Policy": policy, "Buckets": seen})
}

// shownPolicy returns the first policy of the sender that there is, as it is shown where there is
// room for one.
func (a *API) shownPolicy(c *Call) (json.RawMessage, error) {
	names, err := a.policyNames(c)
	for _, name := range names {
		p, err := a.Directory.Policy(name)
		if err == nil {
			return json.RawMessage(p.Text), nil
		}
		if !errors.Is(err, directory.ErrNoPolicy) {
			return nil, err
		}
	}
	return json.RawMessage("{}"), err
}

// policyNames returns the names of the policies of the sender: a user, or somebody of an identity
// provider.
func (a *API) policyNames(c *Call) ([]string, error) {
	if c.Identity.Root {
		return []string{"consoleAdmin"}, nil
	}
	person, err := a.Directory.Bearer(c.Identity.AccessKey, c.Token)
	if err != nil {
		return nil, err
	}
	if person != nil {
		return a.Directory.PoliciesOf(*person)
	}
	u, err := a.Directory.User(c.Identity.User())
	return u.Policies, err
}

package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/upkeep"
	"github.com/shoal-storage/shoal/internal/usage"
)

// adminInfo serves info: the gateways, and what they serve. Where too many of them are away to know
// the latter it tells the former, which are then what is looked for.
func (s *Server) adminInfo(ctx context.Context, r *request) error {
	gateways := s.gateways(r)
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
		servers = append(servers, g.document(r.scheme(), network))
	}
	standard, reduced := s.Parities()
	// mc hides the gateways of another backend.
	backend := map[string]any{"backendType": "Erasure", "onlineDisks": online, "offlineDisks": offline, "standardSCParity": standard, "rrSCParity": reduced}
	info, held := s.served(ctx)
	if s.Drives != nil {
		all := s.Drives()
		backend["totalSets"], backend["totalDrivesPerSet"] = poolSizes(all)
		info["pools"] = poolDocuments(setsOf(all), held)
	}
	maps.Copy(info, map[string]any{
		"mode": "online", "deploymentID": s.Deployment, "region": s.Region, "services": map[string]any{}, "sqsARN": s.targets(),
		"backend": backend, "servers": servers,
	})
	return r.answerJSON(info)
}

// served is what info tells of the buckets, or why it cannot, and what they hold together.
func (s *Server) served(ctx context.Context) (info map[string]any, held usage.Usage) {
	buckets, err := s.Store.ListBuckets(ctx)
	if err != nil {
		why := inOneLine(err)
		info = unknownUsage(why)
		info["buckets"] = map[string]any{"count": 0, "error": why}
		return info, held
	}
	each, held, err := s.usageOf(buckets)
	info = usageSummary(held, len(each), len(buckets))
	switch {
	case err != nil:
		info = unknownUsage(inOneLine(err))
	case s.Usage == nil:
		info = unknownUsage("this server does not count what buckets hold (--single-gateway)")
	}
	info["buckets"] = map[string]any{"count": len(buckets)}
	return info, held
}

// inOneLine is the text of an error for a table: joined ones have a line each.
func inOneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// targets returns the ARNs of those that events can be sent to.
func (s *Server) targets() []string {
	if s.Events == nil {
		return []string{}
	}
	return s.Events.ARNs()
}

// gateways returns those that serve the tree.
func (s *Server) gateways(r *request) []Gateway {
	if s.Gateways == nil {
		g := s.itself(r.header(fasthttp.HeaderHost))
		if s.Drives != nil {
			g.Drives = placed(s.Drives())
		}
		return []Gateway{g}
	}
	return s.fleet()
}

// itself is this gateway under a name.
func (s *Server) itself(endpoint string) Gateway {
	return Gateway{Endpoint: endpoint, Online: true, Uptime: s.Now().Sub(s.started), Version: s.Version}
}

// fleet returns this gateway and the others. One with drives is online if any of them answers: without
// a majority there are no members, and who looks then wants to know which nodes are away.
func (s *Server) fleet() []Gateway {
	ctx, cancel := context.WithTimeout(s.root, statusTimeout)
	defer cancel()
	all := s.Gateways(ctx)
	if s.Drives == nil {
		return all
	}
	for _, d := range placed(s.Drives()) {
		at := slices.IndexFunc(all, func(g Gateway) bool { return g.Endpoint == d.Node })
		if at < 0 { // nothing is heard of it
			g := Gateway{Endpoint: d.Node}
			if d.Node == s.Node {
				g = s.itself(d.Node)
			}
			at, all = len(all), append(all, g)
		}
		g := &all[at]
		g.Drives, g.Online = append(g.Drives, d), g.Online || d.Online || d.Node == s.Node
	}
	slices.SortStableFunc(all, func(a, b Gateway) int { return strings.Compare(a.Endpoint, b.Endpoint) })
	return all
}

// Gateway is one of those that serve a tree.
type Gateway struct {
	Endpoint string // host:port that its clients use, as far as that is known
	Online   bool
	Leader   bool
	Uptime   time.Duration
	Version  string
	Drives   []Drive // empty: what all gateways have mounted
}

// Drive is one of those that a gateway spreads objects over.
type Drive struct {
	Node    string // the Endpoint of its gateway, where several have drives
	Path    string
	ID      string
	Pool    int // that it is of
	Set     int // of the pool
	Parity  int // so many drives of the set may be lost
	Slot    int // its place among those of all sets; -1: it has none, or that is not known
	Online  bool
	Healing bool // it stands for another one, and does not have all of that yet
	Room    upkeep.Room
	place   int // in its set
}

// drives returns the drives of the gateway; what all gateways have mounted is one.
func (g Gateway) drives() []Drive {
	if len(g.Drives) == 0 {
		return []Drive{{Path: g.Endpoint, Online: g.Online}}
	}
	return g.Drives
}

// driveSet is drives that share objects.
type driveSet struct {
	pool, set, parity int
	drives            []Drive
}

// setsOf returns the sets of drives, in their order.
func setsOf(all []Drive) (sets []driveSet) {
	for _, d := range all {
		i, found := slices.BinarySearchFunc(sets, d, func(s driveSet, d Drive) int {
			return cmp.Or(cmp.Compare(s.pool, d.Pool), cmp.Compare(s.set, d.Set))
		})
		if !found {
			sets = slices.Insert(sets, i, driveSet{pool: d.Pool, set: d.Set, parity: d.Parity})
		}
		sets[i].drives = append(sets[i].drives, d)
	}
	return sets
}

// placed returns drives with their places in their sets.
func placed(all []Drive) []Drive {
	all = slices.Clone(all)
	next := make(map[[2]int]int) // by pool and set
	for i := range all {
		set := [2]int{all[i].Pool, all[i].Set}
		all[i].place = next[set]
		next[set]++
	}
	return all
}

// poolSizes returns how many sets each pool has, and how many drives each of its sets.
func poolSizes(all []Drive) (sets, drives []int) {
	for _, s := range setsOf(all) {
		for len(sets) <= s.pool {
			sets, drives = append(sets, 0), append(drives, 0)
		}
		sets[s.pool]++
		drives[s.pool] = max(drives[s.pool], len(s.drives))
	}
	return sets, drives
}

// poolDocuments are the sets as info tells them, by pool and set. What sets hold is counted together, and so is told
// where there is one.
func poolDocuments(sets []driveSet, held usage.Usage) map[int]map[int]any {
	pools := make(map[int]map[int]any)
	for _, s := range sets {
		var used, total uint64
		for _, d := range s.drives {
			used, total = used+d.Room.Used(), total+d.Room.Total
		}
		d := map[string]any{"id": s.set, "rawUsage": used, "rawCapacity": total, "healDisks": s.quorums().healing}
		if len(sets) == 1 {
			maps.Copy(d, map[string]any{"usage": held.Bytes, "objectsCount": held.Objects, "versionsCount": held.Versions, "deleteMarkersCount": held.Markers})
		}
		if pools[s.pool] == nil {
			pools[s.pool] = make(map[int]any)
		}
		pools[s.pool][s.set] = d
	}
	return pools
}

// endpoint names the drive among those of all gateways.
func (d Drive) endpoint() string {
	if d.Node == "" {
		return d.Path
	}
	return "http://" + d.Node + d.Path
}

// document is the drive as info shows it. mc sums up the room of those of each set whose index is
// below the number of data shards.
func (d Drive) document() map[string]any {
	state := "ok"
	if !d.Online {
		state = "offline"
	}
	return map[string]any{
		"endpoint": d.endpoint(), "path": d.Path, "uuid": d.ID, "state": state, "healing": d.Healing, "pool_index": d.Pool, "set_index": d.Set, "disk_index": d.place,
		"totalspace": d.Room.Total, "usedspace": d.Room.Used(), "availspace": d.Room.Free,
	}
}

// document is the gateway as info shows it.
func (g Gateway) document(scheme string, network map[string]string) map[string]any {
	drives := []any{}
	for _, d := range g.drives() {
		drives = append(drives, d.document())
	}
	return map[string]any{
		"state": g.state(), "endpoint": g.Endpoint, "scheme": scheme, "uptime": int64(g.Uptime.Seconds()), "version": g.Version,
		"network": network, "drives": drives, "is_leader": g.Leader,
	}
}

func (g Gateway) state() string {
	if g.Online {
		return "online"
	}
	return "offline"
}

// accountInfo serves accountinfo: who the sender is, and which buckets he may use.
func (s *Server) accountInfo(ctx context.Context, r *request) error {
	buckets, err := s.Store.ListBuckets(ctx)
	if err != nil {
		return err
	}
	each, _, err := s.usageOf(buckets)
	if err != nil {
		return err
	}
	seen := []map[string]any{}
	for i := range buckets {
		name := buckets[i].Name
		read := s.allow(r, "s3:ListBucket", object.Ref{Bucket: name}) == nil || s.allow(r, "s3:GetObject", object.Ref{Bucket: name, Key: "*"}) == nil
		write := s.allow(r, "s3:PutObject", object.Ref{Bucket: name, Key: "*"}) == nil
		if read || write {
			u := each[name]
			seen = append(seen, map[string]any{
				"name": name, "created": buckets[i].Created, "access": map[string]bool{"read": read, "write": write},
				"size": u.Bytes, "objects": u.Objects, "objectHistogram": histogram(u),
			})
		}
	}
	policy, err := s.shownPolicy(r)
	if err != nil {
		return err
	}
	return r.answerJSON(map[string]any{"AccountName": r.identity.User(), "Server": map[string]any{"Type": "Erasure"}, "Policy": policy, "Buckets": seen})
}

// shownPolicy returns the first policy of the sender that there is, as it is shown where there is
// room for one.
func (s *Server) shownPolicy(r *request) (json.RawMessage, error) {
	names, err := s.policyNames(r)
	for _, name := range names {
		p, err := s.Directory.Policy(name)
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
func (s *Server) policyNames(r *request) ([]string, error) {
	if r.identity.Root {
		return []string{"consoleAdmin"}, nil
	}
	person, err := s.Directory.Bearer(r.identity.AccessKey, r.auth.SecurityToken)
	if err != nil {
		return nil, err
	}
	if person != nil {
		return s.Directory.PoliciesOf(*person)
	}
	u, err := s.Directory.User(r.identity.User())
	return u.Policies, err
}

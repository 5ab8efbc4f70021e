package doctor

import (
	"context"
	"fmt"
	"time"
)

// Pair measures what one client of a tree sees of what another one does.
type Pair struct {
	Own, Other Hand
	Rounds     int           // in which what gateways see is compared
	Patience   time.Duration // for how long a plain look is repeated until it is right; 0: there is none
	Stale      time.Duration // for which, as is known of the mount, a look may be wrong; 0: gateways must see all at once
	Cure       string        // what to do where looks go wrong
}

// poll is how long Patience waits between two looks.
const poll = 20 * time.Millisecond

// Run measures in both directions.
func (p *Pair) Run(ctx context.Context) (found []Finding, err error) {
	if err := p.each(ctx, Act{Do: Make}); err != nil {
		return nil, err
	}
	defer func() {
		// What is left is seen by its name.
		_, _ = p.Own.Act(context.WithoutCancel(ctx), Act{Do: Clear})
	}()
	for _, step := range []func(context.Context) ([]Finding, error){p.clients, p.coherence, p.staleness} {
		f, err := step(ctx)
		if err != nil {
			return found, err
		}
		found = append(found, f...)
	}
	return found, nil
}

// each has the first make the directory, and the second see it.
func (p *Pair) each(ctx context.Context, a Act) error {
	if _, err := p.Own.Act(ctx, a); err != nil {
		return err
	}
	if _, err := p.Own.Act(ctx, Act{Do: Put, Name: "here", Content: "x"}); err != nil {
		return err
	}
	for began := time.Now(); ; {
		seen, err := p.Other.Act(ctx, Act{Do: List, Name: "here"})
		if err != nil || seen.There {
			return err
		}
		if time.Since(began) > actTime {
			return fmt.Errorf("the other host does not see the directory of this one: is it the same tree?")
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(poll):
		return nil
	}
}

// clients compares who the two are, and their clocks.
func (p *Pair) clients(ctx context.Context) ([]Finding, error) {
	own, err := p.Own.Act(ctx, Act{Do: Identify})
	if err != nil {
		return nil, err
	}
	asked := time.Now()
	other, err := p.Other.Act(ctx, Act{Do: Identify})
	if err != nil {
		return nil, err
	}
	took := time.Since(asked)
	f := Finding{Check: "two clients", Severity: OK, Found: own.Client.Host + " and " + other.Client.Host}
	if a, b := own.Client, other.Client; a.Kernel != "" && a.Kernel == b.Kernel && a.Net == b.Net && a.Device != b.Device && a.Type == "nfs4" && b.Type == "nfs4" {
		f = Finding{
			Check: "two clients", Severity: Bad, Found: "both have the export mounted by itself on one host, where they are one client to the server of NFSv4",
			Effect: "The server tells none of them what the other changes in a file that it has delegated: what was replaced is read for ever.",
			Cure:   "Use one mount for both, or mount without nosharecache.",
		}
	}
	skew := max(asked.Sub(other.Clock), other.Clock.Sub(asked.Add(took)), 0)
	c := Finding{Check: "two clocks", Severity: OK, Found: "the same, within " + since(max(skew, took))}
	if skew >= skewWarn {
		c = Finding{
			Check: "two clocks", Severity: Warn, Found: "apart by " + since(skew), Effect: "Times of objects depend on the gateway, and requests signed on one may be refused on another when it is 15 minutes.",
			Cure: "Run chrony or systemd-timesyncd on both.",
		}
	}
	return []Finding{f, c}, nil
}

// side is one direction: what the reader sees of what the writer does.
type side struct {
	writer, reader Hand
	name           string
}

// What the two are called in findings.
const (
	thisHost  = "this host"
	otherHost = "the other host"
)

func (p *Pair) sides() []side {
	return []side{{p.Own, p.Other, otherHost}, {p.Other, p.Own, thisHost}}
}

// coherence counts how often a gateway would have seen something else than what the
// other one had done just before.
func (p *Pair) coherence(ctx context.Context) (found []Finding, err error) {
	if p.Stale > 0 {
		return nil, nil
	}
	for i, s := range p.sides() {
		looks, wrong, what := 0, 0, ""
		for round := range p.Rounds {
			name := fmt.Sprintf("coherent-%d-%d", i, round%3)
			for _, content := range []string{"", fmt.Sprint("one ", round), fmt.Sprint("two ", round), ""} {
				err := s.change(ctx, name, content)
				if err != nil {
					return found, err
				}
				n, miss, err := s.compare(ctx, name, content)
				if err != nil {
					return found, err
				}
				looks += n
				if miss != "" {
					wrong, what = wrong+1, miss
				}
			}
		}
		f := Finding{Check: "seen by " + s.name, Severity: OK, Found: fmt.Sprintf("what the other does, at once, in each of %d looks of a gateway", looks)}
		if wrong > 0 {
			f = Finding{
				Check: f.Check, Severity: Bad, Found: fmt.Sprintf("in %d of %d looks of a gateway not what the other had just done: %s", wrong, looks, what),
				Effect: "Several gateways would answer with what was.", Cure: p.Cure,
			}
		}
		found = append(found, f)
	}
	return found, nil
}

// change has the writer put a file, or with no content take it, if it is there.
func (s side) change(ctx context.Context, name, content string) error {
	if content != "" {
		_, err := s.writer.Act(ctx, Act{Do: Put, Name: name, Content: content})
		return err
	}
	seen, err := s.writer.Act(ctx, Act{Do: Look, Name: name})
	if err == nil && seen.There {
		_, err = s.writer.Act(ctx, Act{Do: Take, Name: name})
	}
	return err
}

// compare has the reader look, and returns what it saw if that is not content.
func (s side) compare(ctx context.Context, name, content string) (looks int, miss string, err error) {
	seen, err := s.reader.Act(ctx, Act{Do: Look, Name: name})
	if err != nil {
		return 1, "", err
	}
	if seen.Content != content {
		return 1, fmt.Sprintf("a file held %q and not %q", seen.Content, content), nil
	}
	seen, err = s.reader.Act(ctx, Act{Do: List, Name: name})
	if err == nil && seen.There != (content != "") {
		miss = "a listing was not right"
	}
	return 2, miss, err
}

// staleness measures for how long other programs on one host see what was before.
func (p *Pair) staleness(ctx context.Context) (found []Finding, err error) {
	if p.Patience == 0 {
		return nil, nil
	}
	for i, s := range p.sides() {
		var longest time.Duration
		text := ""
		for _, c := range []struct{ what, name, after, look string }{
			{"a new name", "plain-new", "one", Look},
			{"a replaced file", "plain-new", "two", Look},
			{"a removed name", "plain-new", "", Look},
			{"a listing", "plain-listed", "one", List},
		} {
			name := fmt.Sprintf("%s-%d", c.name, i)
			took, err := p.until(ctx, s, Act{Do: c.look, Name: name, Plain: true}, c.after)
			if err != nil {
				return found, err
			}
			longest = max(longest, took)
			shown := since(took)
			if took >= p.Patience {
				shown = "not within " + p.Patience.String()
			}
			text += fmt.Sprintf(", %s %s", c.what, shown)
		}
		f := Finding{Check: "plain on " + s.name, Severity: Info, Found: "what the other did shows to other programs after" + text[1:]}
		switch {
		case longest < 4*poll:
			f.Severity = OK
		case p.Stale > 0 && longest > p.Stale:
			f.Severity, f.Effect = Bad, fmt.Sprintf("Gateways that route wait for %v only before a bucket changes its gateway.", p.Stale)
			f.Cure = fmt.Sprintf("Give all gateways --mount-stale %v.", (2 * longest).Round(time.Second))
		case p.Stale == 0:
			f.Effect = "Gateways see it at once: they ask. Users of the share see it that late."
		}
		found = append(found, f)
	}
	return found, nil
}

// until has the reader look before and after a change, and returns how long it took
// until it saw it.
func (p *Pair) until(ctx context.Context, s side, a Act, after string) (time.Duration, error) {
	if _, err := s.reader.Act(ctx, a); err != nil {
		return 0, err
	}
	if err := s.change(ctx, a.Name, after); err != nil {
		return 0, err
	}
	for began := time.Now(); ; {
		seen, err := s.reader.Act(ctx, a)
		if err != nil {
			return 0, err
		}
		if seen.There == (after != "") && (a.Do == List || seen.Content == after) {
			return time.Since(began), nil
		}
		if time.Since(began) >= p.Patience {
			return p.Patience, nil
		}
		if err := pause(ctx); err != nil {
			return 0, err
		}
	}
}

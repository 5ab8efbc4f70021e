package test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"
)

// healingShown is what "shoal admin heal --json" tells.
type healingShown struct {
	Passes []passShown
}

type passShown struct {
	Kind, State, Bucket, Token              string
	Deep                                    bool
	Begun                                   time.Time
	Names, Shards, Damaged, Failed, Pending int64
}

// healing returns what a node tells of healing.
func (c *nodes) healing(t *testing.T, i int) healingShown { return c.servers[i].healing(t) }

func (s *server) healing(t *testing.T) (h healingShown) {
	t.Helper()
	out, said, _ := shoal(t, append(clientEnv(t), awsEnv()...), "admin", "heal", "--json", "--url", s.url)
	if err := json.Unmarshal([]byte(out), &h); err != nil {
		t.Fatalf("%s: %v, %s%s", s.url, err, out, said)
	}
	return h
}

// awaitPass returns a pass that began after some time and has left nothing.
func awaitPass(t *testing.T, s *server, since time.Time) passShown {
	t.Helper()
	var h healingShown
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		h = s.healing(t)
		for _, p := range h.Passes {
			if p.Begun.After(since) && p.State == "finished" && p.Failed+p.Pending == 0 {
				return p
			}
		}
	}
	t.Fatalf("no pass over the drives since %v has left nothing within 3 minutes: %+v", since, h)
	return passShown{}
}

// TestHealingIsAskedForAndSeenThroughEveryNode changes bits on the drive of one node, has mc heal
// the bucket through another, and looks what each of them tells of that.
func TestHealingIsAskedForAndSeenThroughEveryNode(t *testing.T) {
	t.Parallel()
	c, all := startNodes(t, 4, 1), contents()
	c.makeBucket(t)
	c.putAll(t, 0, all)
	u, err := url.Parse(c.servers[1].url)
	must(t, err)
	mc := client(t, "mc", []string{"MC_HOST_x=http://" + user + ":" + password + "@" + u.Host}, "--config-dir", t.TempDir(), "--no-color", "--disable-pager", "-q")
	mc.run(t, "admin", "heal", "--recursive", "x/bucket") // what a drive was too slow for
	damage(t, c.drive(2, 0))
	out := mc.run(t, "admin", "heal", "--recursive", "--scan", "deep", "x/bucket")
	for _, want := range []string{"bucket/large", "bucket/middle", "2/2 objects"} {
		if !strings.Contains(out, want) {
			t.Errorf("mc does not tell of %s: %s", want, tail(out))
		}
	}
	if out, err := mc.try(t, "admin", "heal", "--recursive", "--remove", "x/bucket"); err == nil || !strings.Contains(out, "Nothing is removed") {
		t.Errorf("what cannot be read would be removed: %v, %s", err, tail(out))
	}
	mc.run(t, "admin", "heal", "x")
	for i := range c.servers {
		h := c.healing(t, i)
		asked := h.Passes[len(h.Passes)-1]
		if asked.Kind != "asked" || asked.State != "finished" || asked.Bucket != "bucket" || !asked.Deep || asked.Names != int64(len(all)) || asked.Damaged != 2 || asked.Shards != 2 || asked.Failed != 0 {
			t.Errorf("node %d tells %+v", i, h)
		}
	}
	for _, lost := range []int{0, 1} {
		c.servers[lost].kill(t)
	}
	for key, content := range all {
		c.expect(t, 2, key, content)
	}
}

// TestAlertsSeeThatDrivesAreLacking loses a node of four.
func TestAlertsSeeThatDrivesAreLacking(t *testing.T) {
	t.Parallel()
	c := startNodes(t, 4, 1)
	env := append(clientEnv(t), awsEnv()...)
	heal := func() (said string, code int) {
		_, said, code = shoal(t, env, "admin", "heal", "--url", c.servers[0].url)
		return said, code
	}
	eventually(t, "nothing is lacking", func() bool { _, code := heal(); return code == 0 })
	c.servers[3].kill(t)
	eventually(t, "something is lacking", func() bool { said, code := heal(); return code == 3 && strings.Contains(said, "offline") })
}

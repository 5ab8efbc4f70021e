package test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// lab is network namespaces for gateways: each is reached from here over a link
// of its own, and they reach each other over a bridge that can be pulled.
type lab struct {
	number int
	hub    string
}

// newLab makes the namespaces. They go with the test.
func newLab(t *testing.T, n int) (*lab, []place) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces are made by root only")
	}
	l := &lab{number: reserve(t)}
	l.hub = fmt.Sprintf("shoal%dhub", l.number)
	l.remove(n) // what a test has left that was killed
	t.Cleanup(func() { l.remove(n) })
	if out, err := exec.Command("ip", "netns", "add", l.hub).CombinedOutput(); err != nil {
		t.Skipf("network namespaces cannot be made here: %v: %s", err, out)
	}
	l.ip(t, "-n "+l.hub+" link add br0 type bridge")
	l.ip(t, "-n "+l.hub+" link set br0 up")
	var places []place
	for i := range n {
		ns, outside := l.space(i), l.outside(i)
		l.ip(t, "netns add "+ns)
		l.ip(t, "-n "+ns+" link set lo up")
		l.ip(t, fmt.Sprintf("link add %s type veth peer name m0 netns %s", outside, ns))
		l.ip(t, fmt.Sprintf("addr add 10.213.%d.%d/30 dev %s", l.number, 4*i+1, outside))
		l.ip(t, fmt.Sprintf("link set %s up", outside))
		l.ip(t, fmt.Sprintf("-n %s addr add 10.213.%d.%d/30 dev m0", ns, l.number, 4*i+2))
		l.ip(t, fmt.Sprintf("-n %s link set m0 up", ns))
		l.ip(t, fmt.Sprintf("-n %s link add c%d type veth peer name c0 netns %s", l.hub, i, ns))
		l.ip(t, fmt.Sprintf("-n %s link set c%d master br0 up", l.hub, i))
		l.ip(t, fmt.Sprintf("-n %s addr add 10.214.0.%d/24 dev c0", ns, i+1))
		l.ip(t, fmt.Sprintf("-n %s link set c0 up", ns))
		places = append(places, place{host: fmt.Sprintf("10.213.%d.%d", l.number, 4*i+2), netns: "/run/netns/" + ns})
	}
	return l, places
}

// remove removes what there is of n gateways' namespaces.
func (l *lab) remove(n int) {
	for i := range n {
		// The link too: the kernel may keep the namespace for a while.
		_ = exec.Command("ip", "link", "del", l.outside(i)).Run()
		_ = exec.Command("ip", "netns", "del", l.space(i)).Run()
	}
	_ = exec.Command("ip", "netns", "del", l.hub).Run()
}

func (l *lab) space(i int) string { return fmt.Sprintf("shoal%dg%d", l.number, i) }

func (l *lab) outside(i int) string { return fmt.Sprintf("shoal%dm%d", l.number, i) }

func (l *lab) ip(t *testing.T, words string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", words, err, out)
	}
}

// cut takes a gateway off the others' network, or puts it back.
func (l *lab) cut(t *testing.T, i int, cut bool) {
	t.Helper()
	state := "up"
	if cut {
		state = "down"
	}
	l.ip(t, fmt.Sprintf("-n %s link set c%d %s", l.hub, i, state))
}

// lose has what one gateway sends to another one be lost, or arrive again. What comes back does.
func (l *lab) lose(t *testing.T, from, to int, lost bool) {
	t.Helper()
	way := fmt.Sprintf("10.214.0.%d dev c0", to+1)
	if lost {
		l.ip(t, "-n "+l.space(from)+" neigh replace "+way+" lladdr 02:00:00:00:00:ff nud permanent") // nobody has that address
	} else {
		l.ip(t, "-n "+l.space(from)+" neigh del "+way)
	}
}

// split puts gateways on a bridge of their own, or back on that of the others.
func (l *lab) split(t *testing.T, who []int, bridge string) {
	t.Helper()
	if err := exec.Command("ip", "-n", l.hub, "link", "show", bridge).Run(); err != nil {
		l.ip(t, "-n "+l.hub+" link add "+bridge+" type bridge")
		l.ip(t, "-n "+l.hub+" link set "+bridge+" up")
	}
	for _, i := range who {
		l.ip(t, fmt.Sprintf("-n %s link set c%d master %s", l.hub, i, bridge))
	}
}

// TestAGatewayThatIsCutOffWritesNothing cuts gateways off the others one by one,
// the leader among them, while the storage stays in everybody's reach. Who is
// cut off says that it is not ready and accepts no write; the others go on; and
// when the cut is mended all is as before.
func TestAGatewayThatIsCutOffWritesNothing(t *testing.T) {
	t.Parallel()
	l, places := newLab(t, 3)
	mounts := mountsOfOneTree(t)
	var fleet []*server
	for i, p := range places {
		fleet = append(fleet, startAt(t, p, mounts[i%len(mounts)].dir, "--cluster-address", fmt.Sprintf("10.214.0.%d:9002", i+1)))
	}
	w := gather(t, fleet, rand.Uint64())
	for i := range fleet {
		// With one voter that one would go on alone: the storage is in its reach.
		awaitVotes(t, fleet[0])
		l.cut(t, i, true)
		eventually(t, "who is cut off is not ready", func() bool { return fleet[i].probe("/minio/health/ready") == http.StatusServiceUnavailable })
		other := newS3(fleet[(i+1)%3], noRetry)
		eventually(t, "the others go on", func() bool {
			_, err := other.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("counter-0"), Key: aws.String(fmt.Sprint("during ", i)), Body: strings.NewReader("x")})
			return err == nil
		})
		time.Sleep(4 * time.Second)
		if code := fleet[i].probe("/minio/health/ready"); code != http.StatusServiceUnavailable {
			t.Errorf("cut off for long, and readiness is %d", code)
		}
		l.cut(t, i, false)
		eventually(t, "who was cut off is back", func() bool { return fleet[i].probe("/minio/health/ready") == http.StatusOK })
		_, err := newS3(fleet[i], noRetry).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("counter-0"), Key: aws.String(fmt.Sprint("after ", i)), Body: strings.NewReader("x")})
		must(t, err)
	}
	w.check(t)
}

// TestAGatewayThatIsCutOffServesNobodyWhoHasBeenRemoved removes a user while one gateway
// hears nothing of that, and asks that one as soon as the call has returned.
func TestAGatewayThatIsCutOffServesNobodyWhoHasBeenRemoved(t *testing.T) {
	t.Parallel()
	l, places := newLab(t, 3)
	dir := t.TempDir()
	var fleet []*server
	for i, p := range places {
		fleet = append(fleet, startAt(t, p, dir, "--cluster-address", fmt.Sprintf("10.214.0.%d:9002", i+1)))
	}
	a := administerFleet(t, fleet)
	a.mc.run(t, "mb", "g0/bucket")
	a.admin(t, "user", "add", "@", "ann", "ann's secret")
	a.admin(t, "policy", "attach", "@", "readwrite", "--user", "ann")
	a.everywhere(t, "ann", "ann's secret", "")
	l.cut(t, 2, true)
	a.mc.run(t, a.args(0, []string{"user", "remove", "@", "ann"})...)
	for i, s := range fleet {
		_, err := newS3(s, noRetry, as("ann", "ann's secret")).ListBuckets(t.Context(), &s3.ListBucketsInput{})
		if code := errorCode(err); code != notKnown && (i != 2 || code != "ServiceUnavailable") {
			t.Errorf("gateway %d answers with %v", i, err)
		}
	}
	l.cut(t, 2, false)
	eventually(t, "who was cut off is back", func() bool { return fleet[2].probe("/minio/health/ready") == http.StatusOK })
	a.everywhere(t, "ann", "ann's secret", notKnown)
}

package test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// person is a user as one administrator would see him alone.
type person struct{ there, disabled, allowed bool }

// The operations on a user, beside those that are words of mc.
const (
	uses  = "use"  // his key
	looks = "look" // at what he is
)

const (
	noSuchUser = "XMinioAdminNoSuchUser"

	// notTold is the outcome of an operation of which nothing is known.
	notTold = "not told"
)

// does returns the outcome of an operation, and what the user is then.
func (p person) does(operation string) (outcome string, then person) {
	then = p
	switch {
	case operation == uses:
		return p.used(), p
	case operation == "add":
		then.there, then.disabled = true, false
		return "", then
	case !p.there:
		return noSuchUser, p
	case operation == looks:
		return p.looks(), p
	case operation == "remove":
		return "", person{}
	case operation == "enable", operation == "disable":
		then.disabled = operation == "disable"
	default: // mc does not tell what has been so before
		then.allowed = operation == "attach"
	}
	return "", then
}

func (p person) used() string {
	switch {
	case !p.there || p.disabled:
		return notKnown
	case !p.allowed:
		return notAllowed
	}
	return ""
}

func (p person) looks() string {
	status, policy := "enabled", ""
	if p.disabled {
		status = "disabled"
	}
	if p.allowed {
		policy = "readwrite"
	}
	return status + " " + policy
}

// beingSomebody is the model of a user. A change of which nothing is told is made some
// time, or after all that was seen.
func beingSomebody() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return person{} },
		Step: func(state, operation, outcome any) (bool, any) {
			want, then := state.(person).does(operation.(string))
			return outcome == want || outcome == notTold, then
		},
		DescribeOperation: func(operation, outcome any) string { return fmt.Sprintf("%v -> %q", operation, outcome) },
	}
}

// once passes on what mc asks a gateway, and has it not ask twice: it would ask again
// after each 5xx, and of two answers tell one.
func once(t *testing.T, s *server) string {
	t.Helper()
	to, err := url.Parse(s.url)
	must(t, err)
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // which is signed
		},
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode >= http.StatusInternalServerError {
				r.StatusCode = http.StatusBadRequest
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadRequest) },
	})
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// personnel is administrators and users of a fleet, and what they saw.
type personnel struct {
	admin *administration
	began time.Time

	mu         sync.Mutex
	operations map[string][]porcupine.Operation // by user, and gateway
	seen       map[string]int                   // operations and their outcomes
}

// note keeps what an operation that began at a time has come to. A change is seen through
// each gateway: they follow it one after the other, and all until it returns.
func (p *personnel) note(client, gateway int, name, operation, outcome string, call time.Duration) {
	op := porcupine.Operation{ClientId: client, Input: operation, Output: outcome, Call: int64(call), Return: int64(time.Since(p.began))}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[operation+" "+outcome]++
	for g := range p.admin.fleet {
		if g != gateway && (operation == uses || operation == looks) {
			continue
		}
		history := fmt.Sprintf("%s at gateway %d", name, g)
		if outcome == notTold {
			op.Return, op.ClientId = math.MaxInt64, 1000+len(p.operations[history]) // it never returns, and its client goes on
		}
		p.operations[history] = append(p.operations[history], op)
	}
}

// name returns one of the users: there are others after a while, for long histories take
// long to be checked.
func (p *personnel) name(random *rand.Rand) string {
	return fmt.Sprintf("user-%d-%d", random.IntN(2), int(time.Since(p.began)/turn))
}

// secretOfAll is the secret of everybody.
const secretOfAll = "the secret of all"

// administer does to users what an administrator does, through a gateway.
func (p *personnel) administer(t *testing.T, client, gateway int, random *rand.Rand) {
	name := p.name(random)
	operation := []string{"add", "add", "remove", "enable", "disable", "attach", "attach", "detach", looks, looks}[random.IntN(10)]
	line := []string{"user", operation, "@", name}
	switch operation {
	case "add":
		line = append(line, secretOfAll)
	case looks:
		line[1] = "info"
	case "attach", "detach":
		line = []string{"policy", operation, "@", "readwrite", "--user", name}
	}
	call := time.Since(p.began)
	out, err := p.admin.mc.try(t, append([]string{"--json"}, p.admin.args(gateway, line)...)...)
	outcome := toldByMC(operation, out, err)
	if operation == looks && outcome == notTold {
		return // a look that failed says nothing
	}
	p.note(client, gateway%len(p.admin.fleet), name, operation, outcome, call)
}

// toldByMC returns the outcome of an operation that mc has printed.
func toldByMC(operation, out string, err error) string {
	switch {
	case strings.Contains(out, noSuchUser):
		return noSuchUser
	case err != nil:
		return notTold
	case operation != looks:
		return ""
	}
	var info struct{ UserStatus, PolicyName string }
	if json.Unmarshal([]byte(out), &info) != nil {
		return notTold
	}
	return info.UserStatus + " " + info.PolicyName
}

// use has a user read an object through a gateway that is not waited for long, so that
// there is always somebody who has just asked.
func (p *personnel) use(t *testing.T, client, gateway int, random *rand.Rand) {
	time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond) // the machine is for administrators too
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	name, s, call := p.name(random), p.admin.fleet[gateway], time.Since(p.began)
	_, err := readS3(newS3(s, noRetry, as(name, secretOfAll), fromAnywhere(s, random)).GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("key")}))
	if code := errorCode(err); err == nil || code == notKnown || code == notAllowed {
		p.note(client, gateway, name, uses, code, call)
	}
}

// fromAnywhere has a client come from some address of this machine: who fails time and
// again from one has to wait.
func fromAnywhere(s *server, random *rand.Rand) func(*s3.Options) {
	from := net.IPv4(127, byte(1+random.IntN(250)), byte(random.IntN(250)), byte(1+random.IntN(250)))
	dialer := &net.Dialer{}
	if strings.HasPrefix(s.at.host, "127.") {
		dialer.LocalAddr = &net.TCPAddr{IP: from}
	}
	return func(o *s3.Options) {
		o.HTTPClient = &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	}
}

// check looks at what was seen.
func (p *personnel) check(t *testing.T) {
	t.Helper()
	t.Log(p.seen)
	for _, must := range []string{"add ", "attach ", "remove ", "use ", "use " + notKnown, "use " + notAllowed} {
		if p.seen[must] == 0 {
			t.Errorf("never seen: %q", must)
		}
	}
	for name, list := range p.operations {
		if result := porcupine.CheckOperationsTimeout(beingSomebody(), list, time.Minute); result != porcupine.Ok {
			t.Errorf("the history of %d operations on %s is %s\n%s", len(list), name, result, tell(list, beingSomebody()))
		}
	}
}

// TestUsersAndTheirPoliciesAreRegisters has an administrator at each gateway, and one who
// goes round, change the same users by mc, while these use their keys everywhere and
// gateways are frozen beyond their leases, and checks the history of what all of them
// saw. SHOAL_TEST_SPAN is for how long, such as 1h.
func TestUsersAndTheirPoliciesAreRegisters(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	p := &personnel{admin: administer(t), operations: make(map[string][]porcupine.Operation), seen: make(map[string]int)}
	fleet, mc := p.admin.fleet, p.admin.mc
	mc.run(t, "mb", "g0/bucket")
	_, err := newS3(fleet[0]).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("key"), Body: strings.NewReader("x")})
	must(t, err)
	for i, s := range fleet {
		mc.run(t, "alias", "set", fmt.Sprint("g", i), once(t, s), user, password)
	}
	p.began = time.Now()
	stop, group := make(chan struct{}), sync.WaitGroup{}
	everyone := func(client int, act func(random *rand.Rand, turn int)) {
		random := rand.New(rand.NewPCG(seed, uint64(client)+1)) //nolint:gosec // a test's
		group.Go(func() {
			for turn := 0; ; turn++ {
				select {
				case <-stop:
					return
				default:
					act(random, turn)
				}
			}
		})
	}
	for i := range fleet {
		everyone(i, func(random *rand.Rand, _ int) { p.administer(t, i, i, random) })
		for j := range 6 {
			everyone(20+6*i+j, func(random *rand.Rand, _ int) { p.use(t, 20+6*i+j, i, random) })
		}
	}
	everyone(10, func(random *rand.Rand, turn int) { p.administer(t, 10, turn, random) })
	freeze(t, fleet, rand.New(rand.NewPCG(seed, 0)), span(t, "SHOAL_TEST_SPAN", 14*time.Second)) //nolint:gosec // a test's
	close(stop)
	group.Wait()
	p.check(t)
}

// freeze has one gateway after the other stand still for a while, for as long as is said.
func freeze(t *testing.T, fleet []*server, random *rand.Rand, lasts time.Duration) {
	t.Helper()
	for began := time.Now(); time.Since(began) < lasts; {
		time.Sleep(3 * time.Second)
		victim := fleet[random.IntN(len(fleet))].cmd.Process
		must(t, victim.Signal(syscall.SIGSTOP))
		time.Sleep(time.Duration(1+random.IntN(5)) * time.Second)
		must(t, victim.Signal(syscall.SIGCONT))
	}
	time.Sleep(3 * time.Second)
}

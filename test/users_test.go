package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// administration is a fleet and mc, which administers it through each gateway in turn.
type administration struct {
	fleet []*server
	mc    *cli
	next  int
}

func administer(t *testing.T, flags ...string) *administration {
	t.Helper()
	return administerFleet(t, startFleet(t, 3, flags...))
}

func administerFleet(t *testing.T, fleet []*server) *administration {
	t.Helper()
	a := &administration{fleet: fleet, mc: client(t, "mc", nil, "--config-dir", t.TempDir(), "--no-color", "--disable-pager")}
	for i, s := range a.fleet {
		a.mc.run(t, "alias", "set", fmt.Sprint("g", i), s.url, user, password)
	}
	return a
}

// admin runs "mc admin" with the alias of the next gateway in the place of "@".
func (a *administration) admin(t *testing.T, args ...string) string {
	t.Helper()
	a.next++
	return a.mc.run(t, a.args(a.next, args)...)
}

func (a *administration) args(gateway int, args []string) []string {
	line := []string{"admin"}
	for _, arg := range args {
		if arg == "@" {
			arg = fmt.Sprint("g", gateway%len(a.fleet))
		}
		line = append(line, arg)
	}
	return line
}

// everywhere wants an answer to a PUT of a key's owner on each gateway: "" for success,
// or the code of the error.
func (a *administration) everywhere(t *testing.T, accessKey, secret, want string) {
	t.Helper()
	for i, s := range a.fleet {
		c := newS3(s, noRetry, as(accessKey, secret))
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("home/" + accessKey), Body: strings.NewReader("x")})
		if got := errorCode(err); got != want || err != nil && want == "" {
			t.Errorf("gateway %d answers %s with %v, want %q", i, accessKey, err, want)
		}
	}
}

// as has a client sign with another access key.
func as(accessKey, secret string) func(*s3.Options) {
	return func(o *s3.Options) {
		o.Credentials = credentials.NewStaticCredentialsProvider(accessKey, secret, "")
	}
}

const (
	notKnown   = "InvalidAccessKeyId"
	notAllowed = "AccessDenied"
)

// TestWhatIsAdministeredOnOneGatewayIsSoOnAll makes each change on another gateway, and
// asks all of them when it has returned.
func TestWhatIsAdministeredOnOneGatewayIsSoOnAll(t *testing.T) {
	t.Parallel()
	a := administer(t)
	a.mc.run(t, "mb", "g0/bucket")
	file := filepath.Join(t.TempDir(), "policy.json")
	must(t, os.WriteFile(file, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/home/${aws:username}"}]}`), 0o600))

	a.everywhere(t, "ann", "ann's secret", notKnown)
	a.admin(t, "user", "add", "@", "ann", "ann's secret")
	a.everywhere(t, "ann", "ann's secret", notAllowed)
	a.everywhere(t, "ann", "another secret", "SignatureDoesNotMatch")
	a.admin(t, "policy", "create", "@", "home", file)
	a.admin(t, "policy", "attach", "@", "home", "--user", "ann")
	a.everywhere(t, "ann", "ann's secret", "")
	a.admin(t, "user", "disable", "@", "ann")
	a.everywhere(t, "ann", "ann's secret", notKnown)
	a.admin(t, "user", "enable", "@", "ann")
	a.everywhere(t, "ann", "ann's secret", "")
	a.admin(t, "policy", "detach", "@", "home", "--user", "ann")
	a.everywhere(t, "ann", "ann's secret", notAllowed)

	a.admin(t, "group", "add", "@", "devs", "ann")
	a.admin(t, "policy", "attach", "@", "readwrite", "--group", "devs")
	a.everywhere(t, "ann", "ann's secret", "")
	a.admin(t, "group", "disable", "@", "devs")
	a.everywhere(t, "ann", "ann's secret", notAllowed)
	a.admin(t, "group", "enable", "@", "devs")

	a.admin(t, "user", "svcacct", "add", "@", "ann", "--access-key", "annskey", "--secret-key", "the key's secret")
	a.everywhere(t, "annskey", "the key's secret", "")
	must(t, os.WriteFile(file, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::*"}]}`), 0o600))
	a.admin(t, "user", "svcacct", "edit", "@", "annskey", "--policy", file)
	a.everywhere(t, "annskey", "the key's secret", notAllowed)

	a.admin(t, "user", "remove", "@", "ann")
	a.everywhere(t, "ann", "ann's secret", notKnown)
	a.everywhere(t, "annskey", "the key's secret", notKnown)
}

// TestConcurrentAdministratorsLoseNothing has one at each gateway.
func TestConcurrentAdministratorsLoseNothing(t *testing.T) {
	t.Parallel()
	a := administer(t)
	a.admin(t, "user", "add", "@", "ann", "ann's secret")
	const each = 5
	var group sync.WaitGroup
	for g := range a.fleet {
		group.Go(func() {
			for i := range each {
				name := fmt.Sprintf("user-%d-%d", g, i)
				for _, args := range [][]string{{"user", "add", "@", name, "a good secret"}, {"group", "add", "@", fmt.Sprintf("group-%d-%d", g, i), "ann", name}} {
					if out, err := a.mc.try(t, a.args(g, args)...); err != nil {
						t.Errorf("%v: %v\n%s", args, err, out)
					}
				}
			}
		})
	}
	group.Wait()
	for g := range a.fleet {
		if users := a.mc.run(t, a.args(g, []string{"user", "list", "@"})...); strings.Count(users, "user-") != 3*each {
			t.Errorf("gateway %d lists\n%s", g, users)
		}
		if ann := a.mc.run(t, a.args(g, []string{"user", "info", "@", "ann"})...); strings.Count(ann, "group-") != 3*each {
			t.Errorf("gateway %d says of ann\n%s", g, ann)
		}
	}
}

func TestOnlyWhoMayAdministers(t *testing.T) {
	t.Parallel()
	a := administer(t)
	a.admin(t, "user", "add", "@", "ann", "ann's secret")
	a.admin(t, "user", "add", "@", "boss", "boss's secret")
	a.admin(t, "policy", "attach", "@", "readwrite", "--user", "ann")
	a.admin(t, "policy", "attach", "@", "consoleAdmin", "--user", "boss")
	a.mc.run(t, "alias", "set", "ann", a.fleet[0].url, "ann", "ann's secret")
	a.mc.run(t, "alias", "set", "boss", a.fleet[1].url, "boss", "boss's secret")
	for _, args := range [][]string{
		{"user", "add", "ann", "eve", "a good secret"},
		{"user", "list", "ann"},
		{"policy", "attach", "ann", "consoleAdmin", "--user", "ann"},
		{"user", "svcacct", "add", "ann", "boss"},
		{"info", "ann"},
		{"user", "svcacct", "add", "boss", user},
	} {
		if out, err := a.mc.try(t, append([]string{"admin"}, args...)...); err == nil || !strings.Contains(out, "Access Denied") {
			t.Errorf("%v: %v, %s", args, err, out)
		}
	}
	a.mc.run(t, "admin", "user", "add", "boss", "carl", "carl's secret")
	a.mc.run(t, "admin", "user", "svcacct", "add", "ann", "ann")
}

func TestUsersOutliveAllGateways(t *testing.T) {
	t.Parallel()
	a := administer(t)
	a.admin(t, "user", "add", "@", "ann", "ann's secret")
	a.admin(t, "policy", "attach", "@", "readwrite", "--user", "ann")
	a.mc.run(t, "mb", "g0/bucket")
	for _, s := range a.fleet {
		s.kill(t)
	}
	for i := range a.fleet {
		a.fleet[i] = a.fleet[i].again(t)
	}
	a.everywhere(t, "ann", "ann's secret", "")
}

// TestRootCredentialsAreReplacedWithoutLosingAnybody restarts one gateway after the
// other.
func TestRootCredentialsAreReplacedWithoutLosingAnybody(t *testing.T) {
	t.Parallel()
	a := administer(t)
	a.mc.run(t, "mb", "g0/bucket")
	a.admin(t, "user", "add", "@", "ann", "ann's secret")
	a.admin(t, "policy", "attach", "@", "readwrite", "--user", "ann")
	renewed := []string{"SHOAL_ROOT_USER=chief", "SHOAL_ROOT_PASSWORD=the chief's secret"}
	former := []string{"SHOAL_ROOT_USER_OLD=" + user, "SHOAL_ROOT_PASSWORD_OLD=" + password}
	for i, s := range a.fleet {
		s.stop(t)
		a.fleet[i] = startWith(t, append(former, renewed...), s.at, s.dir, s.flags...)
		a.everywhere(t, "ann", "ann's secret", "")
	}
	last := a.fleet[0]
	last.stop(t)
	a.fleet[0] = startWith(t, renewed, last.at, last.dir, last.flags...)
	a.everywhere(t, "ann", "ann's secret", "")
	a.everywhere(t, "chief", "the chief's secret", "")
	a.everywhere(t, user, password, notKnown)
	refuseRoot(t, serverEnv(t.TempDir()), a.fleet[0])
}

// refuseRoot starts another gateway beside one, which has other root credentials.
func refuseRoot(t *testing.T, env []string, beside *server) {
	t.Helper()
	_, said, code := shoal(t, env, "server", "--address", beside.at.host+":0", "--state-dir", t.TempDir(), beside.dir)
	if code != 4 || !strings.Contains(lastLine(said), "the root credentials are not those of the gateways at ") || strings.Contains(said, password) || strings.Contains(said, "another one") {
		t.Errorf("with other root credentials: %d, %s", code, said)
	}
	if log := beside.log(t); !strings.Contains(log, "was started with other root credentials") || strings.Contains(log, password) {
		t.Errorf("the other one does not say so: %s", tail(log))
	}
}

// TestAGatewayWithOtherRootCredentialsIsRefused has no users yet, whose records could not be read either.
func TestAGatewayWithOtherRootCredentialsIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	refuseRoot(t, append(serverEnv(t.TempDir()), "SHOAL_ROOT_PASSWORD=another one"), s)
	startWith(t, []string{"SHOAL_ROOT_PASSWORD=another one", "SHOAL_ROOT_USER_OLD=" + user, "SHOAL_ROOT_PASSWORD_OLD=" + password}, s.at, s.dir)
}

// TestAFrozenGatewayDoesNotKnowWhoHasBeenRemoved removes a user while one gateway stands
// still, and asks that one as soon as it goes on.
func TestAFrozenGatewayDoesNotKnowWhoHasBeenRemoved(t *testing.T) {
	t.Parallel()
	a := administer(t)
	a.mc.run(t, "mb", "g0/bucket")
	a.admin(t, "user", "add", "@", "ann", "ann's secret")
	a.admin(t, "policy", "attach", "@", "readwrite", "--user", "ann")
	a.everywhere(t, "ann", "ann's secret", "")
	frozen := a.fleet[2]
	must(t, frozen.cmd.Process.Signal(syscall.SIGSTOP))
	out, err := a.mc.try(t, a.args(0, []string{"user", "remove", "@", "ann"})...)
	must(t, frozen.cmd.Process.Signal(syscall.SIGCONT))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, err = newS3(frozen, noRetry, as("ann", "ann's secret")).ListBuckets(t.Context(), &s3.ListBucketsInput{})
	if code := errorCode(err); code != notKnown && code != "ServiceUnavailable" {
		t.Errorf("the gateway that was frozen answers with %v", err)
	}
	if out, err := a.mc.try(t, "admin", "user", "add", "g2", "bob", "bob's secret"); err != nil && strings.Contains(out, "internal error") {
		t.Errorf("the gateway that was frozen changes nothing, and does not say that it cannot: %s", out)
	}
}

func TestTheGatewaysAreShown(t *testing.T) {
	a := administer(t)
	eventually(t, "all are online", func() bool {
		info := a.admin(t, "info", "@")
		seen := strings.Contains(info, "3 drives online, 0 drives offline")
		for _, s := range a.fleet {
			seen = seen && strings.Contains(info, strings.TrimPrefix(s.url, "http://"))
		}
		return seen
	})
}

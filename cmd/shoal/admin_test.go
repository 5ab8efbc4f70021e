package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/gateway/gatewaytest"
	"github.com/shoal-storage/shoal/internal/adminclient"
	"github.com/shoal-storage/shoal/internal/object"
)

// console runs commands of "shoal admin" as the root user of a gateway that has a
// bucket "photos".
type console struct {
	t   *testing.T
	dir string // for files
}

func openConsole(t *testing.T, change func(*gateway.Config)) *console {
	t.Helper()
	url := gatewaytest.Serve(t, func(cfg *gateway.Config) {
		if err := cfg.Store.CreateBucket(t.Context(), object.Bucket{Name: "photos", Created: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(cfg)
		}
	})
	t.Setenv("AWS_ACCESS_KEY_ID", gatewaytest.User)
	t.Setenv("AWS_SECRET_ACCESS_KEY", gatewaytest.Secret)
	t.Setenv("AWS_SESSION_TOKEN", "")
	t.Setenv(urlVariable, url)
	return &console{t, t.TempDir()}
}

// run runs a command, with what it reads, and returns what it says.
func (c *console) run(in string, args ...string) (out, said string, code int) {
	c.t.Helper()
	return c.runRoot(in, append([]string{"admin"}, args...)...)
}

// runRoot is run for a command that is not one of "shoal admin".
func (c *console) runRoot(in string, args ...string) (out, said string, code int) {
	c.t.Helper()
	var stdout, stderr bytes.Buffer
	root := newRoot()
	root.SetIn(strings.NewReader(in))
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	code = run(c.t.Context(), root, args)
	return stdout.String(), stderr.String(), code
}

// does runs a command that must succeed, and returns its output.
func (c *console) does(args ...string) string {
	c.t.Helper()
	out, said, code := c.run("", args...)
	if code != exitOK {
		c.t.Fatalf("%q: exit %d, %s", args, code, said)
	}
	return out
}

// file writes a file and returns its path.
func (c *console) file(content string) string {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

const getPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::*"]}]}`

func TestAdminShowsTablesToPeopleAndDocumentsToPrograms(t *testing.T) {
	c := openConsole(t, func(cfg *gateway.Config) { cfg.Admin.Stop = func(bool) {} })
	secret, policy := c.file("a good secret"), c.file(getPolicy)
	for _, tt := range []struct{ command, out string }{
		{"user add ann --secret-file " + secret, "access key  ann\n"},
		{"user add bob --json --secret-file " + secret, `{"access_key":"bob"}` + "\n"},
		{"user limits bob", "user        bob\nrequests/s  no limit\nup/s        no limit\ndown/s      no limit\n"},
		{"user limits bob --requests 100 --up 10MiB", "user        bob\nrequests/s  100\nup/s        10 MiB\ndown/s      no limit\n"},
		{"user limits bob --down 1GiB --up 0 --json", `{"name":"bob","requests":100,"down":1073741824}` + "\n"},
		{"user limits bob --reset --json", `{"name":"bob"}` + "\n"},
		{"user disable bob", "user bob is disabled\n"},
		{"user enable ann bob --json", `{"name":"ann","enabled":true}` + "\n" + `{"name":"bob","enabled":true}` + "\n"},
		{"user revoke bob", "temporary credentials of bob are ended\n"},
		{"user revoke uid=eve,dc=example --json", `{"revoked":"uid=eve,dc=example"}` + "\n"},
		{"group add devs ann bob", "group devs now includes ann, bob\n"},
		{"group add ops", "group ops exists\n"},
		{"group disable ops", "group ops is disabled\n"},
		{"group ls", "GROUP\ndevs\nops\n"},
		{"group ls --json", `["devs","ops"]` + "\n"},
		{"group rm devs bob", "group devs no longer has bob\n"},
		{"policy create get " + policy, "policy get is in force\n"},
		{"policy create get " + policy + " --json", `{"policy":"get"}` + "\n"},
		{"policy ls", "POLICY\nconsoleAdmin\ndiagnostics\nget\nreadonly\nreadwrite\nwriteonly\n"},
		{"policy attach get readwrite --user ann", "user ann has get, readwrite\n"},
		{"policy attach readwrite get --user ann", "user ann had readwrite, get: nothing was changed\n"},
		{"policy attach get --user ann --json", `{"kind":"user","name":"ann"}` + "\n"},
		{"policy attach get --group devs --json", `{"kind":"group","name":"devs","attached":["get"]}` + "\n"},
		{"policy attach get --ldap uid=eve,dc=example", "ldap uid=eve,dc=example has get\n"},
		{"policy detach readwrite --user ann", "user ann no longer has readwrite\n"},
		{"policy detach readwrite --user ann", "user ann did not have readwrite: nothing was changed\n"},
		{"policy detach readwrite get --group devs", "group devs no longer has get\n"},
		{"policy attach get --group devs", "group devs has get\n"},
		{"policy entities", "KIND   NAME  POLICIES\nuser   ann   get\ngroup  devs  get\n"},
		{"policy entities --ldap --json", `[{"kind":"ldap","name":"uid=eve,dc=example","policies":["get"]}]` + "\n"},
		{"policy entities --policy none", "KIND  NAME  POLICIES\n"},
		{"user ls", "USER  STATUS   POLICIES  GROUPS\nann   enabled  get       devs\nbob   enabled            \n"},
		{"accesskey create --user ann --access-key annskey --name job --expires never --secret-file " + secret, "access key  annskey\n"},
		{"accesskey edit annskey --name other --policy " + policy, "access key annskey is changed\n"},
		{"accesskey ls ann", "ACCESS KEY  USER  STATUS   NAME   POLICY   EXPIRES\nannskey     ann   enabled  other  its own  \n"},
		{"accesskey edit annskey --no-policy", "access key annskey is changed\n"},
		{"accesskey disable annskey", "access key annskey is disabled\n"},
		{"accesskey info annskey", "access key  annskey\nuser        ann\nstatus      disabled\nname        other\n"},
		{"accesskey info annskey --json", `{"access_key":"annskey","user":"ann","enabled":false,"name":"other"}` + "\n"},
		{"accesskey rm annskey", "access key annskey is removed\n"},
		{"quota info photos", "bucket   photos\nsize     no limit\nobjects  no limit\n"},
		{"quota set photos --size 10GiB", "bucket   photos\nsize     10 GiB\nobjects  no limit\n"},
		{"quota set photos --size 1KiB --objects 5 --json", `{"bucket":"photos","bytes":1024,"objects":5}` + "\n"},
		{"quota clear photos", "bucket photos has no limit\n"},
		{"service restart --dry-run", "gateway here:9000 would restart\n"},
		{"service stop --json", `{"gateway":"here:9000","action":"stop","dry_run":false}` + "\n"},
		{"user rm ann --json", `{"removed":"ann"}` + "\n"},
		{"user rm bob", "user bob is removed\n"},
		{"group rm devs", "group devs is removed\n"},
		{"user ls --json", "[]\n"},
	} {
		if out := c.does(strings.Fields(tt.command)...); out != tt.out {
			t.Errorf("%s says\n%swant\n%s", tt.command, out, tt.out)
		}
	}
	for command, part := range map[string]string{
		"group info ops": "status   disabled\n", "policy info get": "\"s3:GetObject\"\n", "info": "online", "usage photos": "photos  0        0         0               0 B\n",
		"info --json": `"gateways":[{`, "usage --json": `"buckets":[{"bucket":"photos","bytes":0,"objects":0,"versions":0,"delete_markers":0}]`,
	} {
		if out := c.does(strings.Fields(command)...); !strings.Contains(out, part) {
			t.Errorf("%s says\n%swhich has no %s", command, out, part)
		}
	}
}

func TestAdminTellsInOneLineWhatWentWrongAndWhatToDo(t *testing.T) {
	c := openConsole(t, nil)
	c.does("user", "add", "ann")
	c.does("group", "add", "devs", "ann")
	c.does("policy", "attach", "readonly", "--user", "ann")
	text, empty := c.file("no JSON"), c.file("\n")
	for command, want := range map[string]struct {
		code int
		said string
	}{
		"user info eve":                             {exitFailed, "shoal: admin user info eve: The specified user does not exist (XMinioAdminNoSuchUser); shoal admin user ls shows the users"},
		"user add ann":                              {exitFailed, "exists already; shoal admin user secret"},
		"user rm eve ann":                           {exitFailed, "eve: The specified user"},
		"user secret eve":                           {exitFailed, "shoal admin user ls"},
		"user add x --secret-file " + empty:         {exitUsage, "there is no secret key in"},
		"user add xyz --secret-file /no/such":       {exitFailed, "cannot read the secret key"},
		"user add xy":                               {exitFailed, "XMinioAdminInvalidArgument"},
		"user add":                                  {exitUsage, "admin user add: accepts 1 arg(s), received 0; usage: shoal admin user add NAME"},
		"user add eve secret":                       {exitUsage, "accepts 1 arg(s)"}, // no secret on the command line
		"user nod":                                  {exitUsage, "shoal admin user --help"},
		"user limits ann --up 1":                    {exitUsage, "at least 1024"},
		"user limits eve --requests 1":              {exitFailed, "shoal admin user ls"},
		"group rm devs":                             {exitFailed, "name the members too"},
		"policy create p " + text:                   {exitUsage, "is not JSON"},
		"policy create p /no/such":                  {exitFailed, "cannot read the policy"},
		"policy attach none --user ann":             {exitFailed, "shoal admin policy ls"},
		"policy attach readonly":                    {exitUsage, "user group ldap"},
		"policy attach readonly --user a --group b": {exitUsage, "group user"},
		"accesskey create --expires yesterday":      {exitUsage, "--expires yesterday is no time to come"},
		"accesskey edit key":                        {exitUsage, "no-policy"},
		"accesskey info none":                       {exitFailed, "shoal admin accesskey ls"},
		"quota set photos":                          {exitUsage, "size objects"},
		"quota set photos --size 1XB":               {exitUsage, "--size 1XB is not a size"},
		"quota set photos --size 0":                 {exitUsage, "shoal admin quota clear"},
		"quota set none --size 1GiB":                {exitFailed, "NoSuchBucket"},
		"usage none":                                {exitFailed, "none was not counted"},
		"user posix ann --uid 1000":                 {exitFailed, "Objects are no files here"},
		"service stop":                              {exitFailed, "NotImplemented"},
		"info --url nas:9000":                       {exitUsage, "set --url or SHOAL_URL"},
		"info --url http://127.0.0.1:1":             {exitFailed, "--url and SHOAL_URL name another"},
		"info --timeout 1ns":                        {exitFailed, "--timeout"},
	} {
		out, said, code := c.run("", strings.Fields(command)...)
		if code != want.code || !strings.Contains(said, want.said) || strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "shoal: ") {
			t.Errorf("%s: exit %d, %s%s, want %d, %s", command, code, out, said, want.code, want.said)
		}
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another secret")
	if _, said, code := c.run("", "user", "ls"); code != exitFailed || !strings.Contains(said, "set AWS_ACCESS_KEY_ID") {
		t.Errorf("with a wrong secret: exit %d, %s", code, said)
	}
}

func TestInfoFindsWhatIsOffline(t *testing.T) {
	for what, gateways := range map[string][]admin.Gateway{
		"a gateway": {{Endpoint: "a:9000", Online: true}, {Endpoint: "b:9000"}},
		"a drive":   {{Endpoint: "b:9000", Online: true, Drives: []admin.Drive{{Path: "/d1", Online: true}, {Path: "/d2"}}}},
	} {
		c := openConsole(t, func(cfg *gateway.Config) {
			cfg.Admin.Gateways = func(context.Context) []admin.Gateway { return gateways }
		})
		if out, said, code := c.run("", "info"); code != exitFindings || !strings.Contains(said, "b:9000") || !strings.Contains(out, "b:9000") {
			t.Errorf("%s: exit %d, %s%s", what, code, out, said)
		}
	}
}

// withoutBuckets is a Store that does not know its buckets.
type withoutBuckets struct{ object.Store }

func (withoutBuckets) ListBuckets(context.Context) ([]object.Bucket, error) {
	return nil, errors.New("too few drives")
}

func TestInfoShowsGatewaysWhileTheBucketsAreNotKnown(t *testing.T) {
	c := openConsole(t, func(cfg *gateway.Config) {
		cfg.Store = withoutBuckets{cfg.Store}
		cfg.Admin.Gateways = func(context.Context) []admin.Gateway { return []admin.Gateway{{Endpoint: "a:9000", Online: true}} }
	})
	out, said, code := c.run("", "info")
	if code != exitFailed || !strings.Contains(out, "a:9000") || strings.Contains(out, "0 buckets") || !strings.Contains(said, "too few drives") {
		t.Errorf("exit %d, %s%s", code, out, said)
	}
}

func TestTemporaryCredentialsAdministerWithTheirToken(t *testing.T) {
	openConsole(t, nil)
	t.Setenv("AWS_SESSION_TOKEN", "no token of this gateway")
	var stderr bytes.Buffer
	root := newRoot()
	root.SetErr(&stderr)
	if code := run(t.Context(), root, []string{"admin", "user", "ls"}); code != exitFailed || !strings.Contains(stderr.String(), "Token") {
		t.Errorf("exit %d, %s", code, stderr.String())
	}
}

func TestACommandLineIsCompleted(t *testing.T) {
	for line, want := range map[string]string{
		"completion bash": "__start_shoal", "completion zsh": "#compdef shoal", "completion fish": "complete -c shoal",
		"__complete admin user ": "secret\tGive a user another secret key\n", "__complete admin us": "usage\t", "__complete admin user add --sec": "--secret-file",
	} {
		var out bytes.Buffer
		root := newRoot()
		root.SetOut(&out)
		root.SetErr(&out)
		if code := run(t.Context(), root, strings.Split(line, " ")); code != exitOK || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit %d, %.300s", line, code, out.String())
		}
	}
}

func TestWhatToDoIsSaidForEachKindOfError(t *testing.T) {
	for want, err := range map[string]error{
		"give it longer":     context.DeadlineExceeded,
		"proxy":              &adminclient.Error{Status: 502},
		"docs/users.md":      &adminclient.Error{Status: 403, Code: "AccessDenied"},
		"of this version at": errors.New("decode the answer"),
	} {
		if got := adminRemedy(err); !strings.Contains(got, want) {
			t.Errorf("%v: %s", err, got)
		}
	}
}

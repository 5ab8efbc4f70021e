package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// serverCommand returns the command whose flags are the settings, as it is
// after a command line.
func serverCommand(t *testing.T, args ...string) *cobra.Command {
	t.Helper()
	cmd := newServerCommand()
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestAFlagGoesBeforeItsVariableAndThatBeforeMinIOs(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		env  []string
		want string
	}{
		{"default", nil, nil, "us-east-1"},
		{"MinIO's variable", nil, []string{"MINIO_REGION=m"}, "m"},
		{"of two of MinIO's the newer", nil, []string{"MINIO_REGION=m", "MINIO_SITE_REGION=n"}, "n"},
		{"our variable", nil, []string{"MINIO_REGION=m", "SHOAL_REGION=s"}, "s"},
		{"the flag", []string{"--region", "f"}, []string{"MINIO_REGION=m", "SHOAL_REGION=s"}, "f"},
		{"an empty variable", nil, []string{"SHOAL_REGION=", "MINIO_REGION=m"}, "m"},
	} {
		flags := serverCommand(t, tt.args...).Flags()
		if err := readEnvironment(tt.env).apply(flags); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := flags.Lookup("region").Value.String(); got != tt.want {
			t.Errorf("%s: %q, not %q", tt.name, got, tt.want)
		}
	}
}

func TestWhatIsAboutSomethingElseThanIsServedIsRefused(t *testing.T) {
	for _, tt := range []struct {
		args, env []string
		refused   bool
		ignored   string
		what      served
	}{
		{what: served{path: "/mnt/nas"}},
		{args: []string{"--parity", "EC:2"}, refused: true, what: served{path: "/mnt/nas"}},
		{args: []string{"--set-size", "4"}, refused: true, what: served{path: "/mnt/nas"}},
		{env: []string{"SHOAL_REDUCED_PARITY=EC:1"}, refused: true, what: served{path: "/mnt/nas"}},
		{env: []string{"SHOAL_PARITY=EC:1", "MINIO_STORAGE_CLASS_STANDARD=EC:2"}, refused: true, what: served{path: "/mnt/nas"}},
		{env: []string{"MINIO_STORAGE_CLASS_STANDARD=EC:2"}, ignored: "MINIO_STORAGE_CLASS_STANDARD", what: served{path: "/mnt/nas"}},
		{args: []string{"--parity", "EC:2"}},
		{args: []string{"--file-mode", "0600"}, refused: true},
		{args: []string{"--read-mount", "/mnt/read"}, refused: true},
		{env: []string{"SHOAL_DURABILITY=relaxed"}, refused: true},
		{env: []string{"MINIO_STORAGE_CLASS_STANDARD=EC:2"}},
	} {
		flags, env := serverCommand(t, tt.args...).Flags(), readEnvironment(tt.env)
		if err := env.apply(flags); err != nil {
			t.Fatal(err)
		}
		if err := env.misplaced(flags, tt.what); (err != nil) != tt.refused {
			t.Errorf("%v %v: %v", tt.args, tt.env, err)
		}
		if got := strings.Join(env.ignored(), " "); !tt.refused && got != tt.ignored {
			t.Errorf("%v %v: ignored are %q", tt.args, tt.env, got)
		}
	}
}

func TestASecretComesFromItsVariableOrFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("password", "from-the-file\n")
	write("SHOAL_ROOT_PASSWORD", "from-systemd")
	for _, tt := range []struct {
		name           string
		env            []string
		user, password string
	}{
		{"none", nil, "", ""},
		{"variables", []string{"SHOAL_ROOT_USER=admin", "SHOAL_ROOT_PASSWORD=secret-one"}, "admin", "secret-one"},
		{"a file", []string{"SHOAL_ROOT_USER=admin", "SHOAL_ROOT_PASSWORD_FILE=" + file}, "admin", "from-the-file"},
		{"the variable before the file", []string{"SHOAL_ROOT_USER=admin", "SHOAL_ROOT_PASSWORD=secret-one", "SHOAL_ROOT_PASSWORD_FILE=" + file}, "admin", "secret-one"},
		{"systemd's credentials", []string{"SHOAL_ROOT_USER=admin", "CREDENTIALS_DIRECTORY=" + dir}, "admin", "from-systemd"},
		{"MinIO's", []string{"MINIO_ROOT_USER=minio", "MINIO_ROOT_PASSWORD=minio-secret"}, "minio", "minio-secret"},
		{"MinIO's older", []string{"MINIO_ACCESS_KEY=minio", "MINIO_SECRET_KEY=minio-secret"}, "minio", "minio-secret"},
		{"ours before MinIO's", []string{"MINIO_ROOT_USER=minio", "MINIO_ROOT_PASSWORD=minio-secret", "SHOAL_ROOT_USER=admin", "SHOAL_ROOT_PASSWORD=secret-one"}, "admin", "secret-one"},
	} {
		creds, err := readEnvironment(tt.env).credentials()
		if err != nil || creds.user != tt.user || creds.password != tt.password {
			t.Errorf("%s: %q, %q, %v", tt.name, creds.user, creds.password, err)
		}
	}
}

func TestCredentialsThatCannotBeMeantAreRefused(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string][]string{
		"a user alone":         {"SHOAL_ROOT_USER=admin"},
		"a password alone":     {"SHOAL_ROOT_PASSWORD=long-enough"},
		"a short user":         {"SHOAL_ROOT_USER=ab", "SHOAL_ROOT_PASSWORD=long-enough"},
		"a user with a slash":  {"SHOAL_ROOT_USER=a/b", "SHOAL_ROOT_PASSWORD=long-enough"},
		"a short password":     {"SHOAL_ROOT_USER=admin", "SHOAL_ROOT_PASSWORD=short"},
		"an empty file":        {"SHOAL_ROOT_USER=admin", "SHOAL_ROOT_PASSWORD_FILE=" + empty},
		"a file that is gone":  {"SHOAL_ROOT_USER=admin", "SHOAL_ROOT_PASSWORD_FILE=" + empty + ".none"},
		"a Docker secret gone": {"SHOAL_ROOT_USER=admin", "SHOAL_ROOT_PASSWORD_FILE=no-such-secret"},
	} {
		_, err := readEnvironment(env).credentials()
		var f *failure
		if !errors.As(err, &f) || f.remedy == "" || strings.Contains(f.text(), "\n") || strings.Contains(f.text(), "long-enough") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAMisspeltVariableStopsTheStart(t *testing.T) {
	flags := serverCommand(t).Flags()
	for _, name := range []string{
		"SHOAL_REGION", "SHOAL_ROOT_PASSWORD_FILE", "SHOAL_URL", "HOME", auditFileVariable, "SHOAL_AUDIT_KAFKA_TOPIC", "SHOAL_NOTIFY_WEBHOOK_AUTH_TOKEN_A_FILE",
		"SHOAL_IDENTITY_OPENID_CLIENT_ID", "SHOAL_IDENTITY_OPENID_CLIENT_ID_KEYCLOAK", "MINIO_NOTIFY_WEBHOOK_ENDPIONT_A",
	} {
		if err := readEnvironment([]string{name + "=x"}).check(flags); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{
		"SHOAL_REGOIN", "SHOAL_AUDIT_WEBHOOK_ENDPOIMT", "SHOAL_AUDIT_REDIS_ENABLE", "SHOAL_NOTIFY_WEBHOOK_ENDPIONT_A",
		"SHOAL_IDENTITY_OPENID_CLIENT_DI_KEYCLOAK", "SHOAL_IDENTITY_OPENID_ENABLE", "SHOAL_IDENTITY_SAML_ENABLE_A",
	} {
		var f *failure
		if err := readEnvironment([]string{name + "=x"}).check(flags); !errors.As(err, &f) || f.code != exitUsage || !strings.Contains(f.what, name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVariablesOfMinIOAreNamedByWhetherTheyCount(t *testing.T) {
	env := readEnvironment([]string{"MINIO_REGION=x", "MINIO_ROOT_USER=minio", "MINIO_ROOT_PASSWORD=minio-secret", "MINIO_BROWSER=on", "MINIO_OPTS=x"})
	if err := env.apply(serverCommand(t).Flags()); err != nil {
		t.Fatal(err)
	}
	if _, err := env.credentials(); err != nil {
		t.Fatal(err)
	}
	if got := env.honoured(); !slices.Equal(got, []string{"MINIO_REGION", "MINIO_ROOT_PASSWORD", "MINIO_ROOT_USER"}) {
		t.Errorf("in force: %v", got)
	}
	if got := env.ignored(); !slices.Equal(got, []string{"MINIO_BROWSER"}) {
		t.Errorf("not used: %v", got)
	}
}

func TestEverySettingHasItsRowInTheDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); strings.HasPrefix(line, "| `--") {
			name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(cells[1]), "`--"), "`")
			rows[name] = line
		}
	}
	serverCommand(t).Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		row, ok := rows[f.Name]
		if !ok {
			t.Errorf("--%s is missing", f.Name)
			return
		}
		delete(rows, f.Name)
		if f.DefValue != "" && f.DefValue != "false" && !strings.Contains(row, "`"+f.DefValue+"`") {
			t.Errorf("--%s has the default %s, which is not in %q", f.Name, f.DefValue, row)
		}
		for _, name := range minioNames()[f.Name] {
			if name != "MINIO_REGION_NAME" && !strings.Contains(row, name) {
				t.Errorf("--%s is also read from %s, which is not in %q", f.Name, name, row)
			}
		}
	})
	for name := range rows {
		t.Errorf("--%s is described and does not exist", name)
	}
}

func TestTargetsOfEventsComeFromVariables(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(secret, []byte("token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		env  []string
		want string // names, or part of the error
	}{
		{"none", nil, ""},
		{"of ours", []string{"SHOAL_NOTIFY_WEBHOOK_ENABLE_A=on", "SHOAL_NOTIFY_WEBHOOK_ENDPOINT_A=http://host"}, "webhook.A"},
		{"of MinIO's", []string{"MINIO_NOTIFY_WEBHOOK_ENABLE_A=on", "MINIO_NOTIFY_WEBHOOK_ENDPOINT_A=http://host"}, "webhook.A"},
		{"of both", []string{"MINIO_NOTIFY_WEBHOOK_ENABLE_A=off", "SHOAL_NOTIFY_WEBHOOK_ENABLE_A=on", "MINIO_NOTIFY_WEBHOOK_ENDPOINT_A=http://host"}, "webhook.A"},
		{"two", []string{"SHOAL_NOTIFY_WEBHOOK_ENABLE_B_C=on", "SHOAL_NOTIFY_WEBHOOK_ENDPOINT_B_C=http://host", "SHOAL_NOTIFY_WEBHOOK_ENABLE_A=on", "SHOAL_NOTIFY_WEBHOOK_ENDPOINT_A=http://host"}, "webhook.A webhook.B_C"},
		{"without an ID", []string{"SHOAL_NOTIFY_WEBHOOK_ENABLE=on", "SHOAL_NOTIFY_WEBHOOK_ENDPOINT=http://host"}, "webhook._"},
		{"a secret from a file", []string{"SHOAL_NOTIFY_WEBHOOK_ENABLE_A=on", "SHOAL_NOTIFY_WEBHOOK_ENDPOINT_A=http://host", "SHOAL_NOTIFY_WEBHOOK_AUTH_TOKEN_A_FILE=" + secret}, "webhook.A"},
		{"not enabled", []string{"SHOAL_NOTIFY_WEBHOOK_ENDPOINT_A=http://host"}, ""},
		{"incomplete", []string{"SHOAL_NOTIFY_WEBHOOK_ENABLE_A=on"}, "arn:minio:sqs::A:webhook is not set up right: endpoint is missing"},
		{"misspelt in MinIO's", []string{"MINIO_NOTIFY_WEBHOOK_ENDPIONT_A=http://host"}, ""},
	} {
		env := readEnvironment(tt.env)
		targets, err := env.targets(t.Context())
		var got []string
		for _, to := range targets {
			got = append(got, to.String())
		}
		switch {
		case err != nil && (tt.want == "" || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v", tt.name, err)
		case err == nil && strings.Join(got, " ") != tt.want:
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		if err := env.check(serverCommand(t).Flags()); err != nil {
			t.Errorf("%s: check: %v", tt.name, err)
		}
	}
}

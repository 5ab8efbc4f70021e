package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/gateway/admin"
)

// shown returns the settings that are shown with these variables, by their names.
func shown(t *testing.T, environ ...string) map[string]admin.Setting {
	t.Helper()
	env, flags := readEnvironment(environ), serverCommand(t).Flags()
	if err := env.apply(flags); err != nil {
		t.Fatal(err)
	}
	all := env.shownSettings(flags, flags)
	found := make(map[string]admin.Setting)
	for _, c := range all {
		name := strings.TrimSuffix(c.System+":"+c.Target, ":") + " " + c.Key
		if _, twice := found[name]; twice {
			t.Errorf("%s is shown twice", name)
		}
		found[name] = c
	}
	return found
}

func TestSettingsAreShownByTheNamesOfMinIO(t *testing.T) {
	got := shown(t, "SHOAL_REGION=eu-1", "MINIO_API_REQUESTS_MAX=77", "SHOAL_NOTIFY_WEBHOOK_ENABLE_MAIN=on", "MINIO_NOTIFY_WEBHOOK_ENDPOINT_MAIN=http://a/b", "SHOAL_AUDIT_KAFKA_TOPIC=t", "MINIO_IDENTITY_OPENID_CLIENT_ID_DEX=shoal")
	for name, want := range map[string]admin.Setting{
		"region name":                       {Value: "eu-1", From: "--region or SHOAL_REGION"},
		"site region":                       {Value: "eu-1", From: "--region or SHOAL_REGION"},
		"api requests_max":                  {Value: "77", From: "--max-requests or SHOAL_MAX_REQUESTS"},
		"identity_openid claim_name":        {Value: "policy", From: "--identity-openid-claim-name or SHOAL_IDENTITY_OPENID_CLAIM_NAME"},
		"identity_openid:DEX client_id":     {Value: "shoal", From: "SHOAL_IDENTITY_OPENID_CLIENT_ID_DEX"},
		"identity_ldap server_insecure":     {Value: "off", From: "--identity-ldap-server-insecure or SHOAL_IDENTITY_LDAP_SERVER_INSECURE"},
		"notify_webhook:MAIN enable":        {Value: "on", From: "SHOAL_NOTIFY_WEBHOOK_ENABLE_MAIN"},
		"notify_webhook:MAIN endpoint":      {Value: "http://a/b", From: "SHOAL_NOTIFY_WEBHOOK_ENDPOINT_MAIN"},
		"notify_nats enable":                {Value: "off", From: "SHOAL_NOTIFY_NATS_ENABLE"},
		"audit_kafka topic":                 {Value: "t", From: "SHOAL_AUDIT_KAFKA_TOPIC"},
		"audit_webhook endpoint":            {Value: "", From: "SHOAL_AUDIT_WEBHOOK_ENDPOINT"},
		"notify_postgres connection_string": {Value: "", From: "SHOAL_NOTIFY_POSTGRES_CONNECTION_STRING"},
	} {
		if c := got[name]; c.Value != want.Value || c.From != want.From || c.Help == "" {
			t.Errorf("%s: %+v, want %q from %s", name, c, want.Value, want.From)
		}
	}
	if _, there := got["notify_webhook endpoint"]; there {
		t.Error("a target that is not there is shown beside one that is")
	}
}

func TestNoSecretIsAmongTheSettingsThatAreShown(t *testing.T) {
	secrets := []string{
		"SHOAL_NOTIFY_WEBHOOK_AUTH_TOKEN_A=hunter2", "SHOAL_NOTIFY_WEBHOOK_ENDPOINT_A=http://x/?key=hunter2", "SHOAL_NOTIFY_AMQP_URL_A=amqp://u:hunter2@host",
		"SHOAL_NOTIFY_POSTGRES_CONNECTION_STRING_A=password=hunter2", "SHOAL_NOTIFY_REDIS_PASSWORD_A=hunter2", "MINIO_NOTIFY_KAFKA_SASL_PASSWORD_A=hunter2",
		"SHOAL_NOTIFY_NATS_TOKEN_A=hunter2", "SHOAL_NOTIFY_NATS_NKEY_SEED_A=hunter2", "SHOAL_AUDIT_WEBHOOK_AUTH_TOKEN=hunter2",
		"SHOAL_IDENTITY_LDAP_LOOKUP_BIND_PASSWORD=hunter2",
	}
	got := shown(t, slices.Concat(secrets, []string{"SHOAL_ROOT_PASSWORD=hunter2"})...)
	hidden := 0
	for name, c := range got {
		if strings.Contains(c.Value+c.From+c.Help, "hunter2") {
			t.Errorf("%s: %+v", name, c)
		}
		if c.Value == hiddenValue {
			hidden++
		}
	}
	if hidden != len(secrets) {
		t.Errorf("%d values are hidden, want %d", hidden, len(secrets))
	}
}

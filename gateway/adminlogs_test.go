package gateway

import (
	"bufio"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/logs"
)

func TestTheLogIsWatchedByThoseWhoMay(t *testing.T) {
	hub := logs.NewHub()
	log := slog.New(logs.NewHandler(slog.NewTextHandler(io.Discard, nil), hub, nil))
	o := serveOfficeWith(t, func(cfg *Config) { cfg.Admin.Logs = hub })
	log.Info("before")
	for _, tt := range []struct{ who, query, want string }{
		{"ann", "", "AccessDenied"},
		{"boss", "logType=nonsense", "XMinioAdminInvalidArgument"},
		{"boss", "limit=-1", "XMinioAdminInvalidArgument"},
		{"boss", "limit=x", "XMinioAdminInvalidArgument"},
		{"boss", "node=nosuch:1", "XMinioAdminInvalidArgument"},
	} {
		if answer, code := o.admin(tt.who, "GET", "log", tt.query, ""); code != tt.want {
			t.Errorf("%+v: %s", tt, answer.body)
		}
	}
	resp, err := o.client.Do(o.request(call{method: "GET", path: "/minio/admin/v3/log", query: "limit=1&logType=all&node=", user: "boss", secret: secretOf("boss")}))
	o.must(t, err)
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	for _, want := range []string{"before", "after"} {
		line, err := in.ReadString('\n')
		o.must(t, err)
		var l logs.Line
		o.must(t, json.Unmarshal([]byte(strings.TrimSpace(line)), &l))
		if l.Message != want {
			t.Errorf("heard %+v, want %s", l, want)
		}
		log.Info("after")
	}
	o.server.dismiss()
	if _, err := io.Copy(io.Discard, in); err != nil {
		t.Error(err)
	}
}

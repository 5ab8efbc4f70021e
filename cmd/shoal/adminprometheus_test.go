package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/gateway"
)

func TestWhatPrometheusIsGivenReadsTheMetrics(t *testing.T) {
	c := openConsole(t, func(cfg *gateway.Config) { cfg.Metrics = gateway.NewMetrics() })
	var config scrapeConfig
	if err := json.Unmarshal([]byte(c.does("prometheus", "--expires", "1h", "--json")), &config); err != nil || len(config.Static) != 1 || len(config.Static[0].Targets) != 1 {
		t.Fatalf("%v, %+v", err, config)
	}
	target := config.Static[0].Targets[0]
	for token, want := range map[string]int{config.Token: http.StatusOK, "": http.StatusForbidden} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, config.Scheme+"://"+target+config.Path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("with %q: %s", token, response.Status)
		}
	}
	if yaml := c.does("prometheus"); !strings.HasPrefix(yaml, "scrape_configs:\n- job_name: \"shoal\"\n  bearer_token: \"") || !strings.HasSuffix(yaml, "  static_configs:\n  - targets:\n    - \""+target+"\"\n") {
		t.Errorf("for people it is\n%s", yaml)
	}
	if _, said, code := c.run("", "prometheus", "--expires", "yesterday"); code != exitUsage {
		t.Errorf("exit %d, %s", code, said)
	}
}

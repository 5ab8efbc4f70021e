package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/adminclient"
)

func TestTheRootUserIsToldThatANodeWaits(t *testing.T) {
	later := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	mux := http.NewServeMux()
	mux.HandleFunc("/", later)
	mux.Handle(infoPath, newInitializing(new(front), &waiting{what: "others", creds: credentials{user: "root", password: "root-password"}}, later))
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	ask := func(user, password string) (adminclient.Info, error) {
		c, err := adminclient.New(adminclient.Config{Endpoint: s.URL, AccessKey: user, Secret: password, HTTP: http.DefaultClient})
		if err != nil {
			t.Fatal(err)
		}
		return c.Info(t.Context())
	}
	info, err := ask("root", "root-password")
	if err != nil || len(info.Gateways) != 1 || info.Gateways[0].Online || info.Gateways[0].Version != version || info.Error == "" || info.Held != nil {
		t.Errorf("root is told %+v, %v", info, err)
	}
	began := time.Now()
	for _, other := range [][2]string{{"root", "another-password"}, {"ann", "root-password"}} {
		if info, err := ask(other[0], other[1]); err == nil {
			t.Errorf("%s is told %+v", other[0], info)
		}
	}
	if took := time.Since(began); took < guessTime {
		t.Errorf("a guess is answered after %v", took)
	}
	if r, err := http.Get(s.URL + infoPath); err != nil || r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("who signs nothing: %v, %v", r, err)
	}
}

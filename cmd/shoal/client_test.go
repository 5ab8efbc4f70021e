package main

import (
	"encoding/base64"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/sse"
)

func TestAClientWithoutCredentialsSaysSoAndMakesNone(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("STATE_DIRECTORY", "")
	_, _, err := clientCredentials(readEnvironment(nil))
	if err == nil || code(t, err) != exitUsage {
		t.Errorf("without credentials: %v", err)
	}
	if entries, err := os.ReadDir(home); err != nil || len(entries) > 0 {
		t.Errorf("%v were made, %v", entries, err)
	}
}

func TestAClientUsesWhatAServerOfItsHostHasMade(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("STATE_DIRECTORY", "")
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	for _, tt := range []struct {
		dir string // of the server
		env []string
	}{
		{"", nil},
		{elsewhere, []string{"SHOAL_STATE_DIR=" + elsewhere}},
	} {
		state, err := openState(tt.dir)
		if err != nil {
			t.Fatal(err)
		}
		made, err := state.ownCredentials()
		if err != nil {
			t.Fatal(err)
		}
		user, password, err := clientCredentials(readEnvironment(tt.env))
		if err != nil || user != made.user || password != made.password {
			t.Errorf("%s: %s, %v", tt.dir, user, err)
		}
	}
}

func TestWhatIsNoURLOfAServerIsRefused(t *testing.T) {
	c := openConsole(t, nil)
	for _, name := range []string{"status", "health", "bench", "rewrap"} {
		for _, url := range []string{"nas:9000", "nas", "ftp://nas:9000", "http://"} {
			if _, said, code := c.runRoot("", name, url); code != exitUsage {
				t.Errorf("%s %s: exit %d, %s", name, url, code, said)
			}
		}
	}
}

func TestBenchAndRewrapAskTheGatewayOfTheVariable(t *testing.T) {
	c := openConsole(t, nil)
	if out, said, code := c.runRoot("", "rewrap"); code != exitOK {
		t.Errorf("rewrap: exit %d, %s%s", code, out, said)
	}
	if out, said, code := c.runRoot("", "bench", "--op", "put", "--count", "1", "--concurrency", "1", "--objects", "1"); code != exitOK {
		t.Errorf("bench: exit %d, %s%s", code, out, said)
	}
}

func TestAServerThatServesAloneSaysThatItHasNoStatus(t *testing.T) {
	c := openConsole(t, nil)
	if _, said, code := c.runRoot("", "status"); code != exitFailed || !strings.Contains(said, "in no fleet") {
		t.Errorf("exit %d, %s", code, said)
	}
}

func TestACertificateThatIsNotAcceptedIsToldWithItsRemedy(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	c := openConsole(t, nil)
	for _, args := range [][]string{
		{"status", server.URL},
		{"bench", server.URL},
		{"rewrap", server.URL},
		{"bucket", "files", server.URL + "/photos"},
		{"bucket", "limits", server.URL + "/photos"},
		{"admin", "--url", server.URL, "info"},
	} {
		if _, said, code := c.runRoot("", args...); code != exitFailed || !strings.Contains(said, "SSL_CERT_FILE") || !strings.Contains(said, "--insecure") {
			t.Errorf("%v: exit %d, %s", args, code, said)
		}
	}
}

func TestRewrapTellsWhatKeepsAnOldMasterKeyInUse(t *testing.T) {
	keys, err := sse.ParseLocal("old:" + base64.StdEncoding.EncodeToString(make([]byte, sse.KeySize)))
	if err != nil {
		t.Fatal(err)
	}
	var store object.Store
	c := openConsole(t, func(cfg *gateway.Config) { store, cfg.MasterKeys = cfg.Store, keys })
	seal := sse.Seal{Mode: sse.Named, MasterKey: "old"}
	key := sse.NewKey()
	if err := seal.Wrap(t.Context(), keys, key); err != nil {
		t.Fatal(err)
	}
	in := object.PutInput{Body: sse.Encrypt(objecttest.NewBody([]byte("v"), object.CRC64NVME), key, "", false), Meta: object.Meta{Seal: seal.Encode()}}
	if _, err := store.Put(t.Context(), object.Ref{Bucket: "photos", Key: "k"}, in); err != nil {
		t.Fatal(err)
	}
	const counts = "0 keys wrapped anew, 1 under the same key as before, 0 objects without a master key, 0 deleted meanwhile, 0 failed\n1 under \"old\"\n"
	if out, said, code := c.runRoot("", "rewrap"); code != exitOK || out != counts {
		t.Errorf("exit %d, %s%s", code, out, said)
	}
	for _, want := range []string{
		"shoal: 1 upload in progress keeps the key it was begun under; complete or abort it, and run this again\n",
		"shoal: 2 uploads in progress keep the key they were begun under; complete or abort them, and run this again\n",
	} {
		up := object.Upload{UploadRef: object.UploadRef{Ref: object.Ref{Bucket: "photos", Key: "up"}}, Algorithm: object.CRC64NVME, Implied: true}
		if _, err := store.CreateUpload(t.Context(), up); err != nil {
			t.Fatal(err)
		}
		if out, said, code := c.runRoot("", "rewrap"); code != exitFindings || out != counts || said != want {
			t.Errorf("exit %d, %s%s", code, out, said)
		}
	}
}

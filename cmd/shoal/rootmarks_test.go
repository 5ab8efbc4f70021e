package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/raftlock/mesh"
)

// marksOf returns the marks of a gateway that was started with a password, and with a former one if there is any.
func marksOf(life context.Context, t *testing.T, password, former string) *rootMarks {
	t.Helper()
	env := readEnvironment(nil)
	if former != "" {
		env = readEnvironment([]string{formerUser + "=admin", formerPassword + "=" + former})
	}
	r, err := newRootMarks(life, credentials{user: "admin", password: password}, env)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestGatewaysServeTogetherThatHaveTheSameRootCredentialsOrAreBeingGivenThem has gateways ask and answer while the
// root credentials are replaced, and others that do not go together. No password goes over the connection.
func TestGatewaysServeTogetherThatHaveTheSameRootCredentialsOrAreBeingGivenThem(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	for name, c := range map[string]struct {
		asks, answers *rootMarks
		want          bool
	}{
		"the same":                             {marksOf(t.Context(), t, "password1", ""), marksOf(t.Context(), t, "password1", ""), true},
		"another password":                     {marksOf(t.Context(), t, "password2", ""), marksOf(t.Context(), t, "password1", ""), false},
		"the new one, which knows the former":  {marksOf(t.Context(), t, "password2", "password1"), marksOf(t.Context(), t, "password1", ""), true},
		"a former one, which has not been yet": {marksOf(t.Context(), t, "password1", ""), marksOf(t.Context(), t, "password2", "password1"), true},
		"both on their way":                    {marksOf(t.Context(), t, "password2", "password1"), marksOf(t.Context(), t, "password2", "password1"), true},
		"done, and still on its way":           {marksOf(t.Context(), t, "password2", ""), marksOf(t.Context(), t, "password2", "password1"), true},
		"on their ways to different ones":      {marksOf(t.Context(), t, "password2", "password1"), marksOf(t.Context(), t, "password3", "password1"), false},
		"one that stops":                       {marksOf(t.Context(), t, "password2", ""), marksOf(ended, t, "password1", ""), true},
	} {
		here, there := net.Pipe()
		heard := &overheard{Conn: there}
		answered := make(chan bool, 1)
		go func() {
			same, err := c.answers.answer(heard)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			answered <- same
		}()
		if same, err := c.asks.ask(here); err != nil || same != c.want || <-answered != c.want {
			t.Errorf("%s: %v, %v", name, same, err)
		}
		if bytes.Contains(heard.read.Bytes(), []byte("password")) {
			t.Errorf("%s: the password was told", name)
		}
	}
	if err := otherRoots(nil); err != nil {
		t.Error(err)
	}
	if err := otherRoots([]string{"10.0.0.1:9002"}); code(t, err) != exitUnsafe || !strings.Contains(err.Error(), "10.0.0.1:9002") {
		t.Error(err)
	}
}

// overheard is a connection of which is known what came over it.
type overheard struct {
	net.Conn
	read bytes.Buffer
}

func (o *overheard) Read(p []byte) (int, error) {
	n, err := o.Conn.Read(p)
	o.read.Write(p[:n])
	return n, err
}

func TestNonsenseIsNoQuestionForTheRootCredentials(t *testing.T) {
	r := marksOf(t.Context(), t, "password1", "")
	for _, said := range []string{"\x00", "\x03", "\x01too short", ""} {
		here, there := net.Pipe()
		go func() {
			_, _ = here.Write([]byte(said))
			_ = here.Close()
		}()
		if same, err := r.answer(there); err == nil || same {
			t.Errorf("%q: %v, %v", said, same, err)
		}
	}
}

func TestWhoGoesOnToRefuseANodeIsToldWithWhatToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		var r refusals
		log := slog.New(slog.NewTextHandler(&out, nil))
		refused := fmt.Errorf("connect: %w", mesh.ErrRefused)
		for range 100 { // a node that ends may seem to refuse, and is there again
			r.note("node1", refused, time.Now(), log)
			r.note("node1", refused, time.Now(), log)
			r.note("node1", nil, time.Now(), log)
		}
		if out.Len() > 0 {
			t.Errorf("said too soon: %s", &out)
		}
		for range 100 {
			r.note("node2", refused, time.Now(), log)
			time.Sleep(time.Second)
		}
		if n := strings.Count(out.String(), "SHOAL_ROOT_PASSWORD_OLD"); n != 2 || !strings.Contains(out.String(), "node=node2") {
			t.Errorf("said %d times: %s", n, &out)
		}
	})
}

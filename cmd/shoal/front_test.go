package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestNoRequestIsLostWhenWaitingIsOver(t *testing.T) {
	t.Parallel()
	for range 20 {
		ln, err := listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f := &front{ln: ln, log: slog.New(slog.DiscardHandler)}
		f.wait(waiting{what: "others"})
		client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		var asking sync.WaitGroup
		over := make(chan struct{})
		for range 4 {
			asking.Go(func() {
				for {
					select {
					case <-over:
						return
					default:
					}
					r, err := client.Get("http://" + ln.Addr().String() + "/minio/health/live")
					if err != nil {
						t.Error(err)
						return
					}
					_ = r.Body.Close()
				}
			})
		}
		time.Sleep(5 * time.Millisecond)
		taken, err := f.take()
		if err != nil {
			t.Fatal(err)
		}
		next := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ReadTimeout: time.Minute}
		var serving sync.WaitGroup
		serving.Go(func() { _ = next.Serve(taken) })
		time.Sleep(5 * time.Millisecond)
		close(over)
		asking.Wait()
		_ = next.Close()
		serving.Wait()
	}
}

func TestWhoWaitsIsToldWhy(t *testing.T) {
	ln, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{ln: ln, log: slog.New(slog.DiscardHandler)}
	f.wait(waiting{what: "others"})
	t.Cleanup(func() { f.stop(); _ = ln.Close() })
	ready := func() string {
		r, err := http.Get("http://" + ln.Addr().String() + "/minio/health/ready")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Body.Close() }()
		said, _ := io.ReadAll(r.Body)
		return fmt.Sprint(r.StatusCode, " ", strings.TrimSpace(string(said)))
	}
	for _, step := range []struct {
		why  func() error
		want string
	}{
		{nil, "503 the server waits for others"},
		{func() error { return errors.New("no inode is left") }, "503 no inode is left"},
		{func() error { return nil }, "503 the server waits for others"},
	} {
		if step.why != nil {
			f.because(step.why)
		}
		if got := ready(); got != step.want {
			t.Errorf("told is %q, want %q", got, step.want)
		}
	}
}

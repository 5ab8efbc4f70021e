package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

func TestDrivesOfNodesAreWrittenOut(t *testing.T) {
	for text, want := range map[string][]string{
		"http://node{1...2}/mnt/d":                        {"http://node1:9000/mnt/d", "http://node2:9000/mnt/d"},
		"https://node{1...2}:9443/mnt/d{1...2}":           {"https://node1:9443/mnt/d1", "https://node1:9443/mnt/d2", "https://node2:9443/mnt/d1", "https://node2:9443/mnt/d2"},
		"http://127.0.0.1:9101/a/ http://127.0.0.1:9102/": nil,
		"http://a/x http://[::1]:9000/y":                  {"http://a:9000/x", "http://[::1]:9000/y"},
		"http://a/x https://b/x":                          nil,
		"http://a/x http://a:9000/x":                      nil,
		"http://a/x /mnt/d":                               nil,
		"http://user@a/x":                                 nil,
		"ftp://a/x":                                       nil,
		"http://a{1...17}/x":                              nil,
		"http://a{1...2}/d{1...17}":                       nil,
	} {
		got, err := (&serverFlags{address: ":9000"}).parseEndpoints(strings.Fields(text))
		if want == nil {
			if code(t, err) != exitUsage {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var names []string
		for _, e := range slices.Concat(got.each()...) {
			names = append(names, e.String())
		}
		if !slices.Equal(names, want) {
			t.Errorf("%s is %v", text, names)
		}
	}
}

func TestWhatTheLossOfANodeComesToIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		nodes, drives, parity int
		want                  []string
	}{
		"one node":                     {1, 4, 2, nil},
		"four nodes with a drive each": {4, 1, 2, nil},
		"two nodes":                    {2, 1, 1, []string{"nothing can be written"}},
		"three nodes with two, and little parity": {3, 2, 1, []string{"objects cannot be read", "nothing can be written"}},
	} {
		f := &serverFlags{parity: fmt.Sprint("EC:", c.parity)}
		e, err := f.parseEndpoints([]string{fmt.Sprintf("http://node{1...%d}/d{1...%d}", c.nodes, c.drives)})
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		e.warn(slog.New(slog.NewTextHandler(&log, nil)))
		for _, text := range []string{"objects cannot be read", "nothing can be written"} {
			if slices.Contains(c.want, text) != strings.Contains(log.String(), text) {
				t.Errorf("%s: %s", name, log.String())
			}
		}
	}
}

func TestWhereANodeWasFoundIsNotForgottenByWhoLooksForTheOthers(t *testing.T) {
	f := newFinder("http")
	f.found["a:9000"], f.last["a:9000"], f.last["self:9000"] = "a:9002", "a:9002", "self:9002"
	f.forget("a:9000") // an attempt to connect was broken off
	if got := f.others("self:9000"); !slices.Equal(got, []string{"a:9002"}) {
		t.Errorf("the others are at %v", got)
	}
}

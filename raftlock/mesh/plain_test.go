package mesh

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// echoes has a node answer plain connections with what they say.
func echoes(t *testing.T) (m *Mesh, address string, log *logText) {
	t.Helper()
	m, address, log = node(t, Config{Node: "a"})
	m.HandlePlain(func(c net.Conn) { _, _ = io.Copy(c, c) })
	return m, address, log
}

// tell says something on a plain connection and returns the answer.
func tell(t *testing.T, m *Mesh, address string, ticket []byte) (string, error) {
	t.Helper()
	c, err := m.DialPlain(context.Background(), address, ticket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("hello\n")); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}

func TestATicketLetsInOnce(t *testing.T) {
	m, address, log := echoes(t)
	ticket, err := m.Ticket()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tell(t, m, address, ticket); err != nil || got != "hello\n" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := tell(t, m, address, ticket); err == nil {
		t.Errorf("the second time it says %q", got)
	}
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(log.String(), "it has no ticket"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log says %s", log.String())
		}
	}
}

func TestWhoHasNoTicketIsNotLetIn(t *testing.T) {
	m, address, _ := echoes(t)
	late, err := m.Ticket()
	if err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	m.tickets[[ticketSize]byte(late)] = time.Now().Add(-time.Second)
	m.mu.Unlock()
	for name, ticket := range map[string][]byte{"none": make([]byte, ticketSize), "one that is too old": late, "half of one": late[:ticketSize/2]} {
		if got, err := tell(t, m, address, append(ticket, make([]byte, ticketSize-len(ticket))...)); err == nil {
			t.Errorf("with %s it says %q", name, got)
		}
	}
}

func TestTicketsThatAreNotUsedAreBounded(t *testing.T) {
	m, _, _ := echoes(t)
	for range maxTickets {
		if _, err := m.Ticket(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Ticket(); err == nil {
		t.Error("there is one more")
	}
	m.mu.Lock()
	for ticket := range m.tickets {
		m.tickets[ticket] = time.Now().Add(-time.Second)
	}
	m.mu.Unlock()
	if _, err := m.Ticket(); err != nil {
		t.Errorf("once they are too old: %v", err)
	}
}

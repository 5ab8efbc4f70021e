package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/doctor"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// The two of "shoal doctor --pair" meet by files in a directory of the tree.
const (
	meetingDir  = doctor.DirPrefix + "pair"
	meetingLook = 500 * time.Millisecond // between two looks into it
	meetingOld  = 10 * time.Minute       // what was left there by who has gone
	pairRounds  = 10
	quickRounds = 3
)

// caller is what each leaves there: where it listens, and what to say to it.
type caller struct {
	Addresses []string `json:"addresses"`
	Token     string   `json:"token"`
}

// pairing is one of the two.
type pairing struct {
	path     string
	wait     time.Duration
	patience time.Duration
	rounds   int
	progress func(text string)
}

// run meets another doctor and returns what they have found together.
func (p *pairing) run(ctx context.Context, mount doctor.Mount) ([]doctor.Finding, error) {
	own := &doctor.Client{Mount: mount}
	var err error
	if own.Plain, err = vfs.OpenRoot(p.path); err != nil {
		return nil, err
	}
	defer own.Plain.Close() //nolint:errcheck // a directory's handle
	// The other may be one that sees changes by time, as gateways would find out.
	if own.Root, err = vfs.OpenShared(p.path, vfs.Sharing{ByTime: func() bool { return true }}); err != nil {
		e, ok := errors.AsType[*vfs.IncoherentError](err)
		if !ok {
			return nil, err
		}
		return []doctor.Finding{{Check: "several gateways", Severity: doctor.Bad, Found: e.Why, Effect: "Several gateways would answer with what was.", Cure: e.Cure}}, nil
	}
	defer own.Root.Close() //nolint:errcheck // a directory's handle
	conn, first, err := p.meet(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // all was said
	if !first {
		return doctor.Answer(ctx, conn, own)
	}
	own.Dir = doctor.NewDir()
	stale, _ := vfs.IsRouted(own.Root)
	other := &doctor.Remote{Conn: conn, Dir: own.Dir}
	pair := doctor.Pair{Own: own, Other: other, Rounds: p.rounds, Patience: p.patience, Stale: stale, Cure: mount.Cure()}
	found, err := pair.Run(ctx)
	if err != nil {
		return found, err
	}
	return found, other.Tell(found)
}

// meet waits for the other doctor. first is the one who asks.
func (p *pairing) meet(ctx context.Context) (conn net.Conn, first bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.wait, fmt.Errorf("nobody else ran shoal doctor --pair on this tree within %v", p.wait))
	defer cancel()
	ln, err := net.Listen("tcp", ":0")
	if err != nil {
		return nil, false, err
	}
	defer ln.Close() //nolint:errcheck // one connection is all it is for
	token, name := rand.Text(), fmt.Sprintf("%d-%s", time.Now().UnixNano(), strings.ToLower(rand.Text()[:8]))
	at := filepath.Join(p.path, meetingDir)
	own := caller{addressesOf(ln.Addr()), token}
	if err := leave(at, name, own); err != nil {
		return nil, false, err
	}
	defer func() { _ = errors.Join(os.Remove(filepath.Join(at, name)), os.Remove(at)) }() // the last one to go removes it
	if p.progress != nil {
		p.progress("run shoal doctor --pair on the other host")
	}
	arrived := make(chan net.Conn)
	go receive(ctx, ln, token, arrived)
	look := time.NewTicker(meetingLook)
	defer look.Stop()
	for {
		if them, there := earlier(at, name); there {
			conn, err := them.call(ctx)
			return conn, true, err
		}
		select {
		case conn := <-arrived:
			return conn, false, nil
		case <-look.C:
			// A client of NFSv3 that looked in the very step of the server's clock in which
			// this came notices when the directory changes again.
			if err := leave(at, name, own); err != nil {
				return nil, false, err
			}
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
}

// leave says in the meeting's directory who is there.
func leave(at, name string, c caller) error {
	if err := os.Mkdir(at, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	content, err := json.Marshal(c)
	if err != nil {
		return err
	}
	temp := filepath.Join(at, "."+name)
	if err := os.WriteFile(temp, content, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, filepath.Join(at, name))
}

// earlier returns who came to the meeting before, the last of them. The directory is
// read anew each time: that is what clients of file servers notice changes by.
func earlier(at, own string) (c caller, there bool) {
	entries, err := os.ReadDir(at)
	if err != nil {
		return c, false
	}
	for _, e := range slices.Backward(entries) {
		info, err := e.Info()
		if e.Name() >= own || strings.HasPrefix(e.Name(), ".") || err != nil || time.Since(info.ModTime()) > meetingOld {
			continue
		}
		content, err := os.ReadFile(filepath.Join(at, e.Name()))
		if err == nil && json.Unmarshal(content, &c) == nil {
			return c, true
		}
	}
	return c, false
}

// addressesOf returns where a listener can be reached from other hosts, and at last
// from this one.
func addressesOf(listening net.Addr) (all []string) {
	_, port, _ := net.SplitHostPort(listening.String()) // of a listener
	interfaces, _ := net.InterfaceAddrs()               // without any there is this host
	for _, a := range interfaces {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() && !ip.IP.IsLinkLocalUnicast() {
			all = append(all, net.JoinHostPort(ip.IP.String(), port))
		}
	}
	return append(all, net.JoinHostPort("127.0.0.1", port))
}

// callTime is how long one address may take to answer.
const callTime = 3 * time.Second

// call connects to who left c.
func (c caller) call(ctx context.Context) (net.Conn, error) {
	var errs []error
	for _, address := range c.Addresses {
		conn, err := c.callAt(ctx, address)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("the other host cannot be reached: %w", errors.Join(errs...))
}

func (c caller) callAt(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: callTime}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	err = conn.SetDeadline(time.Now().Add(callTime))
	if err == nil {
		_, err = fmt.Fprintln(conn, c.Token)
	}
	answer := make([]byte, len(greeting))
	if err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	if err == nil && string(answer) != greeting {
		err = errors.New("somebody else listens there")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("call %s: %w", address, err), conn.Close())
	}
	return conn, nil
}

// greeting is what is answered to who knows the token.
const greeting = "shoal-doctor/1\n"

// receive hands over the first connection of who knows the token.
func receive(ctx context.Context, ln net.Listener, token string, to chan<- net.Conn) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return // closed
		}
		_ = conn.SetDeadline(time.Now().Add(callTime)) // or reading fails
		line, err := bufio.NewReader(io.LimitReader(conn, int64(len(token)+1))).ReadString('\n')
		if err == nil && subtle.ConstantTimeCompare([]byte(line), []byte(token+"\n")) == 1 {
			_, err = io.WriteString(conn, greeting)
		} else {
			err = errors.New("a stranger")
		}
		if err == nil {
			select {
			case to <- conn:
				return
			case <-ctx.Done():
			}
		}
		_ = conn.Close() // it has not said, or heard, anything that counts
	}
}

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/bench"
)

// benchFlags are the flags of "shoal bench".
type benchFlags struct {
	ops  []string
	size string
	json bool
	cfg  bench.Config
}

func newBenchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench [flags] [URL]",
		Short: "Measure an S3 endpoint",
		Long: `Measure the S3 endpoint at URL (default: SHOAL_URL, or else http://127.0.0.1:9000):
operations and bytes a second, latencies, and for a server on this host the CPU time
and memory that the operations cost it.

Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or else from
SHOAL_ROOT_USER and SHOAL_ROOT_PASSWORD, or else from what "shoal server" made
here. The run removes what it has made, and nothing else.`,
		Example: `  shoal bench
  shoal bench --op put,get --size 64MiB --concurrency 8 --duration 30s
  shoal bench --op get --size 4KiB --json http://nas:9000 > get.json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&f.ops, "op", []string{"put", "get", "head", "list", "delete"}, "phases in order: put, get, head, list, delete, mixed")
	fl.StringVar(&f.size, "size", "4KiB", "bytes of an object, with KiB, MiB or GiB")
	fl.IntVar(&f.cfg.Objects, "objects", 1000, "objects that get, head, list and delete work on")
	fl.IntVar(&f.cfg.Concurrency, "concurrency", 16, "requests at a time")
	fl.DurationVar(&f.cfg.Duration, "duration", 10*time.Second, "of each phase")
	fl.IntVar(&f.cfg.Count, "count", 0, "end each phase after so many operations (0: only the duration ends it)")
	fl.StringVar(&f.cfg.Bucket, "bucket", "shoal-bench", "bucket to work in; made if it is missing")
	fl.StringVar(&f.cfg.Region, "region", "us-east-1", "region to sign for")
	fl.BoolVar(&f.cfg.SignPayload, "signed-payload", false, "sign the SHA-256 of what is put")
	fl.BoolVar(&f.cfg.Insecure, "insecure", false, "accept any TLS certificate")
	fl.IntSliceVar(&f.cfg.ServerPIDs, "pid", nil, "processes of the server, such as those of all its nodes (default: the one that listens on URL's port of this host, if it can be found)")
	fl.BoolVar(&f.json, "json", false, "print one JSON document instead of a table")
	return cmd
}

func (f *benchFlags) run(cmd *cobra.Command, args []string) error {
	env := readEnvironment(os.Environ())
	var err error
	if f.cfg.Endpoint, err = serverURL(args, defaultURL(env)); err != nil {
		return err
	}
	if f.cfg.Size, err = parseSize(f.size); err != nil {
		return err
	}
	for _, op := range f.ops {
		f.cfg.Ops = append(f.cfg.Ops, bench.Op(op))
	}
	if f.cfg.AccessKey, f.cfg.SecretKey, err = clientCredentials(env); err != nil {
		return err
	}
	if pid := localServer(f.cfg.Endpoint); len(f.cfg.ServerPIDs) == 0 && pid != 0 {
		f.cfg.ServerPIDs = []int{pid}
	}
	if err := f.cfg.Validate(); err != nil {
		return usage(err.Error(), "shoal bench --help shows the flags")
	}
	f.cfg.Progress = showProgress(cmd.ErrOrStderr())
	results, err := bench.Run(cmd.Context(), f.cfg)
	if isTerminal(cmd.ErrOrStderr()) {
		_, _ = fmt.Fprint(cmd.ErrOrStderr(), "\r\033[K") // wipes the progress line; nothing is lost if it stays
	}
	write := bench.WriteTable
	if f.json {
		write = bench.WriteJSON
	}
	if len(results) > 0 {
		err = errors.Join(err, write(cmd.OutOrStdout(), results))
	}
	if err != nil {
		return failed("bench "+f.cfg.Endpoint, err, cmp.Or(certificateRemedy(err), "shoal bench --help tells which server and credentials it takes"))
	}
	for _, r := range results {
		if r.Errors > 0 {
			return failed("bench "+f.cfg.Endpoint, fmt.Errorf("%d operations failed", r.Errors), "")
		}
	}
	return nil
}

// showProgress returns what shows progress: a line that is written over on a
// terminal, otherwise a line every ten seconds.
func showProgress(w io.Writer) func(bench.Progress) {
	terminal := isTerminal(w)
	return func(p bench.Progress) {
		line := fmt.Sprintf("%-6s %3.0f s of %.0f s  %d operations  %.0f/s  %.1f MiB/s", p.Op, p.Elapsed.Seconds(), p.Total.Seconds(),
			p.Ops, float64(p.Ops)/p.Elapsed.Seconds(), float64(p.Bytes)/(1<<20)/p.Elapsed.Seconds())
		// Progress that cannot be shown is no reason to stop measuring.
		if terminal {
			_, _ = fmt.Fprint(w, "\r\033[K"+line)
		} else if int(p.Elapsed.Seconds())%10 == 0 {
			_, _ = fmt.Fprintln(w, line)
		}
	}
}

// parseSize parses bytes with a unit of 1024s.
func parseSize(s string) (int64, error) {
	number, shift := s, 0
	for suffix, n := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			number, shift = rest, n
		}
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(number), "B"), 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64>>shift {
		return 0, usage("--size "+s+" is not a size", "take one such as 4KiB or 64MiB")
	}
	return n << shift, nil
}

// localServer returns the process that listens on the endpoint's port of this
// host, 0 if it cannot be found (it may be another user's, or elsewhere).
func localServer(endpoint string) int {
	u, err := url.Parse(endpoint)
	if err != nil {
		return 0
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return 0
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return 0
	}
	inode := listeningInode(port)
	if inode == "" {
		return 0
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == "socket:["+inode+"]" {
			pid, err := strconv.Atoi(strings.Split(link, "/")[2])
			if err == nil {
				return pid
			}
		}
	}
	return 0
}

// listeningInode returns the inode of the socket that listens on the port
// (proc(5), /proc/net/tcp), or "".
func listeningInode(port uint64) string {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		content, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(content)) {
			f := strings.Fields(line)
			const listen = "0A"
			if len(f) > 9 && f[3] == listen && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				return f[9]
			}
		}
	}
	return ""
}

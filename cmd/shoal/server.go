package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/audit"
	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/logs"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sealing"
	"github.com/shoal-storage/shoal/internal/trace"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// serverFlags are the flags of "shoal server".
type serverFlags struct {
	address           string
	consoleAddress    string
	clusterAddress    string
	advertise         string
	peers             string
	singleGateway     bool
	foldedCase        bool
	mountMode         string
	mountStale        time.Duration
	readMount         string
	files             fileFlags
	posixEnforce      bool
	given             object.Files // what files say
	stateDir          string
	certsDir          string
	region            string
	corsOrigins       string
	lifecycleInterval time.Duration
	foreignInterval   time.Duration
	domain            string
	websiteDomain     string
	usageInterval     time.Duration
	parity            string
	setSize           int
	reducedParity     string
	healRate          string
	serverURL         string
	logFormat         string
	logLevel          string
	metricsAuth       string
	metadata          string
	durability        string
	maxRequests       int
	signatureV2       bool
	anyRegion         bool
	shutdownDelay     time.Duration
	drain             time.Duration
	quiet             bool
	anonymous         bool
	jsonLog           bool
	targets           []events.Target // from variables alone
	auditFile         string
	stop              func(restart bool) // ends serving
	serving           *atomic.Bool       // it has begun
	auditTargets      []audit.Target
	flags             *pflag.FlagSet
	common            *common
	access            *slog.Logger // of requests
	watched           *logs.Handler
	logs              *logs.Hub // of those who watch it
	kms               kmsFlags
	openid            openidFlags
	ldap              ldapFlags
	clientCerts       string // on or off
	userLimits        string
	bucketLimits      string
}

func newServerCommand() *cobra.Command {
	var f serverFlags
	cmd := &cobra.Command{
		Use:   "server [flags] [PATH | DRIVE... | URL...]",
		Short: "Serve a directory, or drives, as S3",
		Long: `Serve the directory PATH, or a default one in the home directory, as S3.

Directories in PATH are buckets, the files in them objects: what is there can be
read at once, and what S3 clients write can be read as files. Only the directory
.shoal.sys in PATH belongs to shoal.

Several directories are drives, over which objects are spread so that half of them
can be lost: /mnt/d{1...4}. URLs name drives of several nodes, with the same line
on all of them: http://node{1...4}/mnt/d{1...2}.

Without credentials one pair is made and printed, and only 127.0.0.1 is listened
on. To serve other machines, set SHOAL_ROOT_USER and SHOAL_ROOT_PASSWORD.

Each flag has a variable: --certs-dir is SHOAL_CERTS_DIR, and PATH is SHOAL_VOLUMES.
These are secrets and have no flag: SHOAL_ROOT_USER, SHOAL_ROOT_PASSWORD, both with
_OLD too, SHOAL_CLUSTER_SECRET, SHOAL_KMS_SECRET_KEY, SHOAL_KMS_VAULT_TOKEN,
SHOAL_KMS_VAULT_ROLE_ID, SHOAL_KMS_VAULT_SECRET_ID and
SHOAL_IDENTITY_LDAP_LOOKUP_BIND_PASSWORD. With _FILE behind it each of them names a
file. Targets of events and of the audit are variables too: SHOAL_NOTIFY_...,
SHOAL_AUDIT_... (docs/events.md, docs/operations.md).`,
		Example: `  shoal server
  SHOAL_ROOT_USER=admin SHOAL_ROOT_PASSWORD_FILE=/etc/shoal/password shoal server /mnt/nas
  shoal server --certs-dir /etc/shoal/certs --domain s3.example.com /mnt/nas
  shoal server /mnt/d{1...4}
  shoal server http://node{1...4}/mnt/data`,
		RunE: func(cmd *cobra.Command, args []string) error { return serve(cmd, &f, args) },
	}
	f.declare(cmd)
	return cmd
}

// newGatewayCommand offers the old command line of MinIO's NAS gateway.
func newGatewayCommand() *cobra.Command {
	gatewayCmd := &cobra.Command{
		Use: "gateway", Short: "Old name of server: gateway nas PATH", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	nas := newServerCommand()
	nas.Use = "nas [flags] PATH"
	nas.Short = "The same as shoal server PATH"
	gatewayCmd.AddCommand(nas)
	return gatewayCmd
}

func (f *serverFlags) declare(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.address, "address", "", "`host:port` to serve S3 on (default \":9000\", without credentials \"127.0.0.1:9000\")")
	fl.StringVar(&f.consoleAddress, "console-address", "", "`host:port` of the web console (not in this version)")
	fl.StringVar(&f.clusterAddress, "cluster-address", "", "`host:port` where the gateways of one tree, or nodes with drives, talk to each other (default port 9002 of the S3 address's host)")
	fl.StringVar(&f.advertise, "advertise", "", "`host[:port]` at which other gateways reach --cluster-address, or a network such as 10.1.0.0/16 in which this host's address is taken (default: this host's address towards them)")
	fl.StringVar(&f.peers, "peers", "", "comma-separated `hosts` where other gateways may be, beside those that the tree names; tasks.NAME finds those of a Swarm service")
	fl.BoolVar(&f.singleGateway, "single-gateway", false, "promise that no other gateway serves PATH, and join none")
	fl.BoolVar(&f.foldedCase, "folded-case", runtime.GOOS != "linux", "serve a file system that does not tell upper from lower case, where an object overwrites another whose key differs only in that")
	fl.StringVar(&f.mountMode, "mount-mode", "auto", "how gateways share PATH: direct, routed (each bucket is served by one gateway at a time), or auto: routed on SMB and GlusterFS")
	fl.DurationVar(&f.mountStale, "mount-stale", 0, "for how long after a change another gateway's mount may show what was before, where gateways route (default: as is known of the mount)")
	fl.StringVar(&f.readMount, "read-mount", "", "`directory` where the export of PATH is mounted a second time (NFS: nosharecache), to read through")
	f.files.declare(fl)
	fl.BoolVar(&f.posixEnforce, "posix-enforce", false, "let users of S3 who are somebody on the file system (shoal admin user posix) do only what its permissions allow, in addition to policies")
	fl.StringVar(&f.stateDir, "state-dir", "", "`directory` for what this host keeps (default ~/.local/state/shoal)")
	fl.StringVarP(&f.certsDir, "certs-dir", "S", "", "`directory` with public.crt and private.key: serve HTTPS; subdirectories hold pairs for further names")
	fl.StringVar(&f.region, "region", "us-east-1", "region that clients sign for")
	fl.StringVar(&f.corsOrigins, "cors-allow-origin", "", "comma-separated `origins` whose pages may use buckets without a CORS configuration, * for all")
	fl.DurationVar(&f.foreignInterval, "foreign-interval", 5*time.Minute, "`time` between two looks for files that others made, changed or removed, in buckets whose rules of events ask for that; 0: never")
	fl.DurationVar(&f.lifecycleInterval, "lifecycle-interval", 0, "`time` between two rounds of lifecycle rules; 0: shortly after each midnight UTC")
	fl.StringVar(&f.auditFile, "audit-file", "", "`file` that a record of each request is added to, as a line of JSON; SIGHUP has it opened anew")
	fl.StringVar(&f.domain, "domain", "", "comma-separated `names` under which buckets are host names: BUCKET.name")
	fl.DurationVar(&f.usageInterval, "usage-interval", 24*time.Hour, "how often one gateway counts what all buckets hold; 0 for never")
	fl.StringVar(&f.userLimits, "user-limits", "", "`rates` a second of each user that has none of his own, such as requests=100,up=10MiB,down=1GiB")
	fl.StringVar(&f.bucketLimits, "bucket-limits", "", "`rates` a second of each bucket that has none of its own")
	fl.StringVar(&f.websiteDomain, "website-domain", "", "comma-separated `names` under which buckets are websites for browsers: BUCKET.name")
	fl.StringVar(&f.serverURL, "server-url", "", "`URL` that clients reach this endpoint at, for the start-up text")
	fl.StringVar(&f.logFormat, "log-format", "auto", "text, json, or auto: text on a terminal, else json")
	fl.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error; info and lower log a line for each request")
	fl.StringVar(&f.metricsAuth, "metrics-auth", "jwt", "who may read the metrics: jwt (\"shoal admin prometheus\" and \"mc admin prometheus generate\" make tokens) or public")
	fl.StringVar(&f.metadata, "metadata", "auto", "where metadata goes: xattr, sidecar, or auto: xattr where the file system has them")
	fl.StringVar(&f.parity, "parity", "", "EC:`n`: of several drives n may be lost (default: half of them)")
	fl.IntVar(&f.setSize, "set-size", 0, "`drives` of a set, where there are more than 16 (default: as many as go, up to 16)")
	fl.StringVar(&f.reducedParity, "reduced-parity", "", "EC:`n` for objects of the class REDUCED_REDUNDANCY (default: EC:1, and no more than --parity)")
	fl.StringVar(&f.healRate, healRateFlag, "", "`bytes` a second that are made anew on drives that lack something, by each node, such as 20MiB (default: as many as go)")
	fl.StringVar(&f.durability, "durability", "strict", "strict: a 200 survives a power cut; relaxed: it survives a crash of shoal")
	fl.IntVar(&f.maxRequests, "max-requests", 1024, "requests served at the same time; more wait a while, then get 503")
	fl.BoolVar(&f.anyRegion, "any-region", false, "serve requests that are signed for another region than --region, as MinIO does that is given none")
	fl.BoolVar(&f.signatureV2, "signature-v2", false, "serve clients that sign requests by AWS Signature Version 2, which does not cover what they send")
	fl.DurationVar(&f.shutdownDelay, "shutdown-delay", 0, "how long after SIGTERM to go on serving, with a failing readiness check, so that load balancers turn away")
	fl.DurationVar(&f.drain, "drain", 30*time.Second, "how long requests may take to end after SIGTERM")
	f.kms.declare(cmd)
	f.openid.declare(fl)
	f.ldap.declare(fl)
	fl.StringVar(&f.clientCerts, "identity-tls-enable", "off", "on: clients with a certificate of an authority in CAs below --certs-dir get temporary credentials with the policy that it names")
	fl.BoolVar(&f.quiet, "quiet", false, "print no start-up text")
	fl.BoolVar(&f.jsonLog, "json", false, "the same as --log-format json")
	fl.BoolVar(&f.anonymous, "anonymous", false, "leave keys and user names out of the log")
	for _, hidden := range []string{"json", "anonymous"} {
		if err := fl.MarkHidden(hidden); err != nil {
			panic(err) // a misspelt name above
		}
	}
}

// serve runs the server until the command's context ends.
func serve(cmd *cobra.Command, f *serverFlags, args []string) error {
	// Whoever reads the log may end: the process would with the next line, and break off what is under way.
	signal.Ignore(syscall.SIGPIPE)
	env := readEnvironment(os.Environ())
	if err := errors.Join(env.check(cmd.Flags()), env.apply(cmd.Flags())); err != nil {
		return err
	}
	if err := f.validate(); err != nil {
		return err
	}
	var err error
	if f.given, err = f.files.files(); err != nil {
		return err
	}
	creds, err := env.credentials()
	if err != nil {
		return err
	}
	log, err := f.logger(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	what, err := f.served(args, env)
	if err != nil {
		return err
	}
	if err := env.misplaced(cmd.Flags(), what); err != nil {
		return err
	}
	state, err := openState(f.stateDir)
	if err != nil {
		return err
	}
	if creds, err = f.chooseAddress(creds, state); err != nil {
		return err
	}
	if f.targets, err = env.targets(cmd.Context()); err != nil {
		return err
	}
	if f.auditTargets, err = env.auditTargets(cmd.Context(), f.auditFile); err != nil {
		return err
	}
	f.flags, f.serving = cmd.Flags(), new(atomic.Bool)
	ctx, end := context.WithCancelCause(f.untilHangUp(cmd.Context()))
	defer end(nil)
	f.stop = func(restart bool) {
		if restart {
			end(errRestart)
		} else {
			end(nil)
		}
	}
	if err := f.start(ctx, cmd.OutOrStdout(), log, what, state, env, creds); err != nil {
		if ctx.Err() != nil && !f.serving.Load() {
			log.Info("stopped before there was anything to serve", "error", err)
			return nil
		}
		return err
	}
	if errors.Is(context.Cause(ctx), errRestart) {
		return errRestart
	}
	return nil
}

// untilHangUp returns a context that SIGHUP ends, as SIGTERM does: of itself it would end the
// process at once, and break off what is under way. Whoever has started it with nohup, or has it
// open the audit's file anew, means something else by it.
func (f *serverFlags) untilHangUp(ctx context.Context) context.Context {
	if f.auditFile != "" || signal.Ignored(syscall.SIGHUP) {
		return ctx
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	context.AfterFunc(ctx, func() { // a second one ends the process at once, whichever it is
		stop()
		signal.Reset(os.Interrupt, syscall.SIGTERM)
	})
	return ctx
}

// errRestart is why a server ends that shall be started again.
var errRestart = &failure{code: exitRestart, what: "ended to be started again, as was asked by the admin API"}

// validate refuses values that their types allow.
func (f *serverFlags) validate() error {
	_, known := mountModes()[f.mountMode]
	switch {
	case !known:
		return usage("--mount-mode "+f.mountMode+" is none of auto, direct and routed", "take auto")
	case f.usageInterval < 0:
		return usage("--usage-interval cannot be negative", "take one such as 24h, or 0 for never")
	case f.mountStale < 0:
		return usage("--mount-stale cannot be negative", "take one such as 3s")
	case f.readMount != "" && f.singleGateway:
		return usage("--read-mount is for gateways of a fleet", "leave out --single-gateway")
	case f.metricsAuth != "jwt" && f.metricsAuth != "public":
		return usage("--metrics-auth "+f.metricsAuth+" is neither jwt nor public", "take jwt")
	case f.maxRequests < 1:
		return usage(fmt.Sprintf("--max-requests %d is less than 1", f.maxRequests), "take 1024, or what the storage bears")
	case f.region == "":
		return usage("--region is empty", "take us-east-1, which clients sign for by default")
	case f.lifecycleInterval < 0:
		return usage("--lifecycle-interval cannot be negative", "take one such as 1h, or 0 for once a day")
	case f.foreignInterval < 0:
		return usage("--foreign-interval cannot be negative", "take one such as 5m, or 0 for none")
	case f.clientCerts != "on" && f.clientCerts != "off" && f.clientCerts != "":
		return usage("--identity-tls-enable "+f.clientCerts+" is neither on nor off", "take off")
	case f.clientCerts == "on" && f.certsDir == "":
		return usage("--identity-tls-enable needs --certs-dir", "set it, or leave the other out")
	case f.drain < 0 || f.shutdownDelay < 0:
		return usage("--drain and --shutdown-delay cannot be negative", "take one such as 30s")
	}
	_, err := f.healing()
	return cmp.Or(err, f.validateReach(), f.kms.validate(), f.ldap.validate())
}

// warn tells which variables of MinIO count, and what was given and does not.
func (f *serverFlags) warn(log *slog.Logger, env *environment) {
	if names := env.honoured(); len(names) > 0 {
		log.Info("these variables of MinIO are in force", "names", strings.Join(names, " "))
	}
	if names := env.ignored(); len(names) > 0 {
		log.Warn("these variables are not used by shoal", "names", strings.Join(names, " "))
	}
	if f.consoleAddress != "" {
		log.Warn("there is no web console in this version; --console-address has no effect")
	}
}

// start opens everything, serves, and closes everything in turn.
func (f *serverFlags) start(ctx context.Context, out io.Writer, log *slog.Logger, what served, state *state, env *environment, creds credentials) (err error) {
	log = untilServing(ctx, f.serving, log)
	pairs, err := f.certificates(log)
	if err != nil {
		return err
	}
	defer pairs.Close()
	cfg, err := f.configure(ctx, env, pairs, log)
	if err != nil {
		return err
	}
	ln, err := listen(f.address)
	if err != nil {
		return err
	}
	defer func() { _ = ln.Close() }() // closed already if it was served
	cfg.Node = ln.Addr().String()
	f.watched.Name(cfg.Node)
	cfg.TLS = pairs.config
	front := &front{ln: ln, tls: pairs.config, log: log}
	b, err := f.openBackend(ctx, what, front, state, env, creds, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	f.common.backedBy(f, b)
	if runtime.GOOS == "linux" {
		cfg.Admin.Traffic = traffic
	}
	defer f.startUsage(ctx, b, &cfg)()
	if err := b.show(&cfg); err != nil {
		return err
	}
	if cfg.Directory, err = openDirectory(ctx, b.records, env, creds, cfg.Admin.Sealer, people{f.common}); err != nil {
		return err
	}
	cfg.Authority = cfg.Directory
	if b.records != nil {
		begun := f.common.sharedWith(cfg.Directory.Sealed(), &cfg)
		f.region, cfg.Region, cfg.MaxRequests = begun.region, begun.region, begun.maxRequests
	}
	if cfg.Permissions, err = f.permissions(ctx, b.store); err != nil {
		return err
	}
	if err := b.fleet.show(&cfg); err != nil {
		return err
	}
	if b.ready != nil {
		cfg.Ready, cfg.Readable = b.ready, b.readable
	}
	f.watched.Name(cfg.Node)
	if cfg.Events, err = startEvents(ctx, f.common.targets(ctx, f.targets), f.common.refresh, b, cfg.Metrics, log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cfg.Events.Close()) }()
	if cfg.Audit, err = startAudit(ctx, f.auditTargets, cfg.Metrics, log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cfg.Audit.Close()) }()
	defer f.common.follow(ctx, b.records, cfg.Audit, cfg.Events)()
	defer f.startForeign(ctx, cfg.Store, b, cfg.Events, log)()
	endLifecycle, err := f.startLifecycle(ctx, cfg.Store, b.locker, cfg.Events, cfg.Metrics, b.earliest(), log)
	if err != nil {
		return err
	}
	defer endLifecycle()
	server, err := gateway.New(context.WithoutCancel(ctx), cfg)
	if err != nil {
		return usage(err.Error(), "shoal server --help says what the flags take")
	}
	f.common.serves(server)
	f.warn(log, env)
	if !f.quiet {
		f.banner(out, ln.Addr(), b.what, creds)
	}
	if ln, err = front.take(); err != nil {
		return failed("cannot serve", err, "")
	}
	f.serving.Store(true)
	log.Info("serving", "address", ln.Addr().String(), "path", b.what, "version", version)
	return f.serveUntilDone(ctx, log, server, ln)
}

// permissions returns what knows the permissions on the file system, if they count.
func (f *serverFlags) permissions(ctx context.Context, store object.Store) (object.Judge, error) {
	if !f.posixEnforce {
		return nil, nil
	}
	judge, ok := store.(object.Judge)
	if !ok {
		return nil, usage("--posix-enforce is for objects that are files of a file system that each gateway can ask", "leave it out on drives, and where gateways route (SMB, GlusterFS)")
	}
	if err := judge.CanJudge(ctx); err != nil {
		return nil, usage("--posix-enforce cannot be kept: "+err.Error(), "leave it out, or start shoal so that it can (docs/mounts.md)")
	}
	return judge, nil
}

// configure returns what flags and variables alone say of how to serve.
func (f *serverFlags) configure(ctx context.Context, env *environment, pairs *pairs, log *slog.Logger) (cfg gateway.Config, err error) {
	cfg = gateway.DefaultConfig()
	cfg.Logger, cfg.Metrics, cfg.Admin.Sealer = log, gateway.NewMetrics(), sealing.New(derivations)
	cfg.AccessLog, cfg.Admin.Logs, cfg.Trace = f.access, f.logs, new(trace.Hub)
	cfg.CORSOrigins = domains(f.corsOrigins)
	cfg.Region, cfg.Domains, cfg.WebsiteDomains, cfg.MaxRequests = f.region, domains(f.domain), domains(f.websiteDomain), f.maxRequests
	cfg.Version, cfg.Admin.Stop, cfg.SignatureV2, cfg.AnyRegion = version, f.stop, f.signatureV2, f.anyRegion
	if cfg.UserRates, err = parseRates("user-limits", f.userLimits); err != nil {
		return cfg, err
	}
	if cfg.BucketRates, err = parseRates("bucket-limits", f.bucketLimits); err != nil {
		return cfg, err
	}
	cfg.PublicMetrics = f.metricsAuth == "public"
	cfg.EncryptAll, cfg.InsecureCustomerKeys = f.kms.auto == "on", f.kms.overHTTP
	if f.common, err = newCommon(env, f.flags, pairs, log); err != nil {
		return cfg, err
	}
	cfg.OpenID, cfg.LDAP, cfg.ClientCertificates, cfg.Admin.Settings = f.common, people{f.common}, f.common.ClientCertificates, f.common.Settings
	cfg.MasterKeys, err = f.kms.masterKeys(ctx, env, log)
	return cfg, err
}

// serveUntilDone serves until ctx ends, and then lets what is under way end.
func (f *serverFlags) serveUntilDone(ctx context.Context, log *slog.Logger, server *gateway.Server, ln *net.TCPListener) error {
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	debug.FreeOSMemory() // the 64 MiB by which each key was derived would be held for minutes
	select {
	case err := <-served:
		return failed("cannot serve", err, "")
	case <-ctx.Done():
	}
	server.Drain()
	if f.shutdownDelay > 0 {
		log.Info("stopping: not ready any more", "serving_on_for", f.shutdownDelay.String())
		select {
		case err := <-served:
			return failed("cannot serve", err, "")
		case <-time.After(f.shutdownDelay):
		}
	}
	log.Info("stopping: requests under way may end", "within", f.drain.String())
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.drain)
	defer cancel()
	switch err := server.Shutdown(grace); {
	case errors.Is(err, context.DeadlineExceeded):
		log.Warn("requests were broken off that did not end in time", "within", f.drain.String())
	case err != nil:
		return failed("cannot stop cleanly", err, "")
	}
	log.Info("stopped")
	return nil
}

// store is what serves a tree, alone or in a fleet.
type store interface {
	object.Store
	Close() error
}

func (f *serverFlags) openStore(ctx context.Context, path string, state *state, fleet *fleet, log *slog.Logger) (store, error) {
	cfg := nasfs.DefaultConfig()
	cfg.Path, cfg.Logger, cfg.Files, cfg.FoldedCase = path, log, f.given, f.foldedCase
	var ok bool
	if cfg.Metadata, ok = map[string]nasfs.MetadataMode{"auto": nasfs.Auto, "xattr": nasfs.Xattr, "sidecar": nasfs.Sidecar}[f.metadata]; !ok {
		return nil, usage("--metadata "+f.metadata+" is none of auto, xattr and sidecar", "take auto")
	}
	if cfg.Durability, ok = map[string]nasfs.Durability{"strict": nasfs.Strict, "relaxed": nasfs.Relaxed}[f.durability]; !ok {
		return nil, usage("--durability "+f.durability+" is neither strict nor relaxed", "take strict")
	}
	var opened store
	var err error
	if fleet == nil {
		opened, err = nasfs.Open(cfg)
	} else {
		cfg.Path, cfg.Root = "", fleet.root
		cfg.Facts, cfg.Feed, cfg.ReadRoot = fleet, fleet.node, fleet.reads
		opened, err = f.openFleetStore(ctx, cfg, fleet)
	}
	if err != nil {
		return nil, f.openFailure(path, err)
	}
	if err := state.rememberMount(path); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return opened, nil
}

// openFleetStore opens this gateway's part of a tree that several serve.
func (f *serverFlags) openFleetStore(ctx context.Context, cfg nasfs.Config, fleet *fleet) (store, error) {
	_, routed := vfs.IsRouted(fleet.root)
	cfg.Unswept = routed
	cfg.Now, cfg.LockNow = fleet.node.Latest, fleet.node.Earliest
	own, err := nasfs.OpenFleet(ctx, cfg, fleet.node)
	if err != nil {
		return own, err
	}
	fleet.own.Store(own)
	if !routed {
		return own, nil
	}
	return f.route(ctx, own, fleet), nil
}

// logger returns the log of the process, which can be watched.
func (f *serverFlags) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, usage("--log-level "+f.logLevel+" is not valid", "take debug, info, warn or error")
	}
	opts := &slog.HandlerOptions{Level: level}
	if f.anonymous {
		opts.ReplaceAttr = func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == "key" || a.Key == "user" {
				a.Value = slog.StringValue("-")
			}
			return a
		}
	}
	format := f.logFormat
	if f.jsonLog {
		format = "json"
	}
	var to slog.Handler
	switch {
	case format == "text", format == "auto" && isTerminal(w):
		to = slog.NewTextHandler(w, opts)
	case format == "json", format == "auto":
		to = slog.NewJSONHandler(w, opts)
	default:
		return nil, usage("--log-format "+f.logFormat+" is not valid", "take text, json or auto")
	}
	f.access, f.logs = slog.New(to), logs.NewHub()
	f.watched = logs.NewHandler(to, f.logs, opts)
	return slog.New(f.watched), nil
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func domains(list string) []string {
	var names []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.ToLower(strings.Trim(strings.TrimSpace(name), ".")); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// chooseAddress settles where to listen and with which credentials: those that
// were made here are for this machine only.
func (f *serverFlags) chooseAddress(creds credentials, state *state) (credentials, error) {
	if creds.user != "" {
		if f.address == "" {
			f.address = ":9000"
		}
		return creds, nil
	}
	if f.address == "" {
		f.address = "127.0.0.1:9000"
	}
	if !isLoopback(f.address) {
		return creds, unsafe("no credentials for serving other machines on "+f.address,
			"set SHOAL_ROOT_USER and SHOAL_ROOT_PASSWORD (or SHOAL_ROOT_PASSWORD_FILE), or use --address "+onLoopback(f.address))
	}
	return state.ownCredentials()
}

// onLoopback returns the address with the same port for this machine only.
func onLoopback(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		port = "9000"
	}
	return net.JoinHostPort("127.0.0.1", port)
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// listenRemedy says what helps where an address cannot be listened on.
func listenRemedy(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "take a port from 1024 on with --address host:port, or give shoal the capability CAP_NET_BIND_SERVICE"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "choose an address of this host with --address host:port"
	}
	return "choose another with --address host:port, or stop what uses it"
}

func listen(address string) (*net.TCPListener, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, failed("cannot listen on "+address, err, listenRemedy(err))
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, failed("cannot listen on "+address, fmt.Errorf("not TCP"), "")
	}
	return tcp, nil
}

// served returns what is to be served: one directory, several drives, or those of several
// nodes.
func (f *serverFlags) served(args []string, env *environment) (what served, err error) {
	if len(args) == 0 {
		args = env.volumes()
	}
	if slices.ContainsFunc(args, func(arg string) bool { return strings.Contains(arg, "://") }) {
		what.nodes, err = f.parseEndpoints(args)
		return what, err
	}
	if len(args) == 0 {
		what.path, err = defaultPath()
		return what, err
	}
	all, err := directories(args)
	if err != nil {
		return what, err
	}
	if len(all) == 1 && len(all[0].drives) == 1 {
		what.path = all[0].drives[0]
		return what, nil
	}
	what.drives, err = layoutOf(f, all, func(string) string { return "" })
	return what, err
}

// directories returns those that are named, by pool.
func directories(args []string) ([]poolOf[string], error) {
	all, err := pools(args)
	if err != nil {
		return nil, err
	}
	known := make(map[string]bool)
	for _, pool := range all {
		paths := pool.drives
		for i := range paths {
			if paths[i], err = filepath.Abs(paths[i]); err != nil {
				return nil, failed("cannot find "+paths[i], err, "")
			}
			if paths[i] == "/" {
				return nil, usage("cannot serve /: all directories of this host would be buckets, and its files objects", "name a directory of its own, such as /srv/shoal")
			}
			if known[paths[i]] {
				return nil, usage(paths[i]+" is named twice", "name each drive once")
			}
			known[paths[i]] = true
		}
	}
	return all, nil
}

// defaultPath makes and returns the directory that is served where none is
// named.
func defaultPath() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", failed("cannot find a default data directory", err, "name one: shoal server PATH")
	}
	path := filepath.Join(home, "shoal-data")
	if err := os.MkdirAll(path, 0o755); err != nil {
		return "", failed("cannot make the default data directory", err, "name another: shoal server PATH")
	}
	return path, nil
}

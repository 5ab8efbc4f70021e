// Package gateway speaks S3 over HTTP: it reads a request, finds out who sent
// it and whether they may, runs one row of the operation table against an
// object.Store, and answers. HTTP, XML and S3's error codes are known here and
// nowhere else, and so is fasthttp.
package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/accept"
	"github.com/shoal-storage/shoal/internal/audit"
	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/ldap"
	"github.com/shoal-storage/shoal/internal/limits"
	"github.com/shoal-storage/shoal/internal/md5lanes"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/openid"
	"github.com/shoal-storage/shoal/internal/sigv4"
	"github.com/shoal-storage/shoal/internal/sse"
	"github.com/shoal-storage/shoal/internal/throttle"
	"github.com/shoal-storage/shoal/internal/trace"
)

// Authority knows who there is; iam.Root and directory.Directory are ones. It may be
// asked concurrently.
type Authority interface {
	// Lookup returns the identity and the secret of an access key. The error is
	// iam.ErrNoSuchKey, or says why that cannot be known now.
	Lookup(accessKey string) (id iam.Identity, secret string, err error)
}

// People knows who has a name, and a password; ldap.Directory is one. It may be asked
// concurrently.
type People interface {
	admin.People
	// Identify returns who has them. The errors are ldap.ErrCredentials,
	// ldap.ErrUnavailable and ldap.ErrNone.
	Identify(ctx context.Context, name, password string) (ldap.Person, error)
}

// Providers know who bears a token; openid.Providers are ones. They may be asked
// concurrently.
type Providers interface {
	admin.Providers
	// Identify returns who bears it; openid.Providers has the errors.
	Identify(ctx context.Context, role, token string) (openid.Identity, error)
}

// Config says how to serve.
type Config struct {
	Store     object.Store
	Authority Authority
	Logger    *slog.Logger // of what happens
	AccessLog *slog.Logger // of a line for each request; nil: there is none
	Region    string       // that clients must sign for
	Domains   []string     // of virtual-host style requests, lower case
	// WebsiteDomains are the domains whose hosts show buckets as websites, lower case.
	WebsiteDomains []string
	// CORSOrigins are the origins whose pages may use buckets that have no CORS
	// configuration, each with one '*' at most.
	CORSOrigins []string
	// Directory is what temporary credentials and the admin API are of; nil: there are neither.
	Directory *directory.Directory
	// Admin is what else the admin API is of.
	Admin admin.Config
	// OpenID are the providers whose tokens are taken for temporary credentials; nil: none
	// are.
	OpenID Providers
	// LDAP knows people by name and password, who then get temporary credentials; nil:
	// nobody does.
	LDAP People
	// Permissions says what the file system lets those users do who are somebody there;
	// nil: policies alone count.
	Permissions object.Judge
	// Events tells of what happens; nil: nobody is told, and there are no targets.
	Events *events.Service
	// Trace tells of calls; nil: there is no such thing. Node is what this gateway is
	// called there.
	Trace *trace.Hub
	Node  string
	// Self is what other nodes find this one by; the zero Node: there are none.
	Self Node
	// Audit is told of every request; nil: there is none.
	Audit *audit.Log
	// UserRates and BucketRates are those of users and buckets that have none of their
	// own, of all Peers together.
	UserRates, BucketRates limits.Rates
	// Peers returns how many gateways serve the tree, this one included; nil: there is
	// this one. It does not wait.
	Peers func() int
	// MasterKeys are what objects are encrypted under; nil: only customers' keys.
	MasterKeys sse.MasterKeys
	// EncryptAll encrypts under the default master key what neither the request nor
	// the bucket says anything about. It needs MasterKeys.
	EncryptAll bool
	// InsecureCustomerKeys takes the keys of customers over plain HTTP, for where a
	// proxy speaks TLS.
	InsecureCustomerKeys bool
	Metrics              *Metrics    // nil: none are kept
	TLS                  *tls.Config // nil: plain HTTP
	// ClientCertificates reports whether who has shown a certificate gets temporary
	// credentials, now; nil: who TLS has verified does.
	ClientCertificates func() bool
	// ConsoleURL is where browsers that come to / are sent, or "".
	ConsoleURL string
	// PublicMetrics serves metrics without a token.
	PublicMetrics bool
	// Ready returns why requests cannot be served now, beside what the Store says,
	// or nil; nil: there is nothing else. Readable returns the same for requests that only
	// read; nil: as Ready.
	Ready, Readable func() error
	// FilesKept is how many files the Store has open all the time: connections have half of the others.
	FilesKept int
	// Agreeing returns why nothing can be agreed upon with the others now, or nil; nil: there are
	// no others.
	Agreeing func() error
	// Status returns what "shoal status" shows, as a value for encoding/json; nil:
	// there is no such page.
	Status  func(ctx context.Context) any
	Version string // of the program

	// SignatureV2 has requests be served that are signed in the header by version 2.
	SignatureV2 bool
	// AnyRegion has requests be served that are signed for whichever region, as MinIO does that is
	// given none.
	AnyRegion bool

	MaxRequests    int           // served at once; more wait, then get SlowDown
	AdmissionWait  time.Duration // how long they wait
	HeaderTimeout  time.Duration // for a request's header to arrive
	IdleTimeout    time.Duration // between requests of a connection
	StallTimeout   time.Duration // for the next piece of a body to move
	QuickTimeout   time.Duration // of operations on metadata
	ListingTimeout time.Duration // of listings
	LongTimeout    time.Duration // of copies and completions
	Patience       time.Duration // after which a client that waits for one of those is kept alive

	Now func() time.Time
	// LockNow is the time by which versions are retained; nil: Now.
	LockNow func() time.Time
	wait    func(ctx context.Context, d time.Duration) error // unless ctx ends; other than pause in tests
	grace   time.Duration                                    // as listener has it; other than a second in tests
}

// DefaultConfig returns a Config to which Store, Authority and Logger have to
// be added.
func DefaultConfig() Config {
	return Config{
		Region:         object.DefaultRegion,
		MaxRequests:    1024,
		AdmissionWait:  5 * time.Second,
		HeaderTimeout:  30 * time.Second,
		IdleTimeout:    2 * time.Minute,
		StallTimeout:   30 * time.Second,
		QuickTimeout:   20 * time.Second,
		ListingTimeout: 60 * time.Second,
		LongTimeout:    2 * time.Hour,
		Patience:       10 * time.Second,
		Now:            time.Now,
		wait:           pause,
		grace:          time.Second,
	}
}

// Validate reports everything that is wrong with the configuration.
func (c *Config) Validate() error {
	var errs []error
	if c.Store == nil || c.Authority == nil || c.Logger == nil || c.Now == nil || c.wait == nil {
		errs = append(errs, errors.New("gateway: Store, Authority, Logger, Now and what DefaultConfig sets are required"))
	}
	if c.EncryptAll && c.MasterKeys == nil {
		errs = append(errs, errors.New("gateway: EncryptAll needs MasterKeys"))
	}
	if err := errors.Join(c.UserRates.Validate(), c.BucketRates.Validate()); err != nil {
		errs = append(errs, fmt.Errorf("gateway: %w", err))
	}
	if c.Region == "" {
		errs = append(errs, errors.New("gateway: Region is required"))
	}
	if c.MaxRequests < 1 {
		errs = append(errs, fmt.Errorf("gateway: MaxRequests is %d, must be at least 1", c.MaxRequests))
	}
	for _, d := range []time.Duration{c.AdmissionWait, c.HeaderTimeout, c.IdleTimeout, c.StallTimeout, c.QuickTimeout, c.ListingTimeout, c.LongTimeout, c.Patience} {
		if d <= 0 {
			errs = append(errs, errors.New("gateway: every timeout must be positive"))
			break
		}
	}
	return errors.Join(errs...)
}

// Server serves S3. Make it with New.
type Server struct {
	Config
	root   context.Context
	cancel context.CancelFunc

	attending context.Context // of those who listen to events
	dismiss   context.CancelFunc

	table     *table
	api       *admin.API
	sts       map[string]stsCall // of the security token service, by action
	http      *fasthttp.Server
	listeners listeners
	tuned     atomic.Pointer[tuned]
	ids       *requestIDs
	verifier  sigv4.Verifier
	parsed    parsedDocuments
	lanes     md5lanes.Lanes // for the MD5 of large bodies
	limiter   *limits.Limiter
	failures  *throttle.Throttle
	minio     *minioCounts
	delayed   chan struct{} // one for each answer to a failure that waits
	between   *sse.BucketKeys
	draining  atomic.Bool
	apart     apart
	crowdedAt atomic.Pointer[time.Time] // when it was last said that there are too many connections
	started   time.Time
}

// maxHeaderBytes is the longest request header that is read. S3 allows 8 KiB,
// presigned URLs and proxies want more.
const maxHeaderBytes = 32 << 10

// ConnectionsPerRequest is how many connections are kept open for each request
// that may be served, as Config has it; beyond that those on which nothing happens are
// closed for new ones. It also bounds the threads that sendfile can leave inside
// a file system that hangs, well below the 10,000 at which Go gives up.
const ConnectionsPerRequest = 4

// bucketKeyLife is how long a bucket key is used.
const bucketKeyLife = 5 * time.Minute

// New returns a Server whose requests end when root does.
func New(root context.Context, cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	ids, err := newRequestIDs()
	if err != nil {
		return nil, err
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics()
	}
	if cfg.LockNow == nil {
		cfg.LockNow = cfg.Now
	}
	if cfg.Peers == nil {
		cfg.Peers = func() int { return 1 }
	}
	if cfg.LDAP == nil {
		cfg.LDAP = noPeople{}
	}
	if cfg.ClientCertificates == nil {
		cfg.ClientCertificates = func() bool { return true }
	}
	s := &Server{Config: cfg, table: newTable(operations()), sts: newSTSTable(stsCalls()), ids: ids, started: cfg.Now()}
	s.Tune(Tuning{MaxRequests: cfg.MaxRequests, CORSOrigins: cfg.CORSOrigins})
	s.between = sse.NewBucketKeys(bucketKeyLife, cfg.Now)
	s.limiter, s.failures, s.minio = limits.New(cfg.Now, cfg.Peers), throttle.New(cfg.Now), newMinIOCounts()
	s.delayed = make(chan struct{}, max(1, min(maxDelayed, cfg.MaxRequests/4)))
	if err := s.minio.register(s); err != nil {
		return nil, fmt.Errorf("gateway: register metrics: %w", err)
	}
	s.root, s.cancel = context.WithCancel(root)
	s.attending, s.dismiss = context.WithCancel(s.root)
	s.api = s.newAPI()
	s.http = &fasthttp.Server{
		Handler:                      s.serve,
		ExpectHandler:                s.expect,
		ErrorHandler:                 s.broken,
		Name:                         "Shoal",
		ReadBufferSize:               maxHeaderBytes,
		WriteBufferSize:              8 << 10,
		ReadTimeout:                  cfg.HeaderTimeout,
		IdleTimeout:                  cfg.IdleTimeout,
		StreamRequestBody:            true,
		MaxRequestBodySize:           8 << 10, // from here on bodies are streamed (FH8)
		DisablePreParseMultipartForm: true,
		NoDefaultContentType:         true,
		CloseOnShutdown:              true,
		Concurrency:                  serverConnections(ConnectionsPerRequest * cfg.MaxRequests),
		ConnState:                    connState,
		HeaderReceived:               expectation,
		Logger:                       quietLogger{cfg.Logger},
	}
	return s, nil
}

// quietLogger takes what fasthttp logs: mostly clients that broke off.
type quietLogger struct{ log *slog.Logger }

// Printf logs at debug level.
func (q quietLogger) Printf(format string, args ...any) {
	q.log.Debug("http", "detail", fmt.Sprintf(format, args...))
}

// leastFiles is how many files there are for clients at least.
const leastFiles = 64

// Serve serves clients that come to ln, until Shutdown: after that it returns at once. It
// closes ln.
func (s *Server) Serve(ln *net.TCPListener) error {
	most, spare := s.connections(accept.Files())
	l := &listener{
		TCPListener: ln, stall: s.StallTimeout, secure: s.TLS != nil, most: most, spare: spare, grace: s.grace,
		full: func() { s.crowded(most) }, starved: s.starved,
	}
	switch {
	case !s.listeners.add(l):
		return l.Close()
	case s.TLS != nil:
		return s.http.Serve(tls.NewListener(l, s.TLS))
	}
	return s.http.Serve(l)
}

// connections returns how many are kept, and how many more are heard out for a moment, of a process that may have so
// many files. The others are for what clients ask for.
func (s *Server) connections(files int) (most, spare int) {
	files = max(files-s.FilesKept, leastFiles)
	return min(ConnectionsPerRequest*s.MaxRequests, files/2), min(spareConnections, files/8)
}

// crowdedEvery is how often it is said that there are too many connections, at most.
const crowdedEvery = time.Minute

// starved tells that there is no file for a connection that has come.
func (s *Server) starved(err error) {
	if s.tellsCrowd() {
		s.Logger.Warn("there are no files for more connections: raise the limit (ulimit -n, LimitNOFILE)", "limit", accept.Files(), "error", err)
	}
}

// tellsCrowd reports whether it is time to say anything of connections.
func (s *Server) tellsCrowd() bool {
	now := s.Now()
	if last := s.crowdedAt.Load(); last != nil && now.Sub(*last) < crowdedEvery {
		return false
	}
	s.crowdedAt.Store(&now)
	return true
}

// crowded tells that a connection has come for which there is no room.
func (s *Server) crowded(most int) {
	if !s.tellsCrowd() {
		return
	}
	s.Logger.Warn("on all connections that may be there requests are under way: who comes is told to slow down",
		"connections", most, "setting", "--max-requests")
}

// Drain makes the readiness check fail, so that load balancers turn away while
// requests are still served.
func (s *Server) Drain() { s.draining.Store(true) }

// Shutdown takes no new connections, lets requests end until ctx does, and
// then breaks off those that are left.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	s.dismiss()
	err := errors.Join(s.listeners.close(), s.http.ShutdownWithContext(ctx))
	s.api.AwaitTests(ctx)
	s.cancel()
	return err
}

// expect decides on a request that waits for "100 Continue" before it sends its
// body: only one that is let in is told to go on. fasthttp then calls serve; of
// a refused request it sends the answer made here and closes the connection.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	r := s.begin(ctx)
	err := s.prepare(r)
	if err == nil {
		err = r.refuseTooLarge()
	}
	if err != nil {
		s.refuse(r, err)
		s.finish(r)
		return ctx.Response.StatusCode()
	}
	ctx.SetUserValue(preparedKey{}, r)
	return fasthttp.StatusContinue
}

// expectation has fasthttp take "Expect: 100-Continue" for what it is (FH14): the case of the value
// does not matter (RFC 9110 section 10.1.1), and PHP's Guzzle sends it so and waits for a second.
// Where it may have been signed it is left as it is. With HTTP/1.0 it says nothing: such a client would take
// what tells it to go on for the answer.
func expectation(h *fasthttp.RequestHeader) (unchanged fasthttp.RequestConfig) {
	const proceed = "100-continue"
	value := h.Peek(fasthttp.HeaderExpect)
	if !strings.EqualFold(string(value), proceed) {
		return unchanged
	}
	signed := func(text []byte) bool { return bytes.Contains(text, []byte("expect")) }
	switch {
	case signed(h.Peek(fasthttp.HeaderAuthorization)), signed(h.RequestURI()):
	case !h.IsHTTP11():
		h.Del(fasthttp.HeaderExpect)
	case string(value) != proceed:
		h.Set(fasthttp.HeaderExpect, proceed)
	}
	return unchanged
}

// preparedKey is where expect leaves the request for serve.
type preparedKey struct{}

// serve handles one request.
func (s *Server) serve(ctx *fasthttp.RequestCtx) {
	r, prepared := ctx.UserValue(preparedKey{}).(*request)
	if !prepared {
		r = s.begin(ctx)
		if s.serveOwn(r) {
			return
		}
	}
	defer s.finish(r)
	defer func() {
		if p := recover(); p != nil {
			s.Logger.Error("panic", "request", r.id, "panic", p, "stack", string(debug.Stack()))
			s.refuse(r, errInternal)
			ctx.SetConnectionClose()
		}
	}()
	if !prepared {
		if err := s.prepare(r); err != nil {
			s.refuse(r, err)
			s.settleBody(r)
			return
		}
	}
	s.run(r)
	s.settleBody(r)
}

// begin makes the request and the headers that every answer has.
func (s *Server) begin(ctx *fasthttp.RequestCtx) *request {
	if c := clientConn(ctx.Conn()); c != nil {
		if ctx.ConnRequestNum() <= 1 { // connState tells of the others
			c.from.asked(c)
		}
		c.pace.Store(nil)
		if c.surplus {
			ctx.SetConnectionClose()
		}
	}
	r := &request{ctx: ctx, id: s.ids.next(), started: s.Now()}
	h := &ctx.Response.Header
	h.DisableNormalizing()
	h.Set("x-amz-request-id", r.id)
	h.Set("x-amz-id-2", r.id)
	h.Set("Accept-Ranges", "bytes")
	h.Set("X-Content-Type-Options", "nosniff")
	s.Metrics.inflight.Inc()
	return r
}

// prepare does everything that needs no body: it reads the request line, finds
// the operation, authenticates, authorises and admits.
func (s *Server) prepare(r *request) error {
	if err := r.checkFraming(); err != nil {
		return err
	}
	if err := r.parse(s.Domains, s.WebsiteDomains); err != nil {
		return err
	}
	if c := clientConn(r.ctx.Conn()); c != nil && c.surplus {
		return errSlowDown
	}
	if r.website {
		return s.prepareWebsite(r)
	}
	if r.isAdmin() {
		return s.prepareAdmin(r)
	}
	s.cors(r)
	op, err := s.table.find(r)
	if err == nil {
		err = r.checkUploadParameters(op)
	}
	if err != nil {
		return s.unlessDenied(r, err)
	}
	r.op = op
	if err := r.refuseCopySource(); err != nil {
		return err
	}
	if op.action != open {
		if err := s.identify(r); err != nil {
			return err
		}
	}
	if err := r.checkNames(); err != nil {
		return err
	}
	if err := refuseUnsupported(r); err != nil {
		return err
	}
	if err := s.refuseWish(r); err != nil {
		return err
	}
	if op.action != open && op.name != "PostObject" {
		if err := s.limit(r); err != nil {
			return err
		}
	}
	return s.admit(r)
}

// identify finds out who asks, and whether he may. Whoever is refused a HeadBucket learns the
// region all the same, as on S3: SDKs ask so which one to sign for. It is that of the server.
func (s *Server) identify(r *request) error {
	err := s.authenticate(r)
	if err == nil {
		if err = s.authorise(r); isDenied(err) {
			err = s.unlessNoBucket(s.root, r, err)
		}
	}
	if err != nil && r.op.name == "HeadBucket" {
		r.set("x-amz-bucket-region", s.Region)
	}
	return err
}

// unlessDenied returns err, but not to who has signed wrongly. A stranger is told as well what S3 does
// not do, which says nothing of a bucket; what Shoal does not do he might not be allowed to do.
func (s *Server) unlessDenied(r *request, err error) error {
	if r.method == fasthttp.MethodOptions {
		return errCORSForbidden
	}
	r.op = &operation{name: "Unknown", level: service, action: "s3:Unknown"}
	if authErr := s.authenticate(r); authErr != nil {
		return authErr
	}
	if r.identity.Anonymous() && toS3(err).code == errNotImplemented.code {
		return errAccessDenied
	}
	return err
}

// unlessNoBucket returns err, or that there is no such bucket: S3 looks for it first, and tells everybody. Here that
// costs only who asks in vain.
func (s *Server) unlessNoBucket(ctx context.Context, r *request, err error) error {
	if r.op.level == service || r.op.name == "CreateBucket" || r.checkNames() != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.QuickTimeout, errStalled)
	defer cancel()
	if _, missing := s.Store.StatBucket(ctx, r.bucket); errors.Is(missing, object.NoSuchBucket) {
		return missing
	}
	return err
}

// run carries out the operation within its time.
func (s *Server) run(r *request) {
	ctx, cancel := s.deadline(r)
	defer cancel()
	if err := s.awaitOthers(ctx, r); err != nil {
		s.refuse(r, err)
		return
	}
	if err := r.op.handle(s, ctx, r); err != nil {
		switch kind := object.KindOf(err); {
		case kind == object.Internal && ctx.Err() != nil:
			err = context.Cause(ctx)
		case kind == object.NoSuchKey && (r.op.action == "s3:GetObject" || r.op.action == "s3:GetObjectAttributes") && !r.mayList(s):
			err = errAccessDenied.because(err)
		case kind == object.NoSuchUpload, isDenied(err):
			err = s.unlessNoBucket(ctx, r, err)
		}
		s.refuse(r, err)
	}
}

// errStalled is why the context of a request ends whose body stands still.
var errStalled = object.E("serve", "", object.Unavailable, errors.New("no progress within the stall timeout"))

// deadline returns the context of a request. That of an operation that moves a
// body lives on as long as the body does: reading it winds the clock.
func (s *Server) deadline(r *request) (context.Context, context.CancelFunc) {
	switch r.op.class {
	case quick:
		return context.WithTimeoutCause(s.root, s.QuickTimeout, errStalled)
	case listing:
		return context.WithTimeoutCause(s.root, s.ListingTimeout, errStalled)
	case long:
		return context.WithTimeoutCause(s.root, s.LongTimeout, errStalled)
	case data:
	}
	ctx, cancel := context.WithCancelCause(s.root)
	// Twice the stall time: the client's own stall is noticed on the
	// connection first, and answered as what it is.
	timer := time.AfterFunc(2*s.StallTimeout, func() { cancel(errStalled) })
	r.progress = func() { timer.Reset(2 * s.StallTimeout) }
	return ctx, func() {
		timer.Stop()
		cancel(context.Canceled)
	}
}

// refuse answers with the error, and logs what is our fault.
func (s *Server) refuse(r *request, err error) {
	e := toS3(err)
	if e.status >= 500 && e.status != fasthttp.StatusNotImplemented && e.cause != nil {
		s.Logger.Error("request failed", "request", r.id, "operation", r.operation(), "bucket", r.bucket, "key", r.key, "error", err)
	}
	r.answerError(e)
}

// broken answers what fasthttp could not read as a request.
func (s *Server) broken(ctx *fasthttp.RequestCtx, err error) {
	r := s.begin(ctx)
	defer s.finish(r)
	var netErr net.Error
	var tooLong *fasthttp.ErrSmallBuffer
	switch {
	case errors.As(err, &tooLong):
		r.answerError(errHeaderTooLarge)
	case errors.Is(err, io.ErrUnexpectedEOF):
		r.answerError(errIncompleteBody) // within the part that is read ahead (FH8)
	case errors.As(err, &netErr) && netErr.Timeout():
		r.answerError(errRequestTimeout)
	default:
		r.answerError(errBadRequest.because(err))
	}
	s.lingerOn(ctx)
}

// drainLimit is how much of an unread body is read and dropped so that the
// connection can serve on; of a longer one the connection is closed.
const drainLimit = 256 << 10

// settleBody sees that what the handler left of the body is not taken for the
// next request (FH6).
func (s *Server) settleBody(r *request) {
	stream := r.ctx.RequestBodyStream()
	if c := clientConn(r.ctx.Conn()); c != nil {
		c.reading.Store(false)
	}
	if stream == nil || r.body != nil && r.body.whole {
		return
	}
	length := r.contentLength()
	if length == 0 {
		return
	}
	if length > 0 && !r.broke() && r.drain(stream, length) {
		return
	}
	r.ctx.SetConnectionClose()
	s.lingerOn(r.ctx)
}

func (s *Server) lingerOn(ctx *fasthttp.RequestCtx) {
	if c := clientConn(ctx.Conn()); c != nil {
		c.linger.Store(true)
	}
}

// finish logs and counts the request and gives back its slot. A body that is
// still to be sent is counted by its declared length.
func (s *Server) finish(r *request) {
	r.body.close()
	if r.release != nil {
		r.release()
		r.release = nil
	}
	s.Metrics.inflight.Dec()
	s.record(r)
}

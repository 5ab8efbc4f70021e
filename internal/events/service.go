package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/relay"
)

// Config is what New needs.
type Config struct {
	Targets []Target
	Journal Journal     // may be nil if there are no targets
	Locker  lock.Locker // of all gateways that share the Journal; nil as the Journal
	Peers   relay.Peers // the other gateways; nil: there are none
	// Seek is called where a target is missing, and may have it Join; nil: none does.
	Seek func()
	Log  *slog.Logger
	Now  func() time.Time
}

// Service tells targets and listeners. Make it with New. Its methods may be called
// concurrently.
type Service struct {
	cfg     Config
	mu      sync.Mutex // held while there come to be others of them
	queues  atomic.Pointer[map[Destination]*queue]
	begin   sync.Once       // to inherit, once there is a target
	serving context.Context //nolint:containedctx // of delivering, until Close
	hub     relay.Hub[Event, Interest]
	stop    context.CancelFunc
	group   sync.WaitGroup
	strange sync.Map // what has been complained of: a Destination, or waits
}

// waits is that events wait for a target that is not here.
type waits struct{ Destination }

// lockName is what one gateway of all holds: the one that inherits the batches of those
// that are gone. It is of a kind that no Store locks.
const lockName = "l/events"

// inheritEvery is how often that one looks for such batches.
const inheritEvery = 10 * time.Second

// New returns a Service that delivers until Close.
func New(ctx context.Context, cfg Config) *Service {
	s := &Service{cfg: cfg}
	s.queues.Store(new(map[Destination]*queue))
	s.hub.Peers = cfg.Peers
	s.serving, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, t := range cfg.Targets {
		s.Join(t)
	}
	return s
}

// Join adds a target. If there is one already, or has been and still gets what waited for
// it, the new one takes its place, and gets that. Not after Close.
func (s *Service) Join(t Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.all()[t.Destination]; q != nil {
		if before, ok := q.turn(t); ok {
			s.group.Go(func() { s.closeWay(t.Destination, before) })
			return
		}
	}
	q := newQueue(t, s.cfg.Journal, s.cfg.Log)
	s.edit(func(queues map[Destination]*queue) { queues[t.Destination] = q })
	s.group.Go(func() { q.gather(s.serving) })
	s.group.Go(func() {
		q.work(s.serving)
		if q.ended() {
			s.forget(q)
		}
	})
	s.begin.Do(func() { s.group.Go(func() { s.inherit(s.serving) }) })
}

// Leave takes a target away. What waits for it is delivered still, for as long as this
// Service lives; what happens from now on is not.
func (s *Service) Leave(to Destination) {
	if q := s.all()[to]; q != nil {
		q.leave()
	}
}

// forget drops a queue that is over.
func (s *Service) forget(q *queue) {
	s.mu.Lock()
	s.edit(func(queues map[Destination]*queue) {
		if queues[q.Destination] == q {
			delete(queues, q.Destination)
		}
	})
	s.mu.Unlock()
	s.closeWay(q.Destination, q.way) // which no other takes the place of any more
}

// edit changes the queues; s.mu is held.
func (s *Service) edit(change func(map[Destination]*queue)) {
	queues := maps.Clone(s.all())
	if queues == nil {
		queues = make(map[Destination]*queue)
	}
	change(queues)
	s.queues.Store(&queues)
}

func (s *Service) closeWay(to Destination, w *way) {
	if err := w.close(); err != nil {
		s.cfg.Log.Warn("the former way to a target of events does not close", "target", to.String(), "error", err)
	}
}

// all returns the queues of all targets, and of those that have left and get what waited for
// them. They are not to be changed.
func (s *Service) all() map[Destination]*queue { return *s.queues.Load() }

// Close stops delivering. What waits is left to the other gateways, or to the next
// start. The caller sees to it that no other method runs.
func (s *Service) Close() error {
	s.stop()
	s.hub.Close()
	s.group.Wait()
	var errs []error
	for to, q := range s.all() {
		if err := q.way.close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", to, err))
		}
	}
	return errors.Join(errs...)
}

// Has reports whether there is a target.
func (s *Service) Has(to Destination) bool {
	_, ok := s.queue(to)
	return ok
}

// queue returns the queue of a target, if there is one, or is now.
func (s *Service) queue(to Destination) (q *queue, ok bool) {
	if q = s.all()[to]; (q == nil || !q.stays()) && s.cfg.Seek != nil {
		s.cfg.Seek()
		q = s.all()[to]
	}
	return q, q != nil && q.stays()
}

// ARNs returns the names of all targets, sorted.
func (s *Service) ARNs() []string {
	all := make([]string, 0, len(s.all()))
	for to, q := range s.all() {
		if q.stays() {
			all = append(all, to.ARN())
		}
	}
	slices.Sort(all)
	return all
}

// Notify tells listeners, and returns when all that the rules of the events' bucket
// send is durable. Rules may be nil.
func (s *Service) Notify(ctx context.Context, rules *Configuration, happened ...Event) error {
	messages := make(map[Destination][]Message)
	for i := range happened {
		e := &happened[i]
		if s.Listening() {
			if err := s.hub.Publish(e, forListeners); err != nil {
				return err
			}
		}
		if rules == nil {
			continue
		}
		rule, to, ok := rules.match(e.Name, e.Key)
		if !ok {
			continue
		}
		body, err := e.encode(rule.ID, strings.TrimPrefix(string(e.Name), "s3:"))
		if err != nil {
			return err
		}
		messages[to] = append(messages[to], Message{Name: e.Name, Bucket: e.Bucket, Key: e.Key, Time: e.Time, Record: body})
	}
	return s.add(ctx, messages)
}

// Test sends what says that a bucket has rules to all targets of them.
func (s *Service) Test(ctx context.Context, rules *Configuration, bucket, requestID string) error {
	m, err := testMessage(bucket, requestID, s.cfg.Now())
	if err != nil {
		return err
	}
	messages := make(map[Destination][]Message)
	for _, to := range rules.Destinations() {
		messages[to] = []Message{m}
	}
	return s.add(ctx, messages)
}

func (s *Service) add(ctx context.Context, messages map[Destination][]Message) error {
	errs := make(chan error, len(messages))
	for to, list := range messages {
		go func() { errs <- s.addTo(ctx, to, list) }()
	}
	var all []error
	for range messages {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// addTo adds messages to the queue of a target, if there is one.
func (s *Service) addTo(ctx context.Context, to Destination, list []Message) error {
	for {
		q, ok := s.queue(to)
		if !ok {
			if _, again := s.strange.LoadOrStore(to, true); !again {
				s.cfg.Log.Error("events are lost: this gateway has no such target, and rules of a bucket name it", "target", to.String(), "bucket", list[0].Bucket)
			}
			return nil
		}
		if err := q.add(ctx, list); !errors.Is(err, errOver) {
			return err
		}
	}
}

// inherit has one gateway of all deliver what those have left that are gone.
func (s *Service) inherit(ctx context.Context) {
	lock.Elect(ctx, s.cfg.Locker, lockName, s.inheritUnder)
}

func (s *Service) inheritUnder(held context.Context) {
	for more := true; more; more = lock.Pause(held, inheritEvery) {
		if err := s.look(held); err != nil && held.Err() == nil {
			s.cfg.Log.Warn("cannot look for events of gateways that are gone", "error", err)
		}
	}
	for _, q := range s.all() {
		q.disinherit()
	}
}

// look takes over the batches of gateways that are gone.
func (s *Service) look(ctx context.Context) error {
	names, err := s.cfg.Journal.Left(ctx)
	if err != nil {
		return fmt.Errorf("look for batches: %w", err)
	}
	for _, name := range names {
		to, events, ok := parseLabel(name)
		if to.Type == Foreign {
			continue
		}
		if q := s.all()[to]; ok && q != nil {
			q.inherit(name, events)
		} else if _, again := s.strange.LoadOrStore(waits{to}, true); !again {
			s.cfg.Log.Warn("events wait for a target that this gateway does not have", "target", to.String(), "batch", name)
		}
	}
	return nil
}

// Measure is what is known of one target's queue.
type Measure struct {
	Destination
	Waiting  int   // events
	Sending  int64 // events
	Sent     int64
	Failed   int64 // attempts
	Refused  int64 // events that were given up
	Dropped  int64 // events that there was no room for
	Capacity int   // events
}

// Measures returns what is known of all queues.
func (s *Service) Measures() []Measure {
	all := make([]Measure, 0, len(s.all()))
	for to, q := range s.all() {
		all = append(all, Measure{
			Destination: to, Waiting: q.length(), Sending: q.inFlight.Load(), Sent: q.sent.Load(), Failed: q.failed.Load(),
			Refused: q.refused.Load(), Dropped: q.dropped.Load(), Capacity: q.capacity(),
		})
	}
	return all
}

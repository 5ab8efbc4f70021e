package usage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/quota"
)

// lockName is what one gateway of all holds. It is of a kind that no Store locks.
const lockName = "l/usage"

// How the Worker waits.
const (
	look     = time.Minute      // between two looks whether there is something to count
	recount  = 20               // a bucket is counted anew after so many times what counting it took
	patience = 10 * time.Minute // for that at most
	fresh    = 20 * time.Hour   // a count that is younger is not made anew
)

// Worker counts what buckets hold, in one of the gateways that share a Locker: those with
// a quota when what is known of them is not exact, all of them once a day, and those that were
// written to also when they have become twice as old as they were: in a new deployment that is soon,
// it costs a few more counts in the life of a bucket, and no disk is woken for what nobody has changed.
type Worker struct {
	Store    object.Store
	Locker   lock.Locker
	Records  Records
	Accounts *quota.Accounts
	Log      *slog.Logger
	Now      func() time.Time
	Every    time.Duration // between two counts of all buckets; 0: they are never counted

	notes notes
}

// Run works until ctx ends.
func (w *Worker) Run(ctx context.Context) {
	var marking sync.WaitGroup
	defer marking.Wait()
	marking.Go(func() { w.markAll(ctx) })
	lock.Elect(ctx, w.Locker, lockName, func(held context.Context) {
		s := &shift{Worker: w, notBefore: make(map[string]time.Time)}
		for lock.Pause(held, look) {
			s.look(held)
		}
	})
}

// shift is the time for which a Worker has the lock.
type shift struct {
	*Worker
	notBefore map[string]time.Time // when a bucket may be counted again
	next      time.Time            // when all buckets are counted
}

func (s *shift) look(ctx context.Context) {
	if err := s.loose(ctx); err != nil && ctx.Err() == nil {
		s.Log.Warn("a bucket with a quota could not be counted, and will be later", "error", err)
	}
	if s.Every == 0 {
		return
	}
	if s.Now().Before(s.next) {
		if err := s.young(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn("a young bucket could not be counted, and will be later", "error", err)
		}
		return
	}
	first := s.next.IsZero()
	s.next = s.Now().Add(s.Every)
	if err := s.all(ctx, first); err != nil && ctx.Err() == nil {
		s.Log.Warn("some buckets could not be counted, and will be the next time", "error", err)
	}
}

// loose counts the buckets of which more may be taken as used than is.
func (s *shift) loose(ctx context.Context) error {
	names, err := s.Accounts.Buckets()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if s.Now().Before(s.notBefore[name]) {
			continue
		}
		b, err := s.Store.StatBucket(ctx, name)
		_, limited := b.Documents[quota.Document]
		switch {
		case errors.Is(err, object.NoSuchBucket), err == nil && !limited:
			err = s.Accounts.Forget(ctx, name)
		case err == nil:
			err = s.ifLoose(ctx, b)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s *shift) ifLoose(ctx context.Context, b object.Bucket) error {
	u, err := s.Accounts.Usage(b)
	if err != nil || !u.Loose {
		return err
	}
	began := s.Now()
	_, err = s.Count(ctx, b)
	s.notBefore[b.Name] = s.Now().Add(min(recount*s.Now().Sub(began), patience))
	return err
}

// young counts the buckets that were written to, if they were not counted for as long as they had been there. Which
// these are the records say: storage is not touched to find out.
func (s *shift) young(ctx context.Context) error {
	names, err := Known(s.Records)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		r, _, err := load(s.Records, name)
		if err == nil && r.Written && !s.Now().Before(r.Due) && !s.Now().Before(s.notBefore[name]) {
			err = s.again(ctx, name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// again counts a bucket, or forgets it if it is gone.
func (s *shift) again(ctx context.Context, name string) error {
	b, err := s.Store.StatBucket(ctx, name)
	switch {
	case errors.Is(err, object.NoSuchBucket):
		return forget(ctx, s.Records, name)
	case err == nil:
		_, err = s.Count(ctx, b)
	}
	if err != nil {
		s.notBefore[name] = s.Now().Add(patience)
	}
	return err
}

// all counts all buckets, the first time without those that another gateway has counted not long ago.
func (s *shift) all(ctx context.Context, first bool) error {
	buckets, err := s.Store.ListBuckets(ctx)
	if err != nil {
		return fmt.Errorf("count buckets: %w", err)
	}
	there := make(map[string]bool, len(buckets))
	var errs []error
	for _, b := range buckets {
		there[b.Name] = true
		u, counted, err := Of(s.Records, b.Name)
		if err == nil && (!first || !counted || s.Now().Sub(u.At) >= s.longest()) {
			_, err = s.Count(ctx, b)
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, s.forget(ctx, there))...)
}

// forget removes what is known of buckets that are gone.
func (s *shift) forget(ctx context.Context, there map[string]bool) error {
	names, err := Known(s.Records)
	if err != nil {
		return err
	}
	var errs []error
	for _, bucket := range names {
		if !there[bucket] {
			errs = append(errs, forget(ctx, s.Records, bucket))
		}
	}
	return errors.Join(errs...)
}

// longest is how long a count may be good.
func (w *Worker) longest() time.Duration { return min(fresh, w.Every) }

// daily reports whether a bucket is counted with all others, and not before.
func (w *Worker) daily(r *record) bool { return r.counted() && r.Due.Sub(r.At) >= w.longest() }

// Known returns what a bucket held when it was counted last, if it ever was. How much one
// with a quota holds is what it holds now.
func (w *Worker) Known(b object.Bucket) (Usage, bool, error) {
	u, known, err := Of(w.Records, b.Name)
	if _, limited := b.Documents[quota.Document]; err != nil || !limited {
		return u, known, err
	}
	now, err := w.Accounts.Usage(b)
	if err == nil && !now.Counted.IsZero() {
		u.Objects = max(0, u.Objects+now.Used.Objects-u.Versions)
		u.Bytes, u.Versions = now.Used.Bytes, now.Used.Objects
	}
	return u, known, err
}

// Count counts a bucket now. If it has a quota, its ledger says so, too.
func (w *Worker) Count(ctx context.Context, b object.Bucket) (Usage, error) {
	before, _, err := load(w.Records, b.Name)
	if err != nil {
		return Usage{}, err
	}
	began := w.Now()
	u, err := w.count(ctx, b)
	if err != nil {
		return Usage{}, err
	}
	now, revision, err := load(w.Records, b.Name)
	if err != nil || now.At.After(u.At) { // or another gateway has counted since
		return u, err
	}
	wait := max(w.Now().Sub(b.Created), recount*w.Now().Sub(began))
	r := record{Usage: u, Due: w.Now().Add(min(wait, w.longest())).UTC()}
	r.Written = now.Written && !before.Written // while it was counted, so that may not be seen
	return u, save(ctx, w.Records, b.Name, r, revision)
}

func (w *Worker) count(ctx context.Context, b object.Bucket) (u Usage, err error) {
	count := func(ctx context.Context) (quota.Amount, error) {
		var err error
		u, err = Count(ctx, w.Store, b.Name, w.Now)
		return quota.Amount{Bytes: u.Bytes, Objects: u.Versions}, err
	}
	if _, limited := b.Documents[quota.Document]; limited {
		err = w.Accounts.Count(ctx, b, count)
	} else {
		_, err = count(ctx)
	}
	return u, err
}

package erasure_test

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// refuse has drives be away for some changes, until the returned function is called.
func refuse(all []*watched, which func(c register.Change) bool) (end func()) {
	for _, w := range all {
		w.refuses = func(c register.Change) error {
			if which(c) {
				return errAway
			}
			return nil
		}
	}
	return func() {
		for _, w := range all {
			w.refuses = nil
		}
	}
}

// tombstonesOf are the changes by which registers of a space go.
func tombstonesOf(space register.Space) func(c register.Change) bool {
	return func(c register.Change) bool { return c.Key.Space == space && c.Record.Kind == register.Tombstone }
}

// idle lets some days pass, with the passes that there are.
func idle(t *testing.T, s *erasure.Store, days int) {
	t.Helper()
	for range days {
		time.Sleep(24*time.Hour + time.Minute)
		if _, err := s.HealMissed(t.Context(), nil); err != nil {
			t.Error(err)
		}
		if _, err := s.Heal(t.Context(), nil); err != nil {
			t.Error(err)
		}
	}
	time.Sleep(10 * time.Minute)
}

// registers returns how many of a space drives have.
func registers(t *testing.T, space register.Space, all ...*watched) (n int) {
	t.Helper()
	for _, w := range all {
		page, err := w.Pending(t.Context(), register.PendingQuery{Space: space, Every: true, Limit: 1000})
		if err != nil {
			t.Error(err)
		}
		n += len(page.Items)
	}
	return n
}

func readsAs(t *testing.T, s *erasure.Store, ref object.Ref, want []byte) {
	t.Helper()
	h, err := s.Open(t.Context(), ref)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = h.Close() }()
	if got, err := io.ReadAll(h.Range(0, h.Info().Size)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v, want %d", len(got), err, len(want))
	}
}

func withUploads(t *testing.T, test func(t *testing.T, s *scene, all []*watched)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		all, as := watchedDrives(4)
		s := &scene{T: t, Store: open(t, 2, as)}
		s.must(s.CreateBucket(t.Context(), object.Bucket{Name: inBucket}))
		test(t, s, all)
	})
}

func TestWhatIsLeftOfUploadsIsRemovedByAPass(t *testing.T) {
	for name, end := range map[string]func(s *scene, all []*watched){
		"the process ends while it aborts one": func(s *scene, all []*watched) {
			ref, _ := upload(s.T, s.Store, 3)
			defer refuse(all, tombstonesOf(register.Parts))()
			s.must(s.AbortUpload(s.Context(), ref))
		},
		"the process ends while it completes one": func(s *scene, all []*watched) {
			ref, in := upload(s.T, s.Store, 3)
			end := refuse(all, tombstonesOf(register.Parts))
			_, err := s.CompleteUpload(s.Context(), ref, in)
			s.must(err)
			end()
			s.remove("k", "")
		},
		"a part has missed its quorum": func(s *scene, all []*watched) {
			ref, _ := upload(s.T, s.Store, 1)
			end := refuse(all[:3], func(c register.Change) bool { return c.Key.Space == register.Parts })
			if _, err := s.PutPart(s.Context(), ref, 2, objecttest.NewBody(make([]byte, 5<<20), object.CRC64NVME)); err == nil {
				s.Error("a part is stored that one drive of four has")
			}
			end()
			all[3].away.Store(true)
			defer all[3].away.Store(false)
			s.must(s.AbortUpload(s.Context(), ref))
		},
		"the process ends while it deletes the bucket": func(s *scene, all []*watched) {
			upload(s.T, s.Store, 3)
			defer refuse(all, tombstonesOf(register.Uploads))()
			s.must(s.DeleteBucket(s.Context(), inBucket))
		},
	} {
		t.Run(name, func(t *testing.T) {
			withUploads(t, func(t *testing.T, s *scene, all []*watched) {
				end(s, all)
				time.Sleep(time.Hour)
				if kept(all...) == 0 {
					t.Error("nothing is left")
				}
				idle(t, s.Store, 3)
				if n, parts, uploads := kept(all...), registers(t, register.Parts, all...), registers(t, register.Uploads, all...); n+parts+uploads > 0 {
					t.Errorf("%d shards, %d parts and %d uploads are left", n, parts, uploads)
				}
			})
		})
	}
}

func TestNoPassRemovesWhatAnUploadHas(t *testing.T) {
	withUploads(t, func(t *testing.T, s *scene, _ []*watched) {
		ref, in := upload(t, s.Store, 2)
		idle(t, s.Store, 10)
		_, err := s.CompleteUpload(t.Context(), ref, in)
		s.must(err)
		idle(t, s.Store, 2)
		readsAs(t, s.Store, ref.Ref, slices.Concat(make([]byte, 5<<20), bytes.Repeat([]byte{1}, 5<<20)))
	})
}

// The shards of an object that was completed stay where its record is not, though the parts go that say
// that they are needed.
func TestNoShardOfAnObjectGoesWithItsPartsWhereTheObjectIsNotKnown(t *testing.T) {
	for name, hinder := range map[string]func(w *watched) (end func()){
		"it comes with the pass": func(*watched) func() { return func() {} },
		"it cannot be brought": func(w *watched) func() {
			w.leaves = func(key register.Key) bool { return key.Space == register.Objects }
			return func() { w.leaves = nil }
		},
		"the drive is away": func(w *watched) func() {
			w.away.Store(true)
			return func() { w.away.Store(false) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			withUploads(t, func(t *testing.T, s *scene, all []*watched) {
				ref, in := upload(t, s.Store, 1)
				ends := []func(){refuse(all[:3], tombstonesOf(register.Parts)), refuse(all[3:], func(c register.Change) bool {
					return c.Key.Space == register.Objects || tombstonesOf(register.Parts)(c)
				}), hinder(all[3])}
				_, err := s.CompleteUpload(t.Context(), ref, in)
				s.must(err)
				time.Sleep(30 * time.Hour)
				_, err = s.Heal(t.Context(), nil)
				s.must(err)
				time.Sleep(10 * time.Minute)
				if n := kept(all...); n != 4 {
					t.Errorf("%d shards are there", n)
				}
				if parts := registers(t, register.Parts, all...); (parts == 0) != (name == "it comes with the pass") {
					t.Errorf("%d registers of parts are there", parts)
				}
				for _, end := range ends {
					end()
				}
				idle(t, s.Store, 2)
				if parts := registers(t, register.Parts, all...); kept(all...) != 4 || parts > 0 {
					t.Errorf("in the end there are %d shards and %d registers of parts", kept(all...), parts)
				}
				readsAs(t, s.Store, ref.Ref, make([]byte, 5<<20))
			})
		})
	}
}

// Such a process may have read by a Table that is not in force any more.
func TestAProcessThatCannotCommitRemovesNothing(t *testing.T) {
	withUploads(t, func(t *testing.T, s *scene, all []*watched) {
		ref, _ := upload(t, s.Store, 2)
		end := refuse(all, tombstonesOf(register.Parts))
		s.must(s.AbortUpload(t.Context(), ref))
		end()
		end = refuse(all, func(register.Change) bool { return true })
		idle(t, s.Store, 3)
		if n := kept(all...); n != 8 {
			t.Errorf("%d shards are there", n)
		}
		end()
		idle(t, s.Store, 3)
		if n := kept(all...); n > 0 {
			t.Errorf("%d shards are left", n)
		}
	})
}

// everythingTo has what there is be in some of the sets.
func everythingTo(s *scene, weights ...int) {
	s.Helper()
	for next := s.Placement().Rebalanced(weights); next != nil; next = next.Next() {
		if next.Phase == placement.Announced {
			s.must(s.Clear(s.Context(), next, nil))
		}
		s.must(s.Place(s.Context(), next))
		for moved := int64(-1); next.Phase == placement.Moving && moved != 0; {
			m, err := s.Move(s.Context(), nil)
			s.must(err)
			moved = m.Names
		}
		if next.Phase == placement.Settled {
			return
		}
	}
}

func TestAnUploadThatWasMovedLeavesNothingWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, as := watchedDrives(4)
		s := &scene{T: t, Store: openSets(t, erasure.SetConfig{Drives: as, Parity: 2}, erasure.SetConfig{Drives: drives(4), Parity: 2})}
		s.must(s.CreateBucket(t.Context(), object.Bucket{Name: inBucket}))
		everythingTo(s, 1, 0)
		ref, in := upload(t, s.Store, 3)
		end := refuse(all, tombstonesOf(register.Parts)) // the drives go away when the upload is moved
		everythingTo(s, 0, 1)
		end()
		if kept(all...) == 0 {
			t.Error("nothing is left")
		}
		idle(t, s.Store, 2)
		_, err := s.CompleteUpload(t.Context(), ref, in)
		s.must(err)
		idle(t, s.Store, 2)
		if n := kept(all...) + registers(t, register.Parts, all...); n > 0 {
			t.Errorf("%d shards and registers are left", n)
		}
		readsAs(t, s.Store, ref.Ref, slices.Concat(make([]byte, 5<<20), bytes.Repeat([]byte{1}, 5<<20), bytes.Repeat([]byte{2}, 5<<20)))
	})
}
